"""Moment-matched decoding: log-weights under which a model's people agree with the aggregates.

An answer is a sequence of fields (how many ratings, each value, ...), each drawn from the model's
distribution p over some codes. Of all distributions with the moments that the aggregates state, the
nearest to p in relative entropy is p · exp(w), w linear in those moments (Csiszár 1975). Two kinds of
moments are stated:

* a code's frequencies by part of the day and action: weights found by iterative scaling (Deming &
  Stephan 1940) on what the model said in a pilot cohort;
* a value's mean given the person and their past, which is a first-order autoregression around the
  person's own mean: at every moment λ v is added, λ such that the mean is met there. Only on average
  would not do: a model that reads a past and continues it is pulled by what it said itself, and
  people drift away or all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.ops.cohort import Floats, Ints
from understudy.ops.tilt import tilted, tilts

ROUNDS = 60
PRIOR = 1.0
"""Rows that the pooled frequencies count in each cell of part and action."""
MOST = 8.0
"""No weight is further from 0."""
RARE = 1e-4
"""The least frequency that is aimed at."""


@dataclass(frozen=True)
class Said:
    """What the model gave one field at M moments, before any weights."""

    part: Ints
    """[M]"""
    action: Ints
    """[M]"""
    mean: Floats
    """[M] of the code's digit, as it was asked for; NaN where none was."""
    logprobs: Floats
    """[M, L]; −∞ where a code was not possible."""


def fit(aim: Floats, said: Said, weights: Floats) -> Floats:
    """[P, A, L] weights under which codes are as frequent at these moments as is aimed at.

    Frequencies and means are met in turn. What was impossible at every moment of a cell cannot be
    made likelier and is left out of the aim; an aim whose mean is not that of the means asked for
    is tilted to theirs.

    Args:
        aim: [P, A, L] each cell summing to 1.
        said: what the model gave.
        weights: [P, A, L] where to begin.

    Returns:
        [P, A, L]
    """
    cells, codes = aim.shape[0] * aim.shape[1], aim.shape[2]
    cell, digits = said.part * aim.shape[1] + said.action, np.arange(float(codes))

    def averages(of: Floats) -> Floats:
        total = np.stack([np.bincount(cell, of[:, c], cells) for c in range(of.shape[1])], axis=1)
        return total / np.maximum(np.bincount(cell, minlength=cells), 1)[:, None]

    possible = averages((said.logprobs > -np.inf).astype(np.float64)) > 0
    wanted = np.where(possible, np.log(np.maximum(aim.reshape(-1, codes), RARE)), -np.inf)
    wanted[~possible.any(axis=1)] = 0.0
    wanted = tilted(wanted, digits, tilts(wanted, digits, averages(said.mean[:, None])[:, 0]))
    table = weights.reshape(-1, codes)
    for _ in range(ROUNDS):
        logprobs = said.logprobs + table[cell]
        met = averages(tilted(logprobs, digits, tilts(logprobs, digits, said.mean)))
        step = np.zeros_like(met)
        np.log(np.divide(wanted, met, out=step, where=met > 0), out=step, where=met > 0)
        table = np.clip(table + step - step.mean(axis=1, keepdims=True), -MOST, MOST)
    return table.reshape(aim.shape)


def frequencies(table: Floats) -> Floats:
    """[P, A, L] counts to frequencies; thin cells lean on all cells together."""
    whole = table.sum(axis=(0, 1))
    pooled = whole / max(whole.sum(), 1e-300)
    leaning = table + PRIOR * pooled
    return leaning / np.maximum(leaning.sum(axis=2, keepdims=True), 1e-300)


def rebin(table: Floats, levels: Floats, values: Floats) -> Floats:
    """Counts [..., L] at some levels, shared out to the neighbours among other values [V]."""
    place = np.clip(np.interp(levels, values, np.arange(len(values))), 0, len(values) - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = place - low
    out = np.zeros((*table.shape[:-1], len(values)))
    for level, (a, b, s) in enumerate(zip(low, high, share, strict=True)):
        out[..., a] += table[..., level] * (1 - s)
        out[..., b] += table[..., level] * s
    return out


def stacked(rows: Sequence[tuple[int, int, float, NDArray[np.float64]]]) -> Said:
    """Rows of (part, action, mean, logprobs)."""
    part, action, mean, logprobs = zip(*rows, strict=True)
    return Said(np.array(part), np.array(action), np.array(mean), np.stack(logprobs))
