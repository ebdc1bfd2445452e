"""What a sweep came to: of every setting the mean over its seeds, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from understudy import ops
from understudy.compare.play import Failure
from understudy.compare.roles import SUMMARIES, place
from understudy.compare.statistics import ALPHA, RESAMPLES
from understudy.run.cell import Cell
from understudy.run.files import on_disk, replace_file, write_json
from understudy.run.run import FINISHED
from understudy.sweep.summary import text

TABLE = "sweep.json"


def write_table(root: Path, cells: Sequence[Cell], failures: Sequence[Failure] = ()) -> Path:
    """Writes `sweep.json` and `sweep.txt` beside the runs.

    Args:
        root: the sweep's directory.
        cells: its runs.
        failures: those of them that ended by an error.

    Returns:
        The JSON file.
    """
    found = table(root, cells, failures)
    write_json(root / TABLE, found)
    with on_disk(root):
        replace_file((root / TABLE).with_suffix(".txt"), (text(found) + "\n").encode())
    return root / TABLE


def table(root: Path, cells: Sequence[Cell], failures: Sequence[Failure]) -> dict[str, Any]:
    """All that is said of a sweep's runs, as JSON values."""
    settings = sorted(cells, key=_setting)
    return {
        "schema": 1,
        "confidence": 1 - ALPHA,
        "resamples": RESAMPLES,
        "runs": len(cells),
        "failed": [asdict(failure) for failure in failures],
        "settings": [row(root, key, list(mine)) for key, mine in groupby(settings, key=_setting)],
    }


def _setting(cell: Cell) -> tuple[str, str, str]:
    return cell.role, cell.env, cell.contender.method


def row(root: Path, key: tuple[str, str, str], cells: Sequence[Cell]) -> dict[str, Any]:
    """One setting; without a figure where none of its runs has one.

    Args:
        root: the directory of its runs.
        key: role, environment, and the setting in words.
        cells: its runs, one of each seed.
    """
    role, env, setting = key
    summary, runs = SUMMARIES[role], list[dict[str, Any]]()
    unit, higher, costs = "", True, list[dict[str, float]]()
    for cell in sorted(cells, key=lambda cell: cell.seed):
        path = place(root, cell)
        score = summary.score(path) if (path / FINISHED).is_file() else None
        if score is not None:
            where = path.relative_to(root).as_posix()
            runs.append({"seed": cell.seed, "run": where, "value": score.value})
            unit, higher = score.unit, score.higher_is_better
            costs.append(asdict(summary.cost(path)))
    return {
        "role": role, "env": env, "setting": setting, "seeds": len(cells),
        "unit": unit, "higher_is_better": higher, "runs": runs,
        "mean": mean_over_seeds([run["value"] for run in runs]) if runs else None,
        "cost": {name: float(np.mean([c[name] for c in costs])) for name in costs[0]} if costs else None,
    }  # fmt: skip


def mean_over_seeds(values: Sequence[float]) -> dict[str, float]:
    """The mean and its 95 % interval, by the bootstrap of the seeds."""

    def mean(drawn: Any) -> float:
        return float(np.mean(drawn))

    rng = np.random.default_rng(0)
    low, high = ops.bootstrap_ci(values, mean, rng, RESAMPLES, 1 - ALPHA)
    return {"value": mean(values), "low": low, "high": high}
