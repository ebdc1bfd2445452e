"""Plays cells: what is finished stays, what is unfinished goes on, the rest begins.

Every cell is an ordinary run directory that the role's own function has made, so a kill costs no
more than it costs any run, whoever plays it: this process, others, or a cluster's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from understudy.compare.config import run_config
from understudy.compare.roles import PLAY, place
from understudy.run.cell import Cell
from understudy.run.config import dump, load
from understudy.run.errors import RunError, Stopped
from understudy.run.executors import Died, Executor, Serial, never, signals
from understudy.run.fields import flatten
from understudy.run.files import on_disk, replace_file
from understudy.run.progress import Progress
from understudy.run.run import FINISHED
from understudy.types import UnderstudyError

CONFIG = "config.toml"
log = logging.getLogger("understudy")


@dataclass(frozen=True, slots=True)
class Task:
    """A cell, with all that another process needs to play it."""

    cell: Cell
    path: Path
    """Its run directory."""
    folder: str
    """The directory from which paths are meant."""
    threads: int
    """Of torch."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended."""

    problem: str = ""
    """What went wrong, in one line; empty where it is finished."""
    signal: int = 0
    """The exit code of a run that a signal ended in good order; 0 for others."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended by an error of its own."""

    run: str
    """Its directory."""
    problem: str


def unfinished(cells: Iterable[Cell], root: Path) -> Iterator[Cell]:
    """The cells whose run has not come to its end, in their order.

    Raises:
        RunError: one that is there was made with other settings.
    """
    for cell in cells:
        path = place(root, cell)
        if (path / CONFIG).is_file():
            _check_same(path, cell.config)
        if not (path / FINISHED).is_file():
            yield cell


def make(
    config: Any, cells: Sequence[Cell], root: Path, executor: Executor, label: str
) -> list[Failure]:
    """Writes what was asked for beside its runs, and plays all that is not finished.

    Args:
        config: a grid's or a sweep's: it has `threads` and `progress`.
        cells: its runs.
        root: its directory, locked by the caller.
        executor: who plays; opened and closed here.
        label: stands before the progress.

    Returns:
        See `play_all`, which also says what is raised.
    """
    list(unfinished(cells, root))  # whoever has other settings there keeps the file that says which
    with on_disk(root):
        replace_file(root / CONFIG, dump(config).encode())
    with executor:
        return play_all(
            cells, root, executor, label=label, threads=config.threads, progress=config.progress
        )


def play_all(
    cells: Sequence[Cell],
    root: Path,
    executor: Executor,
    *,
    label: str,
    threads: int = 1,
    progress: bool = True,
) -> list[Failure]:
    """Plays every cell that is not finished; one that fails stops no other.

    Args:
        cells: all of them.
        root: the directory that they share.
        executor: who plays them; it is opened.
        label: stands before the progress.
        threads: of torch, of each.
        progress: show it.

    Returns:
        Those that ended by their own error.

    Raises:
        RunError: a run in the directory was made with other settings.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    folder = str(Path.cwd())
    todo = [Task(cell, place(root, cell), folder, threads) for cell in unfinished(cells, root)]
    done, failures, codes = len(cells) - len(todo), list[Failure](), list[int]()
    # A run that this process plays answers signals itself, as any run does.
    here = isinstance(executor, Serial)
    with (
        Progress(len(cells), label, start=done, enabled=progress) as bar,
        signals(not here) as came,
    ):
        stop = never if here else lambda: bool(came)
        for index, found in executor.each(work, todo, lambda: stop() or bool(codes)):
            ending = Ending(str(found)) if isinstance(found, Died) else found
            if ending.signal:
                codes.append(ending.signal)
            elif ending.problem:
                failures.append(Failure(str(todo[index].path), ending.problem))
                log.error("%s: failed: %s", todo[index].path, ending.problem)
            else:
                done += 1
                bar.update(done)
    if codes or came:
        text = f"{root}: {done} of {len(cells)} runs are done; the same command goes on"
        # Who was told tells others in their own way: Ray's tasks hear SIGINT, whatever came here.
        raise Stopped(text, 128 + came[0] if came else codes[0])
    return failures


def work(task: Task) -> Ending:
    """Plays a task to its end, in whatever process this is."""
    os.chdir(task.folder)
    torch.set_num_threads(task.threads)
    if (task.path / FINISHED).is_file():  # its process died when all was done but saying so
        return Ending()
    try:
        play(task.cell, task.path)
    except Stopped as error:
        return Ending(signal=error.exit_code)
    except UnderstudyError as error:
        return Ending(" ".join(str(error).split()))
    except Exception as error:  # a defect of one run stops no other; its trace is in the log
        log.exception("%s", task.path)
        return Ending(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return Ending()


def play(cell: Cell, path: Path) -> Path:
    """Begins a cell's run, or continues it; what a kill left before there was a run is taken over."""
    config = cell.config
    if (path / "run.json").is_file():
        config = _with_run(config, replace(run_config(config), resume=str(path)))
    elif path.is_dir():
        _clear(path)
    return PLAY[cell.role](cell.contender.method, config)


def _with_run(config: Any, run: Any) -> Any:
    if hasattr(config, "run"):
        return replace(config, run=run)
    return replace(config, base=replace(config.base, run=run))


def _clear(path: Path) -> None:
    """Removes what a kill left of a directory that never became a run: no run.json, nothing in it."""
    with on_disk(path):
        for inner in path.iterdir():
            if inner.is_dir():
                inner.rmdir()
            else:
                inner.unlink()
        path.rmdir()


def _check_same(path: Path, config: Any) -> None:
    before = flatten(load(type(config), ["--config", str(path / CONFIG)]))
    after = flatten(config)
    changed = [key for key in after if after[key] != before[key] and not _is_where(key)]
    if changed:
        key = changed[0]
        raise RunError(
            f"{path}: was made with {key} = {before[key]!r}, not {after[key]!r}; "
            "take another --name, or remove that run"
        )


def _is_where(key: str) -> bool:
    return "run" in key.split(".")[:-1]
