"""From scores to statements: aggregates with intervals, and differences that are called real or not.

After Agarwal et al. 2021 (arXiv 2108.13264): interquartile means, a bootstrap of runs within tasks,
the probability of improvement. A difference is called real only if the interval of the difference
leaves out 0 and an exact rank test, corrected over all pairs of the table (Holm), agrees; with few
runs the bootstrap alone is too sure of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy import ops

Floats = NDArray[np.float64]
Tasks = Sequence[Sequence[float] | Floats]
"""By environment, the scores of the runs."""
Verdict = Literal["better", "worse", "no difference"]

RESAMPLES, ALPHA = 2000, 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One contender against another."""

    first: str
    second: str
    difference: Interval
    """Of the interquartile means, first minus second."""
    improvement: Interval
    """The probability that a run of the first is better than one of the second."""
    p: float
    """Of the exact rank test, corrected over all pairs."""
    verdict: Verdict
    """Of the first."""
    because: str
    """Why no difference is seen, where the runs are too few to see any; else empty."""


def aggregate(tasks: Tasks) -> Interval:
    """The interquartile mean over all runs of all tasks, and its stratified bootstrap interval."""
    low, high = ops.stratified_bootstrap_ci(
        [tasks], lambda drawn: _iqm(drawn[0]), np.random.default_rng(0), RESAMPLES, 1 - ALPHA
    )
    return Interval(_iqm(tasks), low, high)


def differences(scores: Mapping[str, Tasks], *, higher_is_better: bool) -> list[Difference]:
    """Every pair of contenders, each of which has the same tasks.

    Args:
        scores: contender → by task, the scores of its runs.
        higher_is_better: whether more is better.
    """
    pairs = list(combinations(scores, 2))
    sign = 1.0 if higher_is_better else -1.0
    raw = [_p_value(scores[a], scores[b]) for a, b in pairs]
    return [
        _difference((a, b), (scores[a], scores[b]), sign, p, len(pairs))
        for (a, b), p in zip(pairs, ops.holm(raw), strict=True)
    ]


def _difference(
    names: tuple[str, str], tasks: tuple[Tasks, Tasks], sign: float, p: float, pairs: int
) -> Difference:
    def gap(drawn: Sequence[Tasks]) -> float:
        return _iqm(drawn[0]) - _iqm(drawn[1])

    def improved(drawn: Sequence[Tasks]) -> float:
        each = [
            ops.probability_of_improvement(sign * np.asarray(x), sign * np.asarray(y))
            for x, y in zip(*drawn, strict=True)
        ]
        return float(np.mean(each))

    found = [
        Interval(
            of(tasks),
            *ops.stratified_bootstrap_ci(tasks, of, np.random.default_rng(0), RESAMPLES, 1 - ALPHA),
        )
        for of in (gap, improved)
    ]
    verdict = judge(found[0], p, sign)
    least, because = min(1.0, _least_p(*tasks) * pairs), ""
    if verdict == "no difference" and least > ALPHA:
        because = f"so few runs could not show one (p is at least {least:.2g})"
    return Difference(*names, found[0], found[1], p, verdict, because)


def judge(difference: Interval, p: float, sign: float = 1.0) -> Verdict:
    """What may be said of the first of two: only what the interval and the test both say.

    Args:
        difference: first minus second, with its interval.
        p: of the test, corrected.
        sign: 1 where more is better, −1 where less is.
    """
    if p > ALPHA or difference.low <= 0 <= difference.high:
        return "no difference"
    return "better" if sign * difference.value > 0 else "worse"


def disjoint(first: Interval, second: Interval, *, higher_is_better: bool) -> Verdict:
    """What two intervals of single runs say: nothing where they touch."""
    if first.low <= second.high and second.low <= first.high:
        return "no difference"
    return "better" if (first.value > second.value) == higher_is_better else "worse"


def _p_value(first: Tasks, second: Tasks) -> float:
    """The exact rank test in each task; over tasks the sum of signed z (Stouffer et al. 1949)."""
    p = [ops.mann_whitney(x, y) for x, y in zip(first, second, strict=True)]
    sides = [
        np.sign(ops.probability_of_improvement(x, y) - 0.5)
        for x, y in zip(first, second, strict=True)
    ]
    return p[0] if len(p) == 1 else _combined(p, sides)


def _combined(p: Sequence[float], sides: Sequence[float]) -> float:
    z = [-side * NormalDist().inv_cdf(q / 2) for side, q in zip(sides, p, strict=True)]
    return math.erfc(abs(math.fsum(z)) / math.sqrt(2 * len(z)))


def _least_p(first: Tasks, second: Tasks) -> float:
    """What the test would say if every run of one were better than every run of the other."""
    return _p_value([[1.0] * len(x) for x in first], [[0.0] * len(y) for y in second])


def _iqm(tasks: Tasks) -> float:
    return ops.iqm(np.concatenate([np.asarray(runs, dtype=np.float64) for runs in tasks]))
