"""What a finished run shows: held-out accuracy before and after, and where the gain came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.run.metrics import read

CAUSES = ("format", "arithmetic", "reasoning", "unreadable")
SETS = {"test": "held out", "hard": "harder", "sampled": "sampled"}


def before_after(run: Path) -> dict[str, Any]:
    """The first and the last evaluation in a run's metrics, as {set: {before, after}}."""
    found: dict[str, Any] = {}
    for row in read(run / "metrics.jsonl"):
        for name in SETS:
            numbers = {k.removeprefix(f"{name}/"): v for k, v in row.items() if k.startswith(f"{name}/")}
            if numbers:
                found.setdefault(name, {"before": numbers})["after"] = numbers
    return found


def describe(run: Path) -> str:
    """The same for a person, with intervals and the gain split by cause."""
    lines: list[str] = []
    for name, pair in before_after(run).items():
        before, after = pair["before"], pair["after"]
        lines.append(f"{SETS[name]:>9}  {_share(before)}")
        if after is not before:
            lines[-1] += f"  →  {_share(after)}"
            lines += [f"{'':>9}  {_causes(before, after)}"]
        powers = [key for key in after if key.startswith("pass_at_")]
        if powers:
            lines += ["           " + ", ".join(f"pass@{k[8:]} {before[k]:.1%} → {after[k]:.1%}" for k in powers)]
    return "\n".join([*lines, f"run directory: {run}"])


def _share(numbers: dict[str, float]) -> str:
    low, high = numbers["accuracy_low"], numbers["accuracy_high"]
    return f"{numbers['accuracy']:6.1%} right [{low:.1%}, {high:.1%}]"


def _causes(before: dict[str, float], after: dict[str, float]) -> str:
    gains = [f"{cause} {before[f'share_{cause}'] - after[f'share_{cause}']:+.1%}" for cause in CAUSES]
    return "gain by cause of error removed: " + ", ".join(gains)
