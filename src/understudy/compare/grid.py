"""Runs what a grid asks for: what is finished stays, what is unfinished goes on, the rest begins.

Every cell is an ordinary run directory that the role's own function has made, so a kill costs no
more than it costs any run. The table is made from those directories alone (`table`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from understudy.compare.config import GridConfig, run_config, shrunk
from understudy.compare.roles import PLAY, place
from understudy.compare.table import write_table
from understudy.run.cell import Cell
from understudy.run.config import dump, load
from understudy.run.errors import RunError, Stopped
from understudy.run.fields import flatten
from understudy.run.files import on_disk, replace_file
from understudy.run.progress import Progress
from understudy.run.run import FINISHED, locked

CONFIG = "config.toml"


def folder_of(config: GridConfig) -> Path:
    """The grid's directory."""
    return Path(config.root) / config.name


def run_grid(config: GridConfig) -> Path:
    """Makes every run that is not there yet, then the table; returns the table's JSON file.

    Raises:
        RunError: a run in the grid's directory was made with other settings, or another process
            is at it.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    config = shrunk(config)
    root = folder_of(config)
    torch.set_num_threads(config.threads)
    with on_disk(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root, wait=config.wait):
        return _run(config, root)


def _run(config: GridConfig, root: Path) -> Path:
    todo = list(unfinished(config, root))
    with on_disk(root):
        replace_file(root / CONFIG, dump(config).encode())
    total = len(config.cells(str(root)))
    with Progress(
        total, f"compare {config.name}", start=total - len(todo), enabled=config.progress
    ) as bar:
        for done, cell in enumerate(todo, total - len(todo) + 1):
            try:
                play(cell, place(root, cell))
            except Stopped as error:
                text = f"{root}: {done - 1} of {total} runs are done; the same command goes on"
                raise Stopped(text, error.exit_code) from error
            bar.update(done)
    return write_table(root)


def unfinished(config: GridConfig, root: Path) -> Iterator[Cell]:
    """The cells whose run has not come to its end, in the order they are run.

    Raises:
        RunError: one that is there was made with other settings.
    """
    for cell in config.cells(str(root)):
        path = place(root, cell)
        if (path / CONFIG).is_file():
            _check_same(path, cell.config)
        if not (path / FINISHED).is_file():
            yield cell


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
            "give the grid another --name, or remove that run"
        )


def _is_where(key: str) -> bool:
    return "run" in key.split(".")[:-1]
