"""What a finished search shows, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def describe(run: Path) -> str:
    """The winner's held-out return and what it cost."""
    saved = json.loads((run / "best_policy.json").read_text(encoding="utf-8"))
    spent = json.loads((run / "result.json").read_text(encoding="utf-8"))["spent"]
    lines = [
        f"held out  {_figure(saved['held_out'])} over {saved['held_out']['episodes']} episodes"
    ]
    amounts = [f"{value:g} {name}" for name, value in spent.items() if value]
    return "\n".join([*lines, f"   spent  {', '.join(amounts)}"])


def describe_eval(found: dict[str, Any]) -> str:
    """A saved policy's figure."""
    return f"{found['env']}  {_figure(found)} over {found['episodes']} episodes"


def describe_comparison(file: Path) -> str:
    """A table: held-out returns over the seeds, by proposer, and the exact optimum if known."""
    found = json.loads(file.read_text(encoding="utf-8"))
    lines = [f"{found['env']}: held-out return of each seed's winner"]
    if found["optimum"] is not None:
        value, stationary = found["optimum"]["value"], found["optimum"]["stationary"]
        lines.append(
            f"exact optimum {value:.4g} (of policies that act by the state: {stationary:.4g})"
        )
    lines.append(
        f"{'proposer':<10} {'mean':>9} {'median':>9} {'quartiles':>19} {'least':>9}  episodes  seeds"
    )
    for proposer in dict.fromkeys(row["proposer"] for row in found["runs"]):
        rows = [row for row in found["runs"] if row["proposer"] == proposer]
        means = np.array([row["held_out"]["mean"] for row in rows])
        low, middle, high = np.quantile(means, [0.25, 0.5, 0.75])
        quartiles = f"[{low:.4g}, {high:.4g}]"
        lines.append(
            f"{proposer:<10} {means.mean():9.4g} {middle:9.4g} {quartiles:>19} {means.min():9.4g}"
            f"  {rows[0]['spent']['episodes']:8g}  {' '.join(f'{m:.4g}' for m in means)}"
        )
    return "\n".join(lines)


def _figure(found: dict[str, float]) -> str:
    return f"{found['mean']:.4g} [{found['low']:.4g}, {found['high']:.4g}]"
