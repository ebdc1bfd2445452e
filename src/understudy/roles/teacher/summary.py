"""What finished runs show: success and return on held-out episodes, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from understudy import ops
from understudy.lm.ledger import read_usage
from understudy.roles.teacher.config import EvalConfig, TeacherConfig
from understudy.roles.teacher.grid import contender as of_settings
from understudy.run.cell import Contender
from understudy.run.config import load
from understudy.run.info import read_info
from understudy.run.metrics import read
from understudy.run.outcome import Cost, Learning, Score, priced, tested

REPORT_CARD = "teacher.json"
"""What a run's teacher was asked, in its directory."""


def curve(run: Path) -> list[dict[str, float]]:
    """The evaluations of a run, by environment steps."""
    return [row for row in read(run / "metrics.jsonl") if "test/success" in row]


def steps_to(rows: list[dict[str, float]], threshold: float) -> float | None:
    """Environment steps at the first evaluation whose success reached `threshold`."""
    return next((row["step"] for row in rows if row["test/success"] >= threshold), None)


def area(rows: list[dict[str, float]], until: float) -> float:
    """Mean success over the first `until` steps: the area under the curve, 0 to 1 (trapezoids)."""
    steps = np.array([row["step"] for row in rows])
    success = np.array([row["test/success"] for row in rows])
    grid = np.linspace(0, until, 501)
    return float(np.trapezoid(np.interp(grid, steps, success), grid) / until) if until else 0.0


def contender(run: Path) -> Contender:
    """The method, and the model that taught."""
    return of_settings(_settings(run))


def score(run: Path) -> Score | None:
    """Success on held-out episodes at the end; in MPE, where nothing succeeds, the return."""
    rows = curve(run)
    if not rows:
        return None
    name = _quantity(run)
    return tested(rows[-1], name)


def beside(run: Path) -> dict[str, Score]:
    """Nothing: students without a teacher are runs of their own."""
    del run
    return {}


def learning(run: Path) -> Learning:
    """The held-out figure by environment steps."""
    name = _quantity(run)
    return Learning("environment steps", [(row["step"], row[f"test/{name}"]) for row in curve(run)])


def cost(run: Path) -> Cost:
    """By the ledger."""
    return priced(run, read_usage(run / "lm" / "ledger.json"))


def share_done(run: Path) -> float:
    """By environment steps; a teacher's evaluation is one step."""
    config, rows = _settings(run), read(run / "metrics.jsonl")
    if isinstance(config, EvalConfig):
        return float(bool(rows))
    return min(1.0, rows[-1]["step"] / config.steps) if rows else 0.0


def _quantity(run: Path) -> str:
    return "return" if read_info(run).env.startswith("mpe/") else "success"


def _settings(run: Path) -> TeacherConfig | EvalConfig:
    kind = EvalConfig if read_info(run).verb == "eval" else TeacherConfig
    return load(kind, ["--config", str(run / "config.toml")])


def asked(run: Path) -> dict[str, float]:
    """Calls, tokens and money of a run's language model, and what its teacher was asked."""
    names = ("calls", "tokens", "usd", "texts", "fallbacks", "dismissed")
    found: dict[str, float] = dict.fromkeys(names, 0.0)
    spent, card = cost(run), run / REPORT_CARD
    found |= {"calls": spent.calls, "tokens": spent.tokens, "usd": spent.usd}
    if card.is_file():
        met = json.loads(card.read_text(encoding="utf-8"))
        found["texts"] = met["texts"]
        found["fallbacks"] = met["fallbacks"] / max(1, met["asked"])
        found["dismissed"] = float(met["trial"] is not None and not met["trial"]["passed"])
    return found


