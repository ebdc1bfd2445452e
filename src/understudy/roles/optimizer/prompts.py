"""What a language model is told and asked: first what never changes, then what grows, then the rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from understudy.envs.control.vector import Seen
from understudy.envs.search.describe import describe
from understudy.envs.search.space import Point, Space
from understudy.envs.search.task import Task
from understudy.roles.optimizer.history import line
from understudy.roles.optimizer.trials import Trial, Trials

STEPS = 16
"""Most rows of a shown episode."""
VISITED = 24
"""Most states of which it is said how often they were seen."""

_NUMERIC = "You search for the maximum of an unknown function of {count} parameters, p0 … p{last}."
_DESCRIBED = (
    "You search for the parameters p0 … p{last} of a policy that earns the greatest mean return in a "
    "reinforcement-learning environment."
)
_RECORD = """\
You are shown a record of trials, one on each line: the parameters in order, "=", the mean result, and
in brackets of how many measurements it is the mean. Greater results are better; single measurements may
be noisy. Where the record is long, some older trials are left out of it.
You are asked for several points at a time. They must differ from each other and from all trials. While
little is known, spread them out, with both signs and with small and great values. Later, look at which
parameters the good trials have in common, move on from the best of them, and keep trying something
different with one or two of the points.
Begin your answer with the reason for your proposals in one or two sentences."""


def instructions(task: Task, mode: str) -> str:
    """What stays the same all through a search."""
    count = len(task.space)
    if mode == "numeric":
        parts = [_NUMERIC.format(count=count, last=count - 1), *bounds(task.space)]
    else:
        parts = [_DESCRIBED.format(last=count - 1), "", describe(task), ""]
    return "\n".join([*parts, _RECORD])


def bounds(space: Space) -> Iterator[str]:
    """What each parameter may be; neighbours that are alike are one line."""
    kinds = zip(space.low.tolist(), space.high.tolist(), space.categorical.tolist(), strict=True)
    for (low, high, categorical), group in itertools.groupby(enumerate(kinds), lambda kv: kv[1]):
        places = [place for place, _ in group]
        who = f"p{places[0]}" + (f" … p{places[-1]}" if len(places) > 1 else "")
        what = f"one of the options {low} … {high}, which have no order"
        yield f"{who}: {what if categorical else f'a whole number from {low} to {high}'}."


def question(history: str, reflection: str, best: Trial | None, proposals: int) -> str:
    """The record, what is to be thought about, and what is asked; what changes most comes last."""
    parts = [f"Trials:\n{history}" if history else "Nothing was tried yet.\n"]
    if reflection:
        parts.append(f"{reflection}\n")
    if best is not None:
        parts.append(f"Best so far: {line(best)}\n")
    asked = "1 new point" if proposals == 1 else f"{proposals} new points"
    return "\n".join([*parts, f"Propose {asked}."])


# ---- reflection ---------------------------------------------------------------------------------


def statistics(trials: Trials, space: Space) -> str:
    """Returns and lengths of all trials, and how the good ones differ from the others."""
    means = np.array([trial.mean for trial in trials])
    lengths = np.array([np.mean(trial.lengths) for trial in trials])
    good = means >= np.quantile(means, 0.75)
    lines = [
        f"Of {len(trials)} trials: results {_five(means)}; episode lengths {_five(lengths)} (least, "
        "quarter, median, three quarters, greatest).",
        f"Mean episode length of the best quarter: {lengths[good].mean():.4g}.",
    ]
    if not good.all() and not space.categorical.any():
        points = np.array([trial.point for trial in trials])
        both = [points[good].mean(axis=0), points[~good].mean(axis=0)]
        first, second = (" ".join(f"{x:.0f}" for x in side) for side in both)
        lines += [f"Mean parameters of the best quarter: {first}", f"Of the others: {second}"]
    return "\n".join(lines)


def _five(values: Any) -> str:
    return ", ".join(f"{x:.4g}" for x in np.quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0)))


def visits(trial: Trial) -> str:
    """How often a tabular trial's episodes were in each state; "" where that is not known."""
    seen: dict[int, int] = {}
    for state, *_, times in trial.moves:
        seen[state] = seen.get(state, 0) + times
    often = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:VISITED]
    return ", ".join(f"{state}: {times}" for state, times in often)


def median_episode(trial: Trial) -> int:
    """The seed of the episode whose return is the median one."""
    return trial.seeds[int(np.argsort(trial.returns, kind="stable")[trial.n // 2])]


def rollout(task: Task, point: Point, seed: int) -> str:
    """One episode of a point as a table, at most `STEPS` steps of it and always the last."""
    rows: list[str] = []

    def watch(seen: Seen) -> None:
        observed = " ".join(f"{x:.3g}" for x in np.atleast_1d(seen.observations[0]).tolist())
        acted = " ".join(f"{x:.3g}" for x in np.atleast_1d(seen.actions[0]).tolist())
        rows.append(f"{len(rows)} | {observed} | {acted} | {seen.rewards[0]:.4g}")

    played = task.arena.play(task.policy.bind(np.array([point])), [seed], watch)
    shown = rows if len(rows) <= STEPS else [rows[i] for i in _spread(len(rows))]
    head = f"An episode of the best point (return {played.returns[0, 0]:.5g}, {len(rows)} steps):"
    return "\n".join([head, "step | observation | action | reward", *shown])


def _spread(count: int) -> Sequence[int]:
    return np.unique(np.rint(np.linspace(0, count - 1, STEPS)).astype(int)).tolist()
