"""What the simulator's commands show, as text."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.roles.simulator.generate import CARD


def describe_cohort(run: Path) -> str:
    """How many people were made, and what their model could not answer."""
    card = json.loads((run / CARD).read_text(encoding="utf-8"))
    ledger = run / "lm" / "ledger.json"
    lines = [
        f"{card['people']} people, {card['decisions']} decisions, mean reward {card['reward']:.3f}",
        f"{card['asked']} answers, {card['unusable']} unusable"
        + (f" (the first: {card['first_unusable']})" if card["unusable"] else ""),
        "matched to the aggregates" if card["matched"] else "not matched to the aggregates",
    ]
    if ledger.is_file():
        books = json.loads(ledger.read_text(encoding="utf-8"))
        tokens = books["prompt_tokens"] + books["completion_tokens"]
        lines.append(
            f"{books['done'] + books['unknown']} calls, {tokens} tokens, ${books['usd']:.4f}"
        )
    return "\n".join(lines)


def describe_fidelity(report: Path) -> str:
    """The fidelity report's tables."""
    return report.with_suffix(".txt").read_text(encoding="utf-8").rstrip()
