"""How far two distributions are from each other, and corrections for asking often."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.ops.cohort import Cohort, Floats

DISTINCT = 128
"""More distinct values than these are gathered at quantiles."""


class Distances(NamedTuple):
    """Four distances of two distributions on one support; any leading axes."""

    ks: Floats
    """Kolmogorov-Smirnov: sup |F - G|."""
    tv: Floats
    """Total variation: ½ Σ |p - q|."""
    w1: Floats
    """Wasserstein-1: ∫ |F - G|, in the units of the values."""
    js: Floats
    """Jensen-Shannon distance: the root of the divergence in bits."""


def distances(support: Floats, p: Floats, q: Floats) -> Distances:
    """All four.

    Args:
        support: [L] ascending values.
        p: [..., L] counts or probabilities.
        q: [..., L]
    """
    p, q = (x / x.sum(axis=-1, keepdims=True) for x in (p, q))
    gap = np.abs((p - q).cumsum(axis=-1))
    middle = (p + q) / 2
    divergence = (_relative(p, middle) + _relative(q, middle)) / 2
    return Distances(
        gap.max(axis=-1),
        np.abs(p - q).sum(axis=-1) / 2,
        (gap[..., :-1] * np.diff(support)).sum(axis=-1),
        np.sqrt(np.maximum(divergence, 0.0)),
    )


def _relative(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=(p > 0) & (q > 0))
    return (p * np.log2(ratio)).sum(axis=-1)


def support_of(*samples: Floats) -> Floats:
    """[L] the distinct values of all samples; at most `DISTINCT`, then chosen at quantiles."""
    values = np.unique(np.concatenate([s[~np.isnan(s)] for s in samples]))
    if len(values) > DISTINCT:
        pooled = np.concatenate([s[~np.isnan(s)] for s in samples])
        values = np.unique(np.quantile(pooled, np.linspace(0, 1, DISTINCT), method="nearest"))
    return values


def count_people(cohort: Cohort, values: Floats, support: Floats) -> Floats:
    """[P, L] how often each person has each value (the next of the support, where between two)."""
    there = ~np.isnan(values)
    at = np.minimum(np.searchsorted(support, values[there]), len(support) - 1)
    cell = cohort.person[there] * len(support) + at
    table = np.bincount(cell, minlength=len(cohort) * len(support))
    return table.reshape(len(cohort), len(support)).astype(np.float64)


def category_coverage(real: Floats, synthetic: Floats) -> float:
    """The share of the real sample's distinct values that the synthetic one has: |S ∩ R| / |R|."""
    known = np.unique(real[~np.isnan(real)])
    return float(np.isin(known, synthetic).mean())


def category_ratio(real: Floats, synthetic: Floats) -> float:
    """The number of distinct synthetic values over that of real ones; it can exceed 1.

    The Sim-LLM study reports its mean over variables as "CAT". Values that the real sample lacks
    count as much as those it has, so it measures no coverage; it is here to compare with theirs.
    """
    distinct = [len(np.unique(x[~np.isnan(x)])) for x in (synthetic, real)]
    return distinct[0] / distinct[1]


def two_sided(z: float) -> float:
    """The two-sided p of a standard normal deviate."""
    return 2 * NormalDist().cdf(-abs(z))


def one_sided(z: float) -> float:
    """The probability of a standard normal deviate below z."""
    return NormalDist().cdf(z)


def resamples(people: int, n: int, rng: np.random.Generator) -> Floats:
    """[n, P] how often each person is in each of n bootstrap samples of people."""
    return rng.multinomial(people, np.full(people, 1 / people), size=n).astype(np.float64)


def halves(people: int, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[n, P] n random splits of people into two halves; the first may be one smaller."""
    ranks = rng.random((n, people)).argsort(axis=1).argsort(axis=1)
    return ranks < people // 2
