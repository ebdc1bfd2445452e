"""Numbers over the steps of a run: `metrics.jsonl`, TensorBoard events, and Weights & Biases.

`metrics.jsonl` is the source of truth: one line per logged step, floats to the last bit, NaN and
infinities as null, because JSON has no words for them. What a clock measured goes to
`timing.jsonl`, so that `metrics.jsonl` of a run that was killed and resumed equals, byte for byte,
that of one that was not.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from tensorboard.compat.proto.event_pb2 import (  # made by protobuf, unseen by a type checker
    Event,  # pyright: ignore[reportAttributeAccessIssue]
    SessionLog,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.compat.proto.summary_pb2 import (
    Summary,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.summary.writer.record_writer import RecordWriter

from understudy.run.errors import ConfigError, RunError
from understudy.run.files import on_disk

Logger = Literal["none", "wandb"]


def check_logger(logger: Logger) -> None:
    """Raises ConfigError where the library behind a logger is not installed."""
    if logger == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ConfigError("--run.logger wandb needs wandb; pip install 'understudy[wandb]'")


class Metrics:
    """Appends to the logs of one run directory."""

    def __init__(
        self, folder: Path, logger: Logger = "none", *, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Opens the logs; `settings` are the configuration shown by Weights & Biases.

        Raises:
            RunError: the logs cannot be written.
            ConfigError: the logger is not installed.
        """
        check_logger(logger)
        self.folder = folder
        self.last_step = max((line["step"] for line in read(folder / "metrics.jsonl")), default=-1)
        with on_disk(folder):
            # Unbuffered: after an error there is nothing left that closing would try to write again.
            self._files = {
                name: (folder / f"{name}.jsonl").open("ab", buffering=0)
                for name in ("metrics", "timing")
            }
            self._truncate(self.last_step)
            self._events = _Events(folder)
        self._wandb = _open_wandb(folder, settings or {}) if logger == "wandb" else None

    def log(
        self, step: int, metrics: Mapping[str, float], timing: Mapping[str, float] | None = None
    ) -> None:
        """Appends one line; `timing` (seconds, steps/s) goes to `timing.jsonl`.

        Raises:
            ValueError: `step` is not greater than the last one, or a metric is named `step`.
            RunError: the disk is full.
        """
        if step <= self.last_step:
            raise ValueError(f"step {step} logged after step {self.last_step}")
        if "step" in metrics:
            raise ValueError("a metric cannot be named 'step'")
        with on_disk(self.folder):
            _append(self._files["metrics"], step, metrics)
            if timing:
                _append(self._files["timing"], step, timing)
            self._events.scalars(step, {**metrics, **(timing or {})})
        self.last_step = step
        if self._wandb is not None:
            self._wandb.log({**metrics, **(timing or {})}, step=step)

    def truncate_after(self, step: int) -> None:
        """Drops the lines after `step`, and a last line that was torn by a kill."""
        with on_disk(self.folder):
            self._truncate(step)
            self._events.purge(step + 1)
        self.last_step = min(self.last_step, step)

    def _truncate(self, step: int) -> None:
        for name, file in self._files.items():
            file.truncate(_end_of(self.folder / f"{name}.jsonl", step))
            os.fsync(file.fileno())

    def sync(self) -> None:
        """Returns when every line is on the disk."""
        with on_disk(self.folder):
            for file in self._files.values():
                os.fsync(file.fileno())

    def close(self) -> None:
        """Closes the logs."""
        for file in self._files.values():
            file.close()
        self._events.close()
        if self._wandb is not None:
            self._wandb.finish()


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL log, null as NaN; a torn last line is left out.

    Raises:
        RunError: a line before the last is damaged, or the file cannot be read.
    """
    with on_disk(path):
        rows = list(_lines(path))
    for number, (_, row) in enumerate(rows[:-1], 1):
        if row is None:
            raise RunError(f"{path}: line {number} is damaged")
    return [
        {key: math.nan if value is None else value for key, value in row.items()}
        for _, row in rows
        if row is not None
    ]


def _append(file: FileIO, step: int, values: Mapping[str, float]) -> None:
    row: dict[str, float | int | None] = {"step": step}
    for name, value in values.items():
        number = value if type(value) is int else float(value)
        row[name] = number if math.isfinite(number) else None
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The offset behind each line, and its content (None where it is damaged or torn)."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for line in file:
            offset += len(line)
            yield offset, _parse(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(row, dict) and type(row.get("step")) is int
    return row if whole else None


def _end_of(path: Path, step: int) -> int:
    """The offset behind the last line of the steps up to `step`."""
    end = 0
    for offset, row in _lines(path):
        if row is None or row["step"] > step:
            break
        end = offset
    return end


class _Events:
    """TensorBoard's event file, written record by record: no thread, no torch, nothing buffered."""

    def __init__(self, folder: Path) -> None:
        stem, number = f"events.out.tfevents.{int(time.time()):010d}", 0
        while (path := folder / f"{stem}.{number}").exists():
            number += 1
        self._file = path.open("xb")
        self._writer = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(Event(step=step, summary=summary))

    def purge(self, step: int) -> None:
        """Has TensorBoard forget what earlier files say of `step` and later."""
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())
        self._file.flush()


def _open_wandb(folder: Path, settings: Mapping[str, Any]) -> Any:
    # An extra: imported only where it was asked for.
    wandb = importlib.import_module("wandb")
    run_id = "-".join(folder.parts[-3:])
    return wandb.init(
        project="understudy", id=run_id, dir=folder, resume="allow", config=dict(settings)
    )
