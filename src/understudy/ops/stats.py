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


def _check_confidence(name: str, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"{name}: confidence is {confidence}; it must be between 0 and 1")
