"""A sweep's table as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from understudy.compare.summary import interval
from understudy.run.errors import RunError


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


def describe(file: Path | str) -> str:
    """The table that lies beside its JSON file; a job is its own text."""
    if isinstance(file, str):
        return file.rstrip()
    return file.with_suffix(".txt").read_text(encoding="utf-8").rstrip()


def check(file: Path) -> None:
    """Says where a sweep has not become what was asked for; a search may have trials that fail.

    Raises:
        RunError: runs of a sweep failed.
    """
    found = json.loads(file.read_text(encoding="utf-8"))
    if failed := found.get("failed"):
        runs = f"{len(failed)} of {found['runs']} runs failed"
        raise RunError(f"{runs}; they are named above, and the same command tries them again")
