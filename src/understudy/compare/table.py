"""The table of a grid, from run directories alone: the same directories give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from understudy import ops
from understudy.compare.rows import Row, read_rows
from understudy.compare.statistics import ALPHA, RESAMPLES, Tasks, aggregate, differences
from understudy.compare.summary import text
from understudy.run.errors import RunError
from understudy.run.files import on_disk, replace_file, write_json

TABLE = "compare.json"
THRESHOLDS = tuple(i / 10 for i in range(11))
"""Of the performance profile."""


def write_table(folder: Path) -> Path:
    """Writes `compare.json` and `compare.txt` of the finished runs below a directory.

    Returns:
        The JSON file.

    Raises:
        RunError: there are none, or one is damaged.
    """
    rows, left_out = read_rows(folder)
    if not rows:
        raise RunError(f"{folder}: no finished run to make a table of")
    found = table(rows, left_out)
    write_json(folder / TABLE, found)
    with on_disk(folder):
        replace_file((folder / TABLE).with_suffix(".txt"), (text(found) + "\n").encode())
    return folder / TABLE


def table(rows: Sequence[Row], left_out: Sequence[str] = ()) -> dict[str, Any]:
    """All that is said of some runs, as JSON values."""
    places = [(key, list(mine)) for key, mine in groupby(rows, key=lambda row: (row.role, row.env))]
    return {
        "schema": 1,
        "confidence": 1 - ALPHA,
        "resamples": RESAMPLES,
        "left_out": list(left_out),
        "places": [_place(*key, mine) for key, mine in places],
        "roles": [
            found
            for role in dict.fromkeys(role for (role, _), _ in places)
            if (found := _role(role, {env: mine for (r, env), mine in places if r == role}))
        ],
        "runs": [row.to_json() for row in rows],
    }


def _by_contender(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Those that ask a language model first; baselines last."""
    order = sorted(rows, key=lambda row: (row.baseline, row.lm is None))
    return {
        name: [row for row in rows if row.contender == name]
        for name in dict.fromkeys(row.contender for row in order)
    }


def _place(role: str, env: str, rows: Sequence[Row]) -> dict[str, Any]:
    """One role in one environment."""
    units = {row.score.unit for row in rows}
    if len(units) > 1:
        raise RunError(f"{role} in {env}: its runs have different figures: {', '.join(units)}")
    score, found = rows[0].score, _by_contender(rows)
    means = {name: aggregate([_values(mine)]) for name, mine in found.items()}
    plain = [means[name].value for name, mine in found.items() if mine[0].lm is None]
    best = max if score.higher_is_better else min
    level = best(plain) if plain else None
    ends = [row.learning.points[-1][0] for row in rows if len(row.learning.points) > 1]
    until = min(ends) if ends else None
    return {
        "role": role,
        "env": env,
        "unit": score.unit,
        "higher_is_better": score.higher_is_better,
        "level": level,
        "until": until,
        "spent": next((row.learning.spent for row in rows if row.learning.points), None),
        "contenders": [
            {
                "name": name,
                "lm": mine[0].lm,
                "seeds": [row.seed for row in mine],
                "iqm": asdict(means[name]),
                "mean": float(np.mean(_values(mine))),
                "median": float(np.median(_values(mine))),
                "area": _mean([_area(row, until) for row in mine]),
                "reached": _reached(mine, level, higher=score.higher_is_better),
                "cost": None if mine[0].baseline else _cost(mine),
            }
            for name, mine in found.items()
        ],
        "differences": _differences({n: [_values(m)] for n, m in found.items()}, rows[0]),
    }


def _role(role: str, places: Mapping[str, Sequence[Row]]) -> dict[str, Any] | None:
    """Over all environments of a role, where its figure means the same in each of them."""
    rows = [row for mine in places.values() for row in mine]
    same = len({row.score.unit for row in rows}) == 1 and all(row.score.share for row in rows)
    if len(places) < 2 or not same:
        return None
    each = [_by_contender(mine) for mine in places.values()]
    shared = [name for name in each[0] if all(name in found for found in each)]
    scores: dict[str, Tasks] = {name: [_values(found[name]) for found in each] for name in shared}
    return {
        "role": role,
        "envs": list(places),
        "unit": rows[0].score.unit,
        "higher_is_better": rows[0].score.higher_is_better,
        "thresholds": list(THRESHOLDS),
        "contenders": [
            {
                "name": name,
                "iqm": asdict(aggregate(tasks)),
                "profile": ops.performance_profile(np.concatenate(tasks), THRESHOLDS),
            }
            for name, tasks in scores.items()
        ],
        "differences": _differences(scores, rows[0]),
    }


def _differences(scores: Mapping[str, Tasks], like: Row) -> list[dict[str, Any]]:
    higher = like.score.higher_is_better
    return [asdict(found) for found in differences(scores, higher_is_better=higher)]


def _values(rows: Sequence[Row]) -> list[float]:
    return [row.score.value for row in rows]


def _area(row: Row, until: float | None) -> float | None:
    if until is None or not row.learning.points:
        return None
    return ops.mean_over_steps(row.learning.points, until)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _reached(rows: Sequence[Row], level: float | None, *, higher: bool) -> dict[str, Any] | None:
    """How many runs' courses came to a level, and what the median of those had spent by then."""
    if level is None or not any(row.learning.points for row in rows):
        return None
    at = [
        next((x for x, y in row.learning.points if (y >= level if higher else y <= level)), None)
        for row in rows
    ]
    known = [x for x in at if x is not None]
    return {"runs": len(known), "spent": float(np.median(known)) if known else None}


def _cost(rows: Sequence[Row]) -> dict[str, float]:
    """Means over the runs."""
    each = [asdict(row.cost) for row in rows]
    return {name: float(np.mean([cost[name] for cost in each])) for name in each[0]}
