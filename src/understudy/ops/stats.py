"""Intervals and tests for what is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (1927); (0, 1) where nothing was tried.

    Raises:
        ValueError: not 0 ≤ successes ≤ n, or not 0 < confidence < 1.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes of {n}; they must be between 0 and {n}")
    _check_confidence("wilson", confidence)
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the edges the bounds are exact; rounding must not move them off the proportion itself.
    return (centre - half if successes else 0.0), (centre + half if successes < n else 1.0)


def bootstrap_ci(
    values: Sequence[float] | Floats,
    statistic: Callable[[Floats], float],
    rng: np.random.Generator,
    n: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic (Efron & Tibshirani 1993, section 13.3).

    Args:
        values: the sample, resampled along the first axis.
        statistic: from a sample to a number.
        rng: where the resamples come from; the same generator state gives the same interval.
        n: how many resamples.
        confidence: the share of them inside the interval.

    Raises:
        ValueError: no values, no resamples, or not 0 < confidence < 1.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        raise ValueError("bootstrap_ci: no values")
    if n < 1:
        raise ValueError(f"bootstrap_ci: {n} resamples; there must be at least 1")
    _check_confidence("bootstrap_ci", confidence)
    drawn = [statistic(sample[rng.integers(len(sample), size=len(sample))]) for _ in range(n)]
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that one of k answers is right, from n (arXiv 2107.03374, equation 1).

    Args:
        n: answers drawn.
        c: how many of them were right.
        k: answers allowed, at most n.

    Raises:
        ValueError: not 0 ≤ c ≤ n, or not 1 ≤ k ≤ n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"pass_at_k: {c} right of {n}; they must be between 0 and {n}")
    if not 1 <= k <= n:
        raise ValueError(f"pass_at_k: k is {k}; it must be between 1 and the {n} answers drawn")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def mcnemar(b: int, c: int) -> float:
    """Two-sided p of McNemar's exact test on paired verdicts: the binomial, doubled, at most 1.

    Args:
        b: problems only the first system solved.
        c: problems only the second solved. Those that both or neither solved say nothing.

    Raises:
        ValueError: a count is negative.
    """
    if b < 0 or c < 0:
        raise ValueError(f"mcnemar: counts are {b} and {c}; neither may be negative")
    tail = term = 1
    for i in range(min(b, c)):  # term: C(b + c, i + 1)
        term = term * (b + c - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / 2 ** (b + c))


def holm(p: Sequence[float] | Floats) -> list[float]:
    """P-values adjusted so that the chance of any false rejection is kept (Holm 1979)."""
    order = np.argsort(p)
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def iqm(values: Sequence[float] | Floats) -> float:
    """Interquartile mean: of what is left without the ⌊n/4⌋ least and greatest (arXiv 2108.13264).

    Raises:
        ValueError: no values.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if not len(ordered):
        raise ValueError("iqm: no values")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def stratified_bootstrap_ci(
    groups: Sequence[Sequence[Sequence[float] | Floats]],
    statistic: Callable[[Sequence[Sequence[Floats]]], float],
    rng: np.random.Generator,
    n: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic when runs are drawn anew, within each task and method.

    Stratified bootstrap of Agarwal et al. 2021 (arXiv 2108.13264, section 4.1): every stratum keeps
    its number of runs, so that no resample lacks a task.

    Args:
        groups: by method, by task, the scores of the runs.
        statistic: from resampled `groups` to a number.
        rng: where the resamples come from.
        n: how many resamples.
        confidence: the share of them inside the interval.

    Raises:
        ValueError: a stratum without scores, no resamples, or not 0 < confidence < 1.
    """
    strata = [[np.asarray(runs, dtype=np.float64) for runs in tasks] for tasks in groups]
    if not strata or not all(tasks and all(len(runs) for runs in tasks) for tasks in strata):
        raise ValueError("stratified_bootstrap_ci: a stratum has no scores")
    if n < 1:
        raise ValueError(f"stratified_bootstrap_ci: {n} resamples; there must be at least 1")
    _check_confidence("stratified_bootstrap_ci", confidence)
    drawn = [
        statistic([[r[rng.integers(len(r), size=len(r))] for r in tasks] for tasks in strata])
        for _ in range(n)
    ]
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def probability_of_improvement(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """P(X > Y) + P(X = Y)/2 for a run of each of two methods (arXiv 2108.13264, section 4.3).

    The Mann-Whitney statistic U divided by the number of pairs; over several tasks take the mean.

    Raises:
        ValueError: one of them has no scores.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not len(a) or not len(b):
        raise ValueError("probability_of_improvement: a method has no scores")
    pairs = a[:, None] - b[None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def performance_profile(
    scores: Sequence[float] | Floats, thresholds: Sequence[float] | Floats
) -> list[float]:
    """The share of runs that score above each threshold (arXiv 2108.13264, equation 2).

    Raises:
        ValueError: no scores.
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not len(values):
        raise ValueError("performance_profile: no scores")
    return [float((values > threshold).mean()) for threshold in thresholds]


def mann_whitney(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """Two-sided p of the rank-sum test, exact also with ties (Mann & Whitney 1947).

    Every way of dividing the pooled scores into groups of these sizes is as likely; p is the share
    of those whose U is at least as far from its mean. Counted over sums of doubled mid-ranks.

    Raises:
        ValueError: one of them has no scores.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not len(a) or not len(b):
        raise ValueError("mann_whitney: a method has no scores")
    pooled = np.concatenate([a, b])
    below = (pooled[:, None] > pooled[None, :]).sum(1)
    same = (pooled[:, None] == pooled[None, :]).sum(1)
    ranks: list[int] = (2 * below + same + 1).tolist()
    ways = [{0: 1}, *({} for _ in a)]
    for rank in ranks:
        for size in range(len(a), 0, -1):
            for total, count in ways[size - 1].items():
                ways[size][total + rank] = ways[size].get(total + rank, 0) + count
    middle = len(a) * (len(pooled) + 1)
    far = abs(sum(ranks[: len(a)]) - middle)
    extreme = sum(count for total, count in ways[-1].items() if abs(total - middle) >= far)
    return extreme / math.comb(len(pooled), len(a))


def mean_over_steps(curve: Sequence[tuple[float, float]], until: float) -> float:
    """The area under a learning curve over its width: the mean score of the first `until` steps.

    Trapezoids between the points; before the first it is the first's value, after the last the last's.

    Raises:
        ValueError: no points, or `until` is not above 0.
    """
    if not curve or not until > 0:
        raise ValueError(f"mean_over_steps: {len(curve)} points until {until}")
    steps, values = np.array(curve, dtype=np.float64).T
    grid = np.union1d(steps[(steps > 0) & (steps < until)], [0.0, until])
    return float(np.trapezoid(np.interp(grid, steps, values), grid) / until)


def _check_confidence(name: str, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"{name}: confidence is {confidence}; it must be between 0 and 1")
