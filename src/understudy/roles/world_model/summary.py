"""What finished runs show: returns by environment steps, the greedy evaluation, and the costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from understudy import ops
from understudy.roles.world_model.config import BodyConfig, WorldModelConfig
from understudy.run.cell import Contender
from understudy.run.config import load
from understudy.run.metrics import read
from understudy.run.outcome import Cost, Learning, Score, priced, tested
from understudy.run.progress import with_interval
from understudy.types import Usage

PARAMETERS = "parameters.json"
"""How many parameters a run's agent has, in its directory."""
Row = Mapping[str, float]


def curve(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log that have a return."""
    rows = read(run / "metrics.jsonl")
    return [row for row in rows if "return" in row or "test/return" in row]


def contender(run: Path) -> Contender:
    """The core, with its window if that is not the usual one."""
    config = _settings(run)
    window, usual = config.body.window, BodyConfig().window
    return Contender(config.core if window == usual else f"{config.core}@{window}")


def score(run: Path) -> Score | None:
    """Of greedy held-out episodes: success, where the environment says what that is, or the return."""
    rows = curve(run)
    if not rows or "test/return" not in rows[-1]:
        return None
    name = "success" if "test/success" in rows[-1] else "return"
    return tested(rows[-1], name)


def beside(run: Path) -> dict[str, Score]:
    """Nothing: other cores are runs of their own."""
    del run
    return {}


def learning(run: Path) -> Learning:
    """Success (or return) of the last training episodes, by environment steps."""
    rows = curve(run)
    name = "success" if any("success" in row for row in rows) else "return"
    return Learning("environment steps", [(r["step"], r[name]) for r in rows if name in r])


def cost(run: Path) -> Cost:
    """Nobody is asked; seconds alone."""
    return priced(run, Usage())


def share_done(run: Path) -> float:
    """By environment steps."""
    rows = read(run / "metrics.jsonl")
    return min(1.0, rows[-1]["step"] / _settings(run).steps) if rows else 0.0


def _settings(run: Path) -> WorldModelConfig:
    return load(WorldModelConfig, ["--config", str(run / "config.toml")])


def steps_to(rows: list[dict[str, float]], threshold: float) -> float | None:
    """Environment steps at the first line whose mean training return reached `threshold`."""
    return next((row["step"] for row in rows if row.get("return", -np.inf) >= threshold), None)


def seconds_per_update(run: Path) -> float:
    """Processor seconds of the whole loop per update."""
    updates = max((row.get("updates", 0.0) for row in read(run / "metrics.jsonl")), default=0.0)
    spent = sum(row["cpu"] for row in read(run / "timing.jsonl"))
    return spent / max(1.0, updates)


def describe(run: Path) -> str:
    """A run's lines, thinned to ten, and its evaluation."""
    rows = curve(run)
    trained = [row for row in rows if "return" in row]
    chosen = np.unique(np.linspace(0, len(trained) - 1, min(10, len(trained))).astype(int))
    lines = [f"{'steps':>9} {'updates':>8} {'return of the last 20':>22}"] if trained else []
    for place in chosen:
        row = trained[place]
        lines.append(f"{row['step']:>9.0f} {row['updates']:>8.0f} {row['return']:>22.1f}")
    if rows and "test/return" in rows[-1]:
        lines.append(_tested(rows[-1]))
    return "\n".join(lines)


def _tested(row: Row) -> str:
    text = f"greedy: return {_interval(row, 'return')} of {row['test/episodes']:.0f} episodes"
    return f"{text}, success {_interval(row, 'success')}" if "test/success" in row else text


def _interval(row: Row, name: str) -> str:
    value, low, high = (row[f"test/{name}{end}"] for end in ("", "_low", "_high"))
    return with_interval(value, low, high, 3)


def describe_comparison(file: Path) -> str:
    """A comparison as a table: one line per run, one per core; intervals of 95 %."""
    runs: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    threshold = runs[0]["threshold"]
    head = f"{'core':<16} {'seed':>4} {'parameters':>10} {f'to {threshold:g}':>8}  "
    lines = [f"{head}{'last 20':>8}  {'greedy':<26} CPU-s/update"]
    for core in dict.fromkeys(run["core"] for run in runs):
        mine = [run for run in runs if run["core"] == core]
        lasts = list[Row]()
        for run in mine:
            path = Path(run["run"])
            rows = curve(path)
            last, reached = rows[-1], steps_to(rows, threshold)
            lasts.append(last)
            size = json.loads((path / PARAMETERS).read_text(encoding="utf-8"))["trained"]
            lines.append(
                f"{core:<16} {run['seed']:>4} {size:>10} "
                f"{'never' if reached is None else f'{reached:.0f}':>8}  "
                f"{last.get('return', np.nan):>8.1f}  {_interval(last, 'return'):<26} "
                f"{seconds_per_update(path):.3f}"
            )
        means = [row["test/return"] for row in lasts]
        low, high = ops.bootstrap_ci(means, lambda x: float(np.mean(x)), np.random.default_rng(0))
        text = with_interval(float(np.mean(means)), low, high, 3)
        lines.append(f"{core:<16}  all {'':>10} {'':>8}  {'':>8}  {text}")
    return "\n".join(lines)


def curves(file: Path) -> tuple[dict[str, list[list[tuple[float, float]]]], str]:
    """A comparison's curves, core → one per seed, and what they are of."""
    drawn: dict[str, list[list[tuple[float, float]]]] = {}
    for run in json.loads(file.read_text(encoding="utf-8")):
        pairs = [(r["step"], r["return"]) for r in curve(Path(run["run"])) if "return" in r]
        drawn.setdefault(run["core"], []).append(pairs)
    return drawn, "return of the last 20 training episodes"
