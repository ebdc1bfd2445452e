"""Moment-matched decoding: log-weights under which a model's people agree with the aggregates.

An answer is a sequence of fields (how many ratings, each value, ...), each drawn from the model's
distribution p over some codes. Of all distributions with the moments that the aggregates state, the
nearest to p in relative entropy is p · exp(w), w linear in those moments (Csiszár 1975). The moments
are, of each field: the codes' frequencies by part of the day and action, how far a person's own mean
pulls it (which makes people differ as much as they do), and how far the value before pulls it (which
carries it on). The weights are found by iterative scaling (Deming & Stephan 1940) on what the model
said in a pilot cohort, the frequencies and the two slopes in turn.
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
    own: float | None
    """Mean of (value − middle)(own mean − middle); None leaves the slope 0."""
    last: float | None
    """Mean of (value − middle)(value before − middle); None leaves the slope 0."""


@dataclass(frozen=True)
class Tilt:
    """One field's log-weights."""

    table: Floats
    """[P, A, L]"""
    values: Floats
    """[L]"""
    middle: float
    own: float = 0.0
    last: float = 0.0

    def weights(self, part: int, action: int, own: float, last: float) -> Floats:
        """[L] for somebody's own mean and value before, both as deviations from the middle."""
        pull = (self.values - self.middle) * (self.own * own + self.last * last)
        return np.clip(self.table[part, action] + pull, -MOST, MOST)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "table": self.table.tolist(), "values": self.values.tolist(), "middle": self.middle,
            "own": self.own, "last": self.last,
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Tilt:
        """From `state`."""
        table, values = np.array(state["table"], float), np.array(state["values"], float)
        return cls(table, values, state["middle"], state["own"], state["last"])


@dataclass(frozen=True)
class Said:
    """What the model gave one field at M moments, before any weights."""

    part: Ints
    """[M]"""
    action: Ints
    """[M]"""
    own: Floats
    """[M] deviation of the person's own mean; 0 where it is not known."""
    last: Floats
    """[M] deviation of the value before; 0 where there is none."""
    logprobs: Floats
    """[M, L]; −∞ where a code was not possible."""


def neutral(aims: Aims) -> Tilt:
    """No weights."""
    return Tilt(np.zeros_like(aims.table), aims.values, aims.middle)


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
        tilt = replace(tilt, own=_slope(aims.own, said.own, tilt.own, tilt, said, cell, centred))
        tilt = replace(
            tilt, last=_slope(aims.last, said.last, tilt.last, tilt, said, cell, centred)
        )
    return tilt


def _slope(
    aim: float | None, deviation: Floats, now: float, tilt: Tilt, said: Said, cell: Ints, v: Floats
) -> float:
    """One damped Newton step towards mean(value · deviation) = aim."""
    known = deviation != 0
    if aim is None or known.sum() < 2:
        return now
    p = _tilted(tilt, said, cell)[known]
    mean = p @ v
    variance = p @ v**2 - mean**2
    d = deviation[known]
    curvature = float((variance * d**2).mean())
    off = aim - float((mean * d).mean())
    return now if curvature <= 0 else now + float(np.clip(0.5 * off / curvature, -1.0, 1.0))


def _tilted(tilt: Tilt, said: Said, cell: Ints) -> Floats:
    """The distributions drawn from, [M, L]."""
    pull = tilt.own * said.own + tilt.last * said.last
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


def stacked(rows: Sequence[tuple[int, int, float, float, NDArray[np.float64]]]) -> Said:
    """Rows of (part, action, own, last, logprobs)."""
    part, action, own, last, logprobs = zip(*rows, strict=True)
    return Said(np.array(part), np.array(action), np.array(own), np.array(last), np.stack(logprobs))
