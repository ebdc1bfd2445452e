"""Exponential tilts: of all distributions with a given mean, the nearest to one that is given.

p(v) · exp(λ v), normalised, is nearest to p in relative entropy (Csiszár 1975); λ is unique, for the
mean rises with it.
"""

from __future__ import annotations

import numpy as np

from understudy.ops.cohort import Floats

STEEPEST = 30.0
"""No |λ| is greater: a mean at or beyond the ends of what is possible is only come near to."""
CLOSE = 1e-9
STEPS = 60


def tilts(logprobs: Floats, values: Floats, means: Floats) -> Floats:
    """λ of each row, so that its tilted distribution has its mean.

    Newton's steps, halved intervals where one would leave what is known to hold the answer.

    Args:
        logprobs: [M, L], not necessarily normalised; −∞ where a value is impossible.
        values: [L].
        means: [M]; NaN for a row that stays as it is.

    Returns:
        [M]; 0 for rows without a mean.
    """
    wanted = ~np.isnan(means)
    low, high = np.full(len(means), -STEEPEST), np.full(len(means), STEEPEST)
    slope = np.zeros(len(means))
    for _ in range(STEPS):
        p = tilted(logprobs, values, slope)
        mean = p @ values
        off = np.where(wanted, means - mean, 0.0)
        if np.abs(off).max(initial=0.0) < CLOSE:
            break
        low, high = np.where(off > 0, slope, low), np.where(off < 0, slope, high)
        variance = np.maximum(p @ values**2 - mean**2, 1e-12)
        newton = slope + off / variance
        inside = (newton > low) & (newton < high)
        slope = np.where(wanted, np.where(inside, newton, (low + high) / 2), 0.0)
    return slope


def tilted(logprobs: Floats, values: Floats, slopes: Floats) -> Floats:
    """[M, L] p · exp(λ v), normalised."""
    z = logprobs + slopes[:, None] * values
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True)
