"""What `understudy demo` runs: every role's part, the live table, the result and its page."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

from understudy.compare.config import GridConfig, only
from understudy.demo.board import Board
from understudy.demo.config import DemoConfig
from understudy.demo.lead import lead
from understudy.demo.parts import Part
from understudy.demo.verdict import shown
from understudy.report.page import write_report
from understudy.run.config import load
from understudy.run.errors import Stopped
from understudy.run.executors import signals
from understudy.run.files import write_json
from understudy.run.info import find_runs

RESULT, PAGE = "demo.json", "report.html"
EVERY_S = 0.5
"""Between looks at the parts."""


def run_demo(config: DemoConfig) -> Path:
    """Runs the parts that are not done; returns the result's JSON file.

    Raises:
        Stopped: a signal asked for it; the same command goes on.
        RunError: a part failed; the others are done.
    """
    root = Path(config.root) / config.name
    grid = _grid(config, root)
    parts = [Part(role, replace(only(grid, role), name=role)) for role, _ in grid.parts()]
    with Board(parts, enabled=config.progress) as board, signals() as asked:
        try:
            _run(parts, board, config.jobs or os.cpu_count() or 1, asked)
        finally:
            for part in parts:
                part.stop()
        board.update()
    if asked:
        done = sum(part.state == "done" for part in parts)
        text = f"{root}: {done} of {len(parts)} parts are done; the same command goes on"
        raise Stopped(text, 128 + asked[0])
    for part in parts:
        if part.state == "failed":
            raise part.failure()
    results = {part.role: board.results[part.role] for part in parts}
    write_report(_first_seeds(root), root / PAGE, title="understudy demo", lead=lead(results))
    found = {role: asdict(result) for role, result in results.items()}
    write_json(root / RESULT, {"parts": found, "page": PAGE})
    return root / RESULT


def _first_seeds(root: Path) -> list[Path]:
    """The runs that the page shows one by one: of each role those of its least seed."""
    found = [(run.path, run.info) for run in find_runs(root) if run.info is not None]
    least = {info.role: info.seed for _, info in sorted(found, key=lambda run: -run[1].seed)}
    return [path for path, info in found if info.seed == least[info.role]]


def _run(parts: Sequence[Part], board: Board, jobs: int, asked: Sequence[int]) -> None:
    """Until all parts are done or failed, or a signal came."""
    while not asked:
        for part in parts:
            part.poll()
            if part.state == "done" and part.role not in board.results:
                board.results[part.role] = shown(part.root, part.contender)
        running = sum(part.state == "running" for part in parts)
        waiting = [part for part in parts if part.state == "waiting"]
        for part in waiting[: max(0, jobs - running)]:
            part.start()
        board.update()
        if not running and not waiting:
            return
        time.sleep(EVERY_S)


def _grid(config: DemoConfig, root: Path) -> GridConfig:
    """The recipe, in the demo's directory."""
    with resources.as_file(resources.files("understudy.demo").joinpath("demo.toml")) as own:
        words = ["--config", str(own) if config.recipe is None else config.recipe]
        grid = load(GridConfig, [*words, "--root", str(root)])
    grid = replace(grid, small=config.small, progress=False)
    return grid if config.role == "all" else only(grid, config.role)
