"""Makes what a grid asks for, and the table that follows from the run directories alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from understudy.compare import play
from understudy.compare.config import GridConfig, shrunk
from understudy.compare.play import Failure
from understudy.compare.table import write_table
from understudy.run.cell import Cell
from understudy.run.errors import RunError
from understudy.run.files import on_disk
from understudy.run.open_executor import opened
from understudy.run.run import locked


def folder_of(config: GridConfig) -> Path:
    """The grid's directory."""
    return Path(config.root) / config.name


def run_grid(config: GridConfig) -> Path:
    """Makes every run that is not there yet, then the table; returns the table's JSON file.

    Raises:
        RunError: a run in the grid's directory was made with other settings, another process
            is at it, or runs failed; the others are done then.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    config = shrunk(config)
    root, executor = folder_of(config), opened(config.workers, config.ray)
    with on_disk(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root, wait=config.wait):
        cells = config.cells(str(root))
        failures = play.make(config, cells, root, executor, f"compare {config.name}")
        if failures:
            raise RunError(failed(failures, len(cells)))
        return write_table(root)


def unfinished(config: GridConfig, root: Path) -> Iterator[Cell]:
    """The grid's cells whose run has not come to its end. See `play.unfinished`."""
    return play.unfinished(config.cells(str(root)), root)


def failed(failures: list[Failure], total: int) -> str:
    """The line that a command with failed runs ends with."""
    first = failures[0]
    return f"{len(failures)} of {total} runs failed; the first: {first.run}: {first.problem}"
