"""What a finished run shows: held-out accuracy before and after, and where the gain came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy import ops
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.grid import SUPERVISED
from understudy.run.cell import Contender
from understudy.run.config import load
from understudy.run.info import read_info
from understudy.run.metrics import read
from understudy.run.outcome import Cost, Learning, Score, priced
from understudy.types import Usage

CAUSES = ("format", "arithmetic", "reasoning", "unreadable")
SETS = {"test": "held out", "hard": "harder", "sampled": "sampled"}


def before_after(run: Path) -> dict[str, Any]:
    """The first and the last evaluation in a run's metrics, as {set: {before, after}}."""
    found: dict[str, Any] = {}
    for row in read(run / "metrics.jsonl"):
        for name in SETS:
            numbers = {
                k.removeprefix(f"{name}/"): v for k, v in row.items() if k.startswith(f"{name}/")
            }
            if numbers:
                found.setdefault(name, {"before": numbers})["after"] = numbers
    return found


def contender(run: Path) -> Contender:
    """The algorithm, and the model that it trained."""
    config = _settings(run)
    verb = read_info(run).verb
    return Contender(SUPERVISED if verb == SUPERVISED else config.algorithm, config.lm)


def score(run: Path) -> Score | None:
    """Held-out accuracy at the end."""
    found = before_after(run).get("test")
    return None if found is None else _score(found["after"])


def beside(run: Path) -> dict[str, Score]:
    """The model as it was before."""
    found = before_after(run).get("test")
    before = Contender("untrained", _settings(run).lm).label
    return {} if found is None else {before: _score(found["before"])}


def learning(run: Path) -> Learning:
    """Held-out accuracy by updates."""
    rows = read(run / "metrics.jsonl")
    points = [(row["step"], row["test/accuracy"]) for row in rows if "test/accuracy" in row]
    return Learning("updates", points)


def cost(run: Path) -> Cost:
    """Answers that were sampled to learn from are calls; those of evaluations are not counted."""
    config = _settings(run)
    rows = [row for row in read(run / "metrics.jsonl") if "sampled_tokens" in row]
    answers = len(rows) * config.prompts * config.group
    tokens = round(sum(row["sampled_tokens"] for row in rows))
    return priced(run, Usage(calls=answers, completion_tokens=tokens))


def share_done(run: Path) -> float:
    """By updates."""
    rows = read(run / "metrics.jsonl")
    return rows[-1]["step"] / _settings(run).iterations if rows else 0.0


def _settings(run: Path) -> PolicyConfig:
    return load(PolicyConfig, ["--config", str(run / "config.toml")])


def _score(row: dict[str, float]) -> Score:
    low, high = row["accuracy_low"], row["accuracy_high"]
    return Score(row["accuracy"], low, high, round(row["answers"]), "accuracy", share=True)


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
            lines += [
                "           "
                + ", ".join(f"pass@{k[8:]} {before[k]:.1%} → {after[k]:.1%}" for k in powers)
            ]
    return "\n".join(lines)


def _share(numbers: dict[str, float]) -> str:
    low, high = numbers["accuracy_low"], numbers["accuracy_high"]
    return f"{numbers['accuracy']:6.1%} right [{low:.1%}, {high:.1%}]"


def _causes(before: dict[str, float], after: dict[str, float]) -> str:
    gains = [
        f"{cause} {before[f'share_{cause}'] - after[f'share_{cause}']:+.1%}" for cause in CAUSES
    ]
    return "gain by cause of error removed: " + ", ".join(gains)


def describe_comparison(file: Path) -> str:
    """A comparison as a table: pooled accuracy of the seeds with intervals, before and after."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    lines = [f"{'algorithm':<12} {'set':<9} {'before':<24} {'after':<24} seeds"]
    for algorithm in dict.fromkeys(row["algorithm"] for row in rows):
        for name, title in SETS.items():
            mine = [row[name] for row in rows if row["algorithm"] == algorithm and name in row]
            if mine:
                shares = [_pooled([pair[when] for pair in mine]) for when in ("before", "after")]
                each = ", ".join(f"{pair['after']['accuracy']:.1%}" for pair in mine)
                lines.append(f"{algorithm:<12} {title:<9} {shares[0]:<24} {shares[1]:<24} {each}")
    return "\n".join(lines)


def describe_grades(file: Path) -> str:
    """How many rows of a graded file are right, wrong and unreadable."""
    verdicts = [
        json.loads(line)["correct"] for line in file.read_text(encoding="utf-8").splitlines()
    ]
    right = sum(v is True for v in verdicts)
    low, high = ops.wilson(right, len(verdicts))
    share = right / max(1, len(verdicts))
    return (
        f"{len(verdicts)} rows: {right} right ({share:.1%} [{low:.1%}, {high:.1%}]), "
        f"{sum(v is False for v in verdicts)} wrong, {sum(v is None for v in verdicts)} unreadable"
    )


def _pooled(numbers: list[dict[str, float]]) -> str:
    """One proportion over all seeds' problems."""
    answers = sum(n["answers"] for n in numbers)
    right = round(sum(n["accuracy"] * n["answers"] for n in numbers))
    low, high = ops.wilson(right, round(answers))
    return f"{right / answers:6.1%} [{low:.1%}, {high:.1%}]"
