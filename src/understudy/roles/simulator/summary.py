"""What the simulator's commands show, as text."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.envs.study.load import load as load_study
from understudy.lm.ledger import read_usage
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.simulator.generate import CARD
from understudy.roles.simulator.grid import METHOD
from understudy.roles.simulator.train import FIDELITY, PEOPLE, TRUTH, VERDICT
from understudy.run.cell import Contender
from understudy.run.config import load
from understudy.run.metrics import read
from understudy.run.outcome import Cost, Learning, Score, priced

NEAR = 1.5
"""Distances up to so many times the noise between two halves of the reference are noise."""


def contender(run: Path) -> Contender:
    """The model that played."""
    return Contender(METHOD, _settings(run).make.lm)


def score(run: Path) -> Score | None:
    """How well a classifier tells the model's people from real ones (AUC; 0.5 is not at all)."""
    return _told_apart(run).get(PEOPLE)


def beside(run: Path) -> dict[str, Score]:
    """The same of the baselines' people."""
    return {name: found for name, found in _told_apart(run).items() if name != PEOPLE}


def learning(run: Path) -> Learning:
    """Nothing is learnt step by step."""
    del run
    return Learning("answers", [])


def cost(run: Path) -> Cost:
    """By the ledger."""
    return priced(run, read_usage(run / "lm" / "ledger.json"))


def share_done(run: Path) -> float:
    """By answers; reports and policies, which come after them, are the last tenth."""
    make, rows = _settings(run).make, read(run / "metrics.jsonl")
    if (run / FIDELITY).is_file():
        return 1.0
    moments = load_study(make.study).steps * (make.ask.pilot_rounds + 1)
    return 0.9 * min(1.0, rows[-1]["step"] / moments) if rows else 0.0


def _told_apart(run: Path) -> dict[str, Score]:
    if not (run / FIDELITY).is_file():
        return {}
    scores: dict[str, Score] = {}
    for name, report in json.loads((run / FIDELITY).read_text(encoding="utf-8")).items():
        auc = report["discriminator"]["auc"]
        scores[name] = Score(
            auc["value"], auc["low"], auc["high"], sum(report["people"]), "told apart (AUC)",
            higher_is_better=False, share=True,
        )  # fmt: skip
    return scores


def _settings(run: Path) -> StudyConfig:
    return load(StudyConfig, ["--config", str(run / "config.toml")])


def describe_cohort(run: Path) -> str:
    """How many people were made, and what their model could not answer."""
    card = json.loads((run / CARD).read_text(encoding="utf-8"))
    lines = [
        f"{card['people']} people, {card['decisions']} decisions, mean reward {card['reward']:.3f}",
        f"{card['asked']} answers, {card['unusable']} unusable"
        + (f" (the first: {card['first_unusable']})" if card["unusable"] else ""),
        "matched to the aggregates" if card["matched"] else "not matched to the aggregates",
    ]
    spent = cost(run)
    if spent.calls:
        lines.append(f"{spent.calls:.0f} calls, {spent.tokens:.0f} tokens, ${spent.usd:.4f}")
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
