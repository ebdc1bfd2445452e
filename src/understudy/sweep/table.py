"""What a sweep came to: of every setting the mean over its seeds, with an interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from understudy import ops
from understudy.compare.play import Failure
from understudy.compare.roles import SUMMARIES, place
from understudy.compare.statistics import ALPHA, RESAMPLES
from understudy.compare.summary import interval
from understudy.run.cell import Cell
from understudy.run.errors import RunError
from understudy.run.files import on_disk, replace_file, write_json
from understudy.run.run import FINISHED

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
        "settings": [_row(root, key, list(mine)) for key, mine in groupby(settings, key=_setting)],
    }


def _setting(cell: Cell) -> tuple[str, str, str]:
    return cell.role, cell.env, cell.contender.method


def _row(root: Path, key: tuple[str, str, str], cells: Sequence[Cell]) -> dict[str, Any]:
    """One setting; without a figure where none of its runs has one."""
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


def text(found: Mapping[str, Any]) -> str:
    """The table, for a person; the best of a place stands first."""
    blocks = [
        _block(place, list(rows))
        for place, rows in groupby(found["settings"], key=lambda row: (row["role"], row["env"]))
    ]
    blocks += [f"failed: {one['run']}: {one['problem']}" for one in found["failed"]]
    legend = (
        "mean: over the seeds, with the interval of 95 % of their bootstrap. Costs: means a run."
    )
    return "\n\n".join([*blocks, legend])


def _block(place: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if row["mean"] is not None]
    unit = f": {known[0]['unit']}" if known else ""
    sign = -1 if known and known[0]["higher_is_better"] else 1
    order = sorted(known, key=lambda row: sign * row["mean"]["value"])
    width = max(len(row["setting"]) for row in rows)
    lines = [
        f"{place[0]} in {place[1]}{unit}",
        f"{'':{width}}  {'seeds':>7}  {'mean':<28} {'tokens':>8} {'usd':>8} {'seconds':>8}",
    ]
    for row in [*order, *(row for row in rows if row["mean"] is None)]:
        line = f"{row['setting']:{width}}  {len(row['runs']):>3}/{row['seeds']:<3}"
        if row["mean"] is not None:
            cost = row["cost"]
            line += f"  {interval(row['mean']):<28} {cost['tokens']:>8.0f} {cost['usd']:>8.4f} {cost['seconds']:>8.1f}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def describe(file: Path) -> str:
    """The table that lies beside its JSON file."""
    return file.with_suffix(".txt").read_text(encoding="utf-8").rstrip()


def check(file: Path) -> None:
    """Says where a sweep has not become what was asked for.

    Raises:
        RunError: runs of it failed.
    """
    found = json.loads(file.read_text(encoding="utf-8"))
    if failed := found["failed"]:
        runs = f"{len(failed)} of {found['runs']} runs failed"
        raise RunError(f"{runs}; they are named above, and the same command tries them again")
