"""Studentised bootstrap of people: intervals, tests and what so many people could have resolved."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from understudy.ops.ope import Estimate

Floats = NDArray[np.float64]


def resample_counts(n: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each of n people is in each resample of n people [R, n]."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def linear_resamples(estimate: Estimate, counts: Floats) -> tuple[Floats, Floats]:
    """Values and standard errors [R] of resamples, to first order: value + mean influence."""
    n = counts.shape[1]
    shift = counts @ estimate.influence / n
    # Each resample's own errors are about its own mean.
    squares = np.maximum(counts @ estimate.influence**2 - n * shift**2, 0.0)
    return estimate.value + shift, np.sqrt(squares / (n * max(1, n - 1)))


def studentised(estimate: Estimate, values: Floats, errors: Floats) -> Floats:
    """t* = (value* − value) / error* of resamples [R]; those without an error are left out."""
    t = (values - estimate.value)[errors > 0] / errors[errors > 0]
    return t[np.isfinite(t)]


def interval(
    estimate: Estimate, values: Floats, errors: Floats, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile-t interval (Efron & Tibshirani 1993, section 12.5).

    Args:
        estimate: the value and its error.
        values: of resamples [R].
        errors: standard errors of the same resamples [R].
        confidence: of the interval.

    Returns:
        Its ends; both the value itself where nobody differs from anybody.

    Raises:
        ValueError: not 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"interval: confidence is {confidence}; it must be between 0 and 1")
    t = studentised(estimate, values, errors)
    if not len(t) or not estimate.error > 0:
        return estimate.value, estimate.value
    low, high = np.quantile(t, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return estimate.value - float(high) * estimate.error, estimate.value - float(
        low
    ) * estimate.error


def p_value(difference: Estimate, counts: Floats) -> float:
    """Two-sided p that a difference is 0, by the percentile-t bootstrap of people.

    (1 + resamples with |t*| ≥ |t|) / (1 + resamples): more resamples make it finer, not smaller.
    """
    if not difference.error > 0:
        return 1.0
    t = studentised(difference, *linear_resamples(difference, counts))
    found = abs(difference.value) / difference.error
    return float((1 + (np.abs(t) >= found).sum()) / (1 + len(t)))


def resolvable(error: float, alpha: float, power: float = 0.8) -> float:
    """The least true difference that a two-sided test at `alpha` finds with this power.

    (z₁₋α/₂ + z_power) · error.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * error
