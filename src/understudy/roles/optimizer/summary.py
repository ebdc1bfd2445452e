"""What a finished search shows, as text and as curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.lm.ledger import read_usage
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.optimizer.grid import contender as of_settings
from understudy.roles.optimizer.history import counts
from understudy.roles.optimizer.trials import read_trials
from understudy.run.cell import Contender
from understudy.run.config import load
from understudy.run.metrics import read
from understudy.run.outcome import Cost, Learning, Score, priced
from understudy.run.progress import significant, with_interval

FIRST = 100
"""Evaluations over which the area under a curve is taken."""
_REMEDIES = {
    "lm-near": "moved away from duplicates",
    "lm-clipped": "cut to their bounds",
    "lm-fallback": "sampled for want of a usable answer",
}


def contender(run: Path) -> Contender:
    """The proposer, and the model that it asked."""
    return of_settings(_settings(run))


def score(run: Path) -> Score | None:
    """Return of the winner on episodes that no search saw."""
    if not (run / "result.json").is_file():
        return None
    found = json.loads((run / "result.json").read_text(encoding="utf-8"))["held_out"]
    return Score(found["mean"], found["low"], found["high"], found["episodes"], "return")


def beside(run: Path) -> dict[str, Score]:
    """Nothing: other proposers are runs of their own."""
    del run
    return {}


def learning(run: Path) -> Learning:
    """Return of the best so far, on the search's own episodes, by episodes spent."""
    rows = read(run / "metrics.jsonl")
    return Learning("episodes", [(row["episodes"], row["best"]) for row in rows])


def cost(run: Path) -> Cost:
    """By the ledger."""
    return priced(run, read_usage(run / "lm" / "ledger.json"))


def share_done(run: Path) -> float:
    """By episodes."""
    rows = read(run / "metrics.jsonl")
    return rows[-1]["episodes"] / _settings(run).budget.episodes if rows else 0.0


def _settings(run: Path) -> OptimizerConfig:
    return load(OptimizerConfig, ["--config", str(run / "config.toml")])


def describe(run: Path) -> str:
    """The winner's held-out return, what it cost, and what became of a model's proposals."""
    saved = json.loads((run / "best_policy.json").read_text(encoding="utf-8"))
    spent = json.loads((run / "result.json").read_text(encoding="utf-8"))["spent"]
    amounts = [f"{value:g} {name}" for name, value in spent.items() if value]
    lines = [
        f"held out  {_figure(saved['held_out'])} over {saved['held_out']['episodes']} episodes",
        f"   spent  {', '.join(amounts)}",
    ]
    made = counts(read_trials(run / "trials.jsonl"))
    asked = sum(made.get(name, 0) for name in ("lm", *_REMEDIES))
    if asked:
        others = [f"{made[name]} {what}" for name, what in _REMEDIES.items() if name in made]
        lines.append(f"   model  {', '.join([f'{asked} proposals', *others])}")
    return "\n".join(lines)


def describe_eval(found: dict[str, Any]) -> str:
    """A saved policy's figure, and where its video is if there is one."""
    figure = f"{found['env']}  {_figure(found)} over {found['episodes']} episodes"
    return f"{figure}\n{found['video']}" if found.get("video") else figure


def describe_comparison(file: Path) -> str:
    """A table: held-out returns over the seeds, by proposer, and the exact optimum if known."""
    found = json.loads(file.read_text(encoding="utf-8"))
    lines = [f"{found['env']}: held-out return of each seed's winner"]
    if found["optimum"] is not None:
        value, stationary = found["optimum"]["value"], found["optimum"]["stationary"]
        lines.append(
            f"exact optimum {significant(value, 4)} "
            f"(of policies that act by the state: {significant(stationary, 4)})"
        )
    lines.append(
        f"{'proposer':<10} {'mean':>9} {'median':>9} {'quartiles':>19} {'least':>9} {'area':>9} "
        f"{'episodes':>8} {'calls':>6} {'tokens':>8} {'usd':>8}  seeds"
    )
    for proposer in dict.fromkeys(row["proposer"] for row in found["runs"]):
        rows = [row for row in found["runs"] if row["proposer"] == proposer]
        lines.append(_row(proposer, rows))
    lines.append(
        f"area: mean over the first {FIRST} evaluations of the best so far, on the search's own "
        "episodes; episodes, calls, tokens and usd: means over the seeds"
    )
    return "\n".join(lines)


def _row(proposer: str, rows: Sequence[Mapping[str, Any]]) -> str:
    means = np.array([row["held_out"]["mean"] for row in rows])
    low, middle, high = np.quantile(means, [0.25, 0.5, 0.75])
    spent = {
        name: float(np.mean([row["spent"][name] for row in rows]))
        for name in ("episodes", "calls", "tokens", "usd")
    }
    earned = np.mean([area(row["trials"], row["best"]) for row in rows])
    figures = (means.mean(), middle, means.min(), earned)
    mean, median, least, under = (significant(float(x), 4) for x in figures)
    quartiles = f"[{significant(low, 4)}, {significant(high, 4)}]"
    return (
        f"{proposer:<10} {mean:>9} {median:>9} {quartiles:>19} {least:>9} {under:>9} "
        f"{spent['episodes']:8.0f} {spent['calls']:6.0f} {spent['tokens']:8.0f} "
        f"{spent['usd']:8.4f}  {' '.join(significant(m, 4) for m in means)}"
    )


def area(trials: Sequence[float], best: Sequence[float], until: int = FIRST) -> float:
    """Mean of the best so far over the first `until` evaluations.

    Between generations it stays as it was; before the first one's end it is that one's.

    Args:
        trials: trials at the end of each generation.
        best: the best so far, then.
        until: evaluations.
    """
    at = np.searchsorted(np.array(trials), np.arange(1, until + 1), side="right") - 1
    return float(np.array(best)[np.maximum(at, 0)].mean())


def curves(
    file: Path,
) -> tuple[dict[str, list[list[tuple[float, float]]]], str, dict[str, Any]]:
    """A comparison's curves by proposer, one per seed; what they are of; and how to draw them."""
    drawn: dict[str, list[list[tuple[float, float]]]] = {}
    points: dict[str, list[tuple[float, float]]] = {}
    for row in json.loads(file.read_text(encoding="utf-8"))["runs"]:
        pairs = list(zip(row["episodes"], row["best"], strict=True))
        drawn.setdefault(row["proposer"], []).append(pairs)
        end = row["spent"]["episodes"], row["held_out"]["mean"]
        points.setdefault(row["proposer"], []).append(end)
    options = {"xlabel": "episodes", "band": "quartiles", "points": points}
    return drawn, "return of the best so far; dots: held out", options


def _figure(found: dict[str, float]) -> str:
    return with_interval(found["mean"], found["low"], found["high"], 4)