def describe(run: Path) -> str:
    """First and last evaluation of a run, and the cost of its teacher."""
    rows = curve(run)
    lines = [f"{'steps':>9}  {'success':<22} {'return':<24} length"]
    lines += [
        f"{row['step']:>9.0f}  {_success(row):<22} {_return(row):<24} {row['test/length']:.1f}"
        for row in ([rows[0], rows[-1]] if len(rows) > 1 else rows)
    ]
    spent = asked(run)
    if spent["texts"]:
        lines.append(
            f"teacher: {spent['texts']:.0f} distinct texts, {spent['calls']:.0f} calls, "
            f"{spent['tokens']:.0f} tokens, ${spent['usd']:.4f}; "
            f"no usable answer for {spent['fallbacks']:.1%} of the advice"
        )
    if spent["dismissed"]:
        lines.append(
            "teacher: no better than random actions in its trial, so it was sent away: PPO alone"
        )
    return "\n".join(lines)


def describe_comparison(file: Path) -> str:
    """A comparison as a table, one line per run and one per method; intervals of 95 %."""
    runs = json.loads(file.read_text(encoding="utf-8"))
    threshold = runs[0]["threshold"]
    head = f"{'method':<12} {'seed':>4} {'steps':>8} {f'to {threshold:.0%}':>8}  {'success':<22} "
    lines = [f"{head}{'return':<24} {'area':>5} {'calls':>6} {'tokens':>7}  fallback"]
    for method in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == method]
        curves = [curve(Path(run["run"])) for run in mine]
        # Areas are over the steps that all methods had, or they would not compare.
        until = runs[0]["steps"]
        for run, rows in zip(mine, curves, strict=True):
            last, spent = rows[-1], asked(Path(run["run"]))
            reached = steps_to(rows, threshold)
            lines.append(
                f"{method:<12} {run['seed']:>4} {last['step']:>8.0f} "
                f"{'never' if reached is None else f'{reached:.0f}':>8}  {_success(last):<22} "
                f"{_return(last):<24} {_area(method, rows, until):>5} {spent['calls']:>6.0f} "
                f"{spent['tokens']:>7.0f}  {spent['fallbacks']:.0%}"
                f"{' (teacher sent away)' if spent['dismissed'] else ''}"
            )
        lines.append(_all(method, curves))
    return "\n".join(lines)


def _area(method: str, rows: list[dict[str, float]], until: float) -> str:
    # A teacher does not learn: its curve is flat.
    return f"{rows[-1]['test/success'] if method == 'teacher' else area(rows, until):.2f}"


def _all(method: str, curves: list[list[dict[str, float]]]) -> str:
    """All seeds of a method: mean return with the bootstrap interval over seeds, pooled success."""
    last = [rows[-1] for rows in curves]
    n = sum(row["test/episodes"] for row in last)
    hits = round(sum(row["test/success"] * row["test/episodes"] for row in last))
    low, high = ops.wilson(hits, round(n))
    means = [row["test/return"] for row in last]
    least, most = ops.bootstrap_ci(means, lambda x: float(np.mean(x)), np.random.default_rng(0))
    pooled = f"{hits / n:.3f} [{low:.3f}, {high:.3f}]"
    earned = f"{np.mean(means):.3f} [{least:.3f}, {most:.3f}]"
    return f"{method:<12}  all {'':>8} {'':>8}  {pooled:<22} {earned}"


def _success(row: dict[str, float]) -> str:
    low, high = row["test/success_low"], row["test/success_high"]
    return f"{row['test/success']:.3f} [{low:.3f}, {high:.3f}]"


def _return(row: dict[str, float]) -> str:
    low, high = row["test/return_low"], row["test/return_high"]
    return f"{row['test/return']:.3f} [{low:.3f}, {high:.3f}]"


def curves(file: Path) -> tuple[dict[str, list[list[tuple[float, float]]]], str]:
    """A comparison's curves, method → one per seed, and what they are of.

    Success where some episode succeeded at all, else the return: no episode of MPE "succeeds".
    """
    runs = json.loads(file.read_text(encoding="utf-8"))
    found = [(run["method"], curve(Path(run["run"]))) for run in runs]
    succeeds = any(row["test/success"] > 0 for _, rows in found for row in rows)
    quantity = "success" if succeeds else "return"
    drawn: dict[str, list[list[tuple[float, float]]]] = {}
    for method, rows in found:
        pairs = [(row["step"], row[f"test/{quantity}"]) for row in rows]
        drawn.setdefault(method, []).append(pairs)
    return drawn, quantity
