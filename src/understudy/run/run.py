"""A run on disk: one directory, one writer, everything a resume or a report needs.

    with Run.create("policy", config.env, config, config.run) as run:
        checkpoint = run.restore()
        for step in range(checkpoint.step + 1 if checkpoint else 1, config.steps + 1):
            ...
            run.log(step, {"return": mean})
            if step % config.run.checkpoint_every == 0 or run.stop_requested:
                run.checkpoint(step, {"weights": weights}, {"data_index": index})
            if run.stop_requested:
                break

Leaving the block after SIGINT or SIGTERM raises `Stopped`, which the command line turns into the
exit code that the shell expects. A step is logged before its checkpoint is written: the lines up to the checkpoint's step stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from understudy.run import checkpoint as checkpoints
from understudy.run.checkpoint import Checkpoint, Tensors
from understudy.run.config import RunConfig, dump, load
from understudy.run.device import device_of
from understudy.run.errors import RunError, Stopped
from understudy.run.fields import flatten
from understudy.run.files import on_disk, replace_file, require_space
from understudy.run.info import RunInfo, git_commit, read_info, to_bytes, versions
from understudy.run.metrics import Metrics, check_logger
from understudy.run.seed import Seeds

FOLDERS = ("checkpoints", "lm", "episodes", "media")
FINISHED = "finished"
"""An empty file in the directory of a run whose command came to its end."""
NEEDED_BYTES = 64_000_000
log = logging.getLogger("understudy")


class Run:
    """One run directory, open for writing by this process alone."""

    def __init__(self, path: Path, config: RunConfig, settings: Mapping[str, Any]) -> None:
        """Use `create` or `open`; `settings` are the configuration that a logger shows."""
        self.path = path
        self.config = config
        self.info = read_info(path)
        self._lock = _lock(path)
        try:
            self.metrics = Metrics(path, config.logger, settings=settings)
        except BaseException:
            os.close(self._lock)
            raise
        self.seeds = Seeds(self.info.seed)
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}
        self._clocks = time.monotonic(), time.process_time()
        if self.info.threads != checkpoints.threads():
            log.warning(
                "%s: started with %d threads and now has %d, so its numbers may differ in the last bits",
                path, self.info.threads, checkpoints.threads(),
            )  # fmt: skip

    @classmethod
    def create(
        cls,
        role: str,
        env: str,
        config: Any,
        run_config: RunConfig,
        *,
        verb: str = "train",
        command: Sequence[str] | None = None,
    ) -> Run:
        """A new run directory, or the one that `run_config.resume` names.

        Args:
            role: `policy`, `teacher`, …
            env: the environment's name, which becomes part of the path.
            config: the role's whole configuration: a dataclass with a `seed`.
            run_config: where and how.
            verb: `understudy ROLE VERB` is what a resume calls again.
            command: what is noted as the command line; by default this process's.

        Raises:
            RunError: it exists already, cannot be written, or the disk is full; a resumed run has
                another writer or was started with another configuration.
            ConfigError: the logger is not installed, or there is no such device.
        """
        check_logger(run_config.logger)
        device_of(run_config.device)
        if run_config.resume is not None:
            run = cls(Path(run_config.resume), run_config, flatten(config))
            try:
                _adopt(run.path, config)
                with on_disk(run.path):
                    (run.path / FINISHED).unlink(missing_ok=True)
            except BaseException:
                run.close()
                raise
            return run
        now = datetime.now(UTC)
        parent = folder(run_config.root, role, env)
        with on_disk(parent):
            parent.mkdir(parents=True, exist_ok=True)
            require_space(parent, NEEDED_BYTES)
            path = _new_folder(parent, run_config.name, f"{now:%Y%m%d-%H%M%S}-s{config.seed}")
            for name in FOLDERS:
                (path / name).mkdir()
            info = RunInfo(
                role=role,
                verb=verb,
                env=env,
                name=path.name,
                seed=config.seed,
                command=list(sys.argv if command is None else command),
                created=now.isoformat(timespec="seconds"),
                threads=checkpoints.threads(),
                git=git_commit(),
                versions=versions(),
            )
            replace_file(path / "config.toml", dump(config).encode())
            # Last: a directory without it is no run.
            replace_file(path / "run.json", to_bytes(info))
        return cls(path, run_config, flatten(config))

    @classmethod
    def open(cls, path: Path, run_config: RunConfig | None = None) -> Run:
        """An existing run directory.

        Raises:
            RunError: not a run directory, or another process writes it.
        """
        return cls(path, run_config or RunConfig(), {})

    def __enter__(self) -> Self:
        """Turns SIGINT and SIGTERM into `stop_requested` (in the main thread)."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if self._signal is None and error is None:
            with on_disk(self.path):
                replace_file(self.path / FINISHED, b"")
        self.close()
        if self._signal is not None and error is None:
            name = signal.Signals(self._signal).name
            raise Stopped(
                f"stopped by {name}; to go on: understudy resume {self.path}", 128 + self._signal
            )

    def close(self) -> None:
        """Closes the logs and lets another process write the run."""
        self.metrics.close()
        os.close(self._lock)

    @property
    def stop_requested(self) -> bool:
        """SIGINT or SIGTERM came: finish the step, write a checkpoint and leave."""
        return self._signal is not None

    def log(
        self, step: int, metrics: Mapping[str, float], timing: Mapping[str, float] | None = None
    ) -> None:
        """One line of metrics; what a clock measured goes to `timing`. See `Metrics.log`.

        Every line of timing has the seconds and processor seconds since the line before it.
        """
        before, self._clocks = self._clocks, (time.monotonic(), time.process_time())
        wall, cpu = (now - then for now, then in zip(self._clocks, before, strict=True))
        self.metrics.log(step, metrics, {**(timing or {}), "run/seconds": wall, "run/cpu": cpu})

    def checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensors],
        state: Mapping[str, Any],
        *,
        best: bool = False,
    ) -> None:
        """Writes a checkpoint, after the metrics that led to it. See `checkpoint.save`."""
        self.metrics.sync()
        checkpoints.save(
            self.path / "checkpoints", step, tensors, state, keep=self.config.keep, best=best
        )

    def restore(self) -> Checkpoint | None:
        """The newest whole checkpoint, with the logs cut back to its step; None at the start.

        Raises:
            RunError: there are checkpoints and none is whole.
        """
        found = checkpoints.load(self.path / "checkpoints")
        for problem in found.problems if found else ():
            log.warning("%s; an older checkpoint is used where this one was needed", problem)
        self.metrics.truncate_after(found.step if found else -1)
        return found

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Generator[None]:
    """Lets this process alone write a directory, for the length of a block.

    Raises:
        RunError: another one does, and it is not to be waited for.
    """
    descriptor = _lock(path, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, *, wait: bool = False) -> int:
    """The descriptor that holds the run; it is given back when it is closed, also by a kill."""
    with on_disk(path):
        descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode() or "unknown"
            os.close(descriptor)
            raise RunError(f"{path}: another process (pid {holder}) is writing this run") from None
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def folder(root: str | Path, role: str, env: str) -> Path:
    """Where the runs of a role in an environment are."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", env).strip("-.")[:80]
    return Path(root) / role / (slug or "env")


def _new_folder(parent: Path, name: str | None, default: str) -> Path:
    """Makes the run's directory; a run that started in the same second gets a number behind it."""
    for candidate in [name] if name else _numbered(default):
        with contextlib.suppress(FileExistsError):
            path = parent / candidate
            path.mkdir()
            return path
    path = parent / str(name)
    raise RunError(
        f"{path}: exists; choose another --run.name, or continue it: understudy resume {path}"
    )


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _adopt(path: Path, config: Any) -> None:
    """Checks that a resumed run goes on as it was; notes what was allowed to change."""
    before = flatten(load(type(config), ["--config", str(path / "config.toml")]))
    after = flatten(config)
    may_change: Sequence[str] = getattr(config, "MAY_CHANGE", ())
    changed = [key for key in after if after[key] != before[key] and not key.startswith("run.")]
    for key in changed:
        if key not in may_change:
            allowed = ", ".join([*may_change, "run.*"])
            raise RunError(
                f"{path}: was started with {key} = {before[key]!r}, not {after[key]!r}; "
                f"a resumed run may change {allowed}"
            )
    if changed:
        settled = dataclasses.replace(config, run=dataclasses.replace(config.run, resume=None))
        with on_disk(path):
            replace_file(path / "config.toml", dump(settled).encode())
