"""What the simulator's commands show, as text."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.roles.simulator.generate import CARD
from understudy.roles.simulator.train import FIDELITY, TRUTH, VERDICT

NEAR = 1.5
"""Distances up to so many times the noise between two halves of the reference are noise."""


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


def describe_verdict(file: Path) -> str:
    """The table of a verdict."""
    return file.with_suffix(".txt").read_text(encoding="utf-8").rstrip()


def describe_study(run: Path) -> str:
    """Fidelity of every simulator, the verdict, and what is true where that is known."""
    reports = json.loads((run / FIDELITY).read_text(encoding="utf-8"))
    lines = [
        describe_cohort(run),
        "",
        f"{'simulator':<16} {'coverage':>8} {'in noise':>9} {'told apart':>11} {'responses':>10}",
    ]
    for name, report in reports.items():
        ratios = [v["compared"]["distances"]["ks"]["ratio"] for v in report["variables"].values()]
        near = sum(r is not None and r <= NEAR for r in ratios)
        effects = [effect["inside"] for effect in report["effects"]]
        responses = f"{sum(effects)}/{len(effects)}"
        lines.append(
            f"{name:<16} {report['coverage']:8.3f} {f'{near}/{len(ratios)}':>9} "
            f"{report['discriminator']['auc']['value']:11.2f} {responses:>10}"
        )
    lines += ["", describe_verdict(run / VERDICT)]
    if (run / TRUTH).is_file():
        truth = json.loads((run / TRUTH).read_text(encoding="utf-8"))
        best = sorted(truth.items(), key=lambda item: -item[1][0])
        told = ", ".join(
            f"{name} {value:.3f} ± {1.96 * error:.3f}" for name, (value, error) in best
        )
        lines.append(f"true values: {told}")
    return "\n".join(lines)
