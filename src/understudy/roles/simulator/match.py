"""Moment-matched decoding: log-weights under which a model's people agree with the aggregates.

An answer is a sequence of fields (how many ratings, each value, ...), each drawn from the model's
distribution p over some codes. Of all distributions with the moments that the aggregates state, the
nearest to p in relative entropy is p · exp(w), w linear in those moments (Csiszár 1975). The moments
are, of each field: the codes' frequencies by part of the day and action, and its covariances with a
person's own mean, with the value before and with how far the past has strayed from that mean, as a
linear prediction has them (people differ as much as they do, values are carried on, and people stay
who they are: a model that reads a past and continues it lets them drift away). The weights are
found by iterative scaling (Deming & Stephan 1940) on what the model said in a pilot cohort, the
frequencies and slopes in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.ops.cohort import Floats, Ints

ROUNDS = 60
PRIOR = 1.0
"""Rows that the pooled frequencies count in each cell of part and action."""
DEVIATIONS = 3
"""D: the person's own mean, the value before, the drift of the past."""
MOST = 8.0
"""No weight is further from 0."""
RARE = 1e-4
"""The least frequency that is aimed at."""


@dataclass(frozen=True)
class Aims:
    """What one field's moments should be; L codes with values, P parts, A actions."""

    values: Floats
    """[L]"""
    table: Floats
    """[P, A, L] frequencies of the codes, each cell summing to 1."""
    middle: float
    """The mean from which deviations are counted."""
    rises: tuple[float, float, float] | None = None
    """Of the linear prediction of a value: by the person's own mean, the value before and the drift of
    the past, all three together; None: no weight on any."""

    def carrying(self, share: float) -> Aims:
        """The same with a share of what the value before carries on; people differ as much."""
        if self.rises is None:
            return self
        own, last, drift = self.rises
        return replace(self, rises=(own * (1 - share * last) / (1 - last), share * last, drift))


@dataclass(frozen=True)
class Tilt:
    """One field's log-weights."""

    table: Floats
    """[P, A, L]"""
    values: Floats
    """[L]"""
    middle: float
    slopes: Floats
    """[D]"""

    def weights(self, part: int, action: int, deviations: Floats) -> Floats:
        """[L] for somebody's deviations [D] from the middle."""
        pull = (self.values - self.middle) * float(self.slopes @ deviations)
        return np.clip(self.table[part, action] + pull, -MOST, MOST)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "table": self.table.tolist(), "values": self.values.tolist(), "middle": self.middle,
            "slopes": self.slopes.tolist(),
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Tilt:
        """From `state`."""
        table, values = np.array(state["table"], float), np.array(state["values"], float)
        return cls(table, values, state["middle"], np.array(state["slopes"], float))


@dataclass(frozen=True)
class Said:
    """What the model gave one field at M moments, before any weights."""

    part: Ints
    """[M]"""
    action: Ints
    """[M]"""
    deviations: Floats
    """[M, D]; 0 where there is none."""
    logprobs: Floats
    """[M, L]; −∞ where a code was not possible."""


def neutral(aims: Aims) -> Tilt:
    """No weights."""
    return Tilt(np.zeros_like(aims.table), aims.values, aims.middle, np.zeros(DEVIATIONS))


def fit(aims: Aims, said: Said, tilt: Tilt) -> Tilt:
    """Weights under which the field's moments at these moments are those aimed at.

    What was impossible at every moment of a cell cannot be made likelier; it is left out of the
    aim. Damped steps from `tilt`, so that a few more rounds never make it worse.
    """
    parts, actions, codes = aims.table.shape
    cell = said.part * actions + said.action
    count = np.bincount(cell, minlength=parts * actions).astype(np.float64)
    aim = np.maximum(aims.table.reshape(-1, codes), RARE)
    centred = aims.values - aims.middle
    for _ in range(ROUNDS):
        p = _tilted(tilt, said, cell)
        mean = np.stack([np.bincount(cell, p[:, c], len(count)) for c in range(codes)], axis=1)
        mean = np.divide(mean, count[:, None], out=np.zeros_like(mean), where=count[:, None] > 0)
        possible = mean > 0
        wanted = np.where(possible, aim, 0.0)
        wanted /= np.maximum(wanted.sum(axis=1, keepdims=True), 1e-300)
        step = np.zeros_like(mean)
        np.log(np.divide(wanted, mean, out=step, where=possible), out=step, where=possible)
        table = tilt.table.reshape(-1, codes) + step
        table = np.clip(table - table.mean(axis=1, keepdims=True), -MOST, MOST)
        tilt = replace(tilt, table=table.reshape(aims.table.shape))
        if aims.rises is not None:
            target = said.deviations @ np.array(aims.rises)
            for place in range(DEVIATIONS):
                tilt = _steeper(tilt, place, target, said, cell, centred)
    return tilt


def _steeper(tilt: Tilt, place: int, target: Floats, said: Said, cell: Ints, v: Floats) -> Tilt:
    """One damped Newton step of a slope, until values covary with a deviation as their targets do.

    Targets and not a covariance that is aimed at: few people in a pilot differ more or less than
    everybody does, and their pasts are not yet what they will be.
    """
    d = said.deviations[:, place]
    p = _tilted(tilt, said, cell)
    mean = p @ v
    curvature = float(((p @ v**2 - mean**2) * d**2).mean())
    if curvature <= 0:
        return tilt
    slopes = tilt.slopes.copy()
    off = float(((target - mean) * d).mean())
    slopes[place] += float(np.clip(0.5 * off / curvature, -1.0, 1.0))
    return replace(tilt, slopes=slopes)


def _tilted(tilt: Tilt, said: Said, cell: Ints) -> Floats:
    """The distributions drawn from, [M, L]."""
    pull = said.deviations @ tilt.slopes
    table = tilt.table.reshape(-1, len(tilt.values))
    weights = table[cell] + pull[:, None] * (tilt.values - tilt.middle)
    z = said.logprobs + np.clip(weights, -MOST, MOST)
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True)


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


def stacked(rows: Sequence[tuple[int, int, Floats, NDArray[np.float64]]]) -> Said:
    """Rows of (part, action, deviations, logprobs)."""
    part, action, deviations, logprobs = zip(*rows, strict=True)
    return Said(np.array(part), np.array(action), np.stack(deviations), np.stack(logprobs))
