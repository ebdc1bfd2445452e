"""What is told of a cohort and nothing else: histograms, and what follows from them.

A `Profile` holds counts only. Means, quantiles, spreads, trends, hazards and correlations are
computed from the counts, so that hiding small cells, or adding the noise of differential privacy,
protects all of them at once. A person is the unit: a cell is small when few people are in it, and
under differential privacy (Dwork & Roth 2014) each person has a weight of 1 in every table however
many rows they have, so that tables with and without them differ by at most 1 in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from understudy.ops.cohort import Bools, Cohort, Floats, Ints

GRID = 41
"""Levels of histograms over people."""
COARSE = 8
"""Levels per side of the tables of pairs."""
Mechanism = Literal["laplace", "gaussian"]


@dataclass(frozen=True)
class Counts:
    """All that is kept of one measure; L levels, A actions, P parts of a day, G = `GRID`."""

    levels: Floats
    """[L] values are counted at the nearest."""
    table: Floats
    """[P, A, L] rows by part of the day, action and value."""
    moves: Floats
    """[A, L, L] by the action between them, from the value of the row before to the value after."""
    means: Floats
    """[G] people by their mean, between the least and the greatest level."""
    spreads: Floats
    """[G] people by their standard deviation, between 0 and half the range."""
    carries: Floats
    """[G] people by their lag-1 autocorrelation, between -1 and 1."""
    slopes: Floats
    """[G] people by the slope of their straight line per day, within a tenth of the range."""
    swings: Floats
    """[G] people by their standard deviation around that line, as `spreads`."""


@dataclass(frozen=True)
class Profile:
    """The aggregates of a cohort."""

    parts: tuple[str, ...]
    actions: tuple[str, ...]
    measures: Mapping[str, Counts]
    pairs: Mapping[tuple[str, str], Floats]
    """[C, C] rows by the values of two measures, on coarse levels."""
    last_days: Floats
    """[days] people by the day of their last row."""
    unit: Literal["rows", "people"]
    """What tables of rows count: rows, or people who share a weight of 1 among their rows."""
    hidden_below: int
    """Cells with fewer people than this are 0."""
    noise: float
    """Standard deviation of the noise in each cell; 0 for none."""


@dataclass(frozen=True)
class Rows:
    """A cohort's rows as the statistics need them; R rows."""

    cohort: Cohort
    day: Ints
    part: Ints
    action: Ints
    values: Mapping[str, Floats]
    """[R] each measure; NaN where there is none."""
    levels: Mapping[str, Floats]
    """[L] each; they do not depend on the data."""
    parts: tuple[str, ...]
    actions: tuple[str, ...]
    days: int


def profile(rows: Rows, hidden_below: int = 0) -> Profile:
    """The exact aggregates of a cohort.

    Args:
        rows: the cohort, each person's rows in time order.
        hidden_below: cells with fewer people than this become 0.
    """
    return _profile(rows, np.ones(len(rows.day)), hidden_below, "rows")


def private_profile(
    rows: Rows,
    epsilon: float,
    rng: np.random.Generator,
    delta: float = 0.0,
) -> Profile:
    """Aggregates under (ε, δ)-differential privacy of whole people (one added or taken away).

    Laplace noise for δ = 0, the ε shared out evenly among the tables; else Gaussian noise, the
    tables composed as zero-concentrated privacy (Bun & Steinke 2016, propositions 1.3 and 1.6).
    Counts are then moved to the nearest that are not negative. The declared levels, parts and
    actions are public; nothing else is.

    Args:
        rows: the cohort.
        epsilon: > 0.
        rng: where the noise comes from.
        delta: in [0, 1).

    Raises:
        ValueError: ε or δ outside.
    """
    if not (epsilon > 0 and math.isfinite(epsilon) and 0 <= delta < 1):
        raise ValueError(f"epsilon is {epsilon} and delta {delta}; they must be > 0 and in [0, 1)")
    exact = _profile(rows, 1 / np.repeat(rows.cohort.lengths, rows.cohort.lengths), 0, "people")
    tables = sum(1 for _ in _tables(exact))
    if delta:
        rho = (math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))) ** 2
        noise = math.sqrt(tables / (2 * rho))

        def disturb(table: Floats) -> Floats:
            return _not_negative(table + noise * rng.standard_normal(table.shape))
    else:
        scale = tables / epsilon
        noise = scale * math.sqrt(2)

        def disturb(table: Floats) -> Floats:
            return _not_negative(table + rng.laplace(0, scale, table.shape))

    kept = {
        name: Counts(
            counts.levels,
            *(disturb(getattr(counts, f.name)) for f in fields(Counts) if f.name != "levels"),
        )
        for name, counts in exact.measures.items()
    }
    pairs = {pair: disturb(table) for pair, table in exact.pairs.items()}
    return Profile(
        exact.parts, exact.actions, kept, pairs, disturb(exact.last_days), "people", 0, noise
    )


def _tables(whole: Profile) -> Iterator[Floats]:
    for counts in whole.measures.values():
        yield from (getattr(counts, f.name) for f in fields(Counts) if f.name != "levels")
    yield from whole.pairs.values()
    yield whole.last_days


def _not_negative(table: Floats) -> Floats:
    """The nearest table (least squares) of the same sum without negative cells."""
    total = max(float(table.sum()), 0.0)
    ordered = np.sort(table, axis=None)[::-1]
    excess = (ordered.cumsum() - total) / np.arange(1, table.size + 1)
    kept = int(np.flatnonzero(ordered - excess >= 0)[-1])
    return np.maximum(table - excess[kept], 0.0)


def _profile(
    rows: Rows, weight: Floats, hidden_below: int, unit: Literal["rows", "people"]
) -> Profile:
    count = _Counter(rows.cohort.person, weight, hidden_below)
    at = {name: _nearest(rows.values[name], levels) for name, levels in rows.levels.items()}
    measures: dict[str, Counts] = {}
    for name, levels in rows.levels.items():
        there, cell, size = at[name] >= 0, at[name], len(levels)
        by = (rows.part * len(rows.actions) + rows.action) * size + cell
        before = np.full(len(cell), -1, dtype=np.int64)
        before[1:] = cell[:-1]
        moved = there & (before >= 0) & ~rows.cohort.first
        step = (rows.action * size + before) * size + cell
        low, high = float(levels[0]), float(levels[-1])
        per = series(rows, rows.values[name])
        half, tenth = (high - low) / 2, (high - low) / 10
        measures[name] = Counts(
            levels,
            count.rows(there, by, (len(rows.parts), len(rows.actions), size)),
            count.rows(moved, step, (len(rows.actions), size, size)),
            *(
                count.people(values, edges)
                for values, edges in (
                    (per.mean, (low, high)),
                    (per.sd, (0.0, half)),
                    (per.carry, (-1.0, 1.0)),
                    (per.slope, (-tenth, tenth)),
                    (per.swing, (0.0, half)),
                )
            ),
        )
    pairs = {
        (a, b): count.pair(at[a], at[b], len(rows.levels[a]), len(rows.levels[b]))
        for i, a in enumerate(rows.levels)
        for b in list(rows.levels)[i + 1 :]
    }
    last = rows.day[rows.cohort.starts + rows.cohort.lengths - 1]
    ends = np.bincount(np.clip(last, 0, rows.days - 1), minlength=rows.days).astype(np.float64)
    ends[ends < hidden_below] = 0.0
    return Profile(rows.parts, rows.actions, measures, pairs, ends, unit, hidden_below, 0.0)


class _Counter:
    """Weighted counts of rows and of people, without cells that hold too few people."""

    def __init__(self, person: Ints, weight: Floats, hidden_below: int) -> None:
        self._person, self._weight, self._hidden_below = person, weight, hidden_below

    def rows(self, there: Bools, cell: Ints, shape: tuple[int, ...]) -> Floats:
        size = math.prod(shape)
        table = np.bincount(cell[there], self._weight[there], size)
        if self._hidden_below:
            seen = np.unique(self._person[there] * size + cell[there]) % size
            table[np.bincount(seen, minlength=size) < self._hidden_below] = 0.0
        return table.reshape(shape).astype(np.float64)

    def pair(self, a: Ints, b: Ints, of_a: int, of_b: int) -> Floats:
        there = (a >= 0) & (b >= 0)
        coarse_a, coarse_b = a * COARSE // of_a, b * COARSE // of_b
        return self.rows(there, coarse_a * COARSE + coarse_b, (COARSE, COARSE))

    def people(self, values: Floats, edges: tuple[float, float]) -> Floats:
        cell = _nearest(np.clip(values, *edges), np.linspace(*edges, GRID))
        table = np.bincount(cell[cell >= 0], minlength=GRID).astype(np.float64)
        table[table < self._hidden_below] = 0.0
        return table


def _nearest(values: Floats, levels: Floats) -> Ints:
    """[R] the index of the nearest of evenly spaced levels; -1 for NaN."""
    step = levels[1] - levels[0]
    index = np.rint((np.where(np.isnan(values), levels[0], values) - levels[0]) / step)
    return np.where(np.isnan(values), -1, np.clip(index, 0, len(levels) - 1)).astype(np.int64)


@dataclass(frozen=True)
class Series:
    """What one measure does within each of P people; NaN where a person has too few values."""

    mean: Floats
    sd: Floats
    """Of the sample (n - 1)."""
    carry: Floats
    """Lag-1 autocorrelation: Σ (x_t - m)(x_{t+1} - m) / Σ (x_t - m)²."""
    slope: Floats
    """Per day, least squares."""
    swing: Floats
    """Standard deviation around that line (n - 2)."""


def series(rows: Rows, values: Floats) -> Series:
    """What a measure ([R]) does within people, in time: the trend and what is left without it."""
    n, person = len(rows.cohort), rows.cohort.person
    there = ~np.isnan(values)
    x = np.where(there, values, 0.0)
    t = rows.day + rows.part / len(rows.parts)

    def total(column: Floats) -> Floats:
        return np.bincount(person[there], column[there], n).astype(np.float64)

    count = total(np.ones(len(x)))
    mean = _over(total(x), count, count >= 1)
    when = _over(total(t), count, count >= 1)
    off, late = x - mean[person], t - when[person]
    square, time, both = total(off**2), total(late**2), total(off * late)
    sd = np.sqrt(_over(square, count - 1, count >= 2))
    slope = _over(both, time, (count >= 3) & (time > 0))
    left = np.maximum(square - np.nan_to_num(slope) * both, 0.0)
    swing = np.sqrt(_over(left, count - 2, (count >= 3) & (time > 0)))
    pair = np.zeros(len(x), dtype=np.bool_)
    pair[1:] = there[1:] & there[:-1]
    pair &= ~rows.cohort.first
    product = np.zeros(len(x))
    product[1:] = off[1:] * off[:-1]
    joint = np.bincount(person[pair], product[pair], n).astype(np.float64)
    carry = _over(joint, square, (count >= 3) & (square > 0))
    return Series(mean, sd, carry, slope, swing)


def _over(a: Floats, b: Floats, where: Bools) -> Floats:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=where)


def to_json(whole: Profile) -> dict[str, Any]:
    """A profile as JSON values."""
    return {
        "parts": list(whole.parts),
        "actions": list(whole.actions),
        "measures": {
            name: {f.name: _rounded(getattr(counts, f.name)) for f in fields(Counts)}
            for name, counts in whole.measures.items()
        },
        "pairs": [[a, b, _rounded(table)] for (a, b), table in whole.pairs.items()],
        "last_days": _rounded(whole.last_days),
        "unit": whole.unit,
        "hidden_below": whole.hidden_below,
        "noise": whole.noise,
    }


def _rounded(table: Floats) -> list[Any]:
    return np.round(table, 6).tolist()


def from_json(values: Mapping[str, Any]) -> Profile:
    """The profile that `to_json` gave.

    Raises:
        ValueError: something is missing or has the wrong shape; it is named.
    """
    try:
        measures = {
            name: Counts(**{f.name: np.asarray(counts[f.name], float) for f in fields(Counts)})
            for name, counts in values["measures"].items()
        }
        whole = Profile(
            tuple(values["parts"]),
            tuple(values["actions"]),
            measures,
            {(a, b): np.asarray(table, float) for a, b, table in values["pairs"]},
            np.asarray(values["last_days"], float),
            values["unit"],
            int(values["hidden_below"]),
            float(values["noise"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no profile: {error}") from error
    p, a = len(whole.parts), len(whole.actions)
    for name, counts in whole.measures.items():
        size = len(counts.levels)
        for key, shape in (("table", (p, a, size)), ("moves", (a, size, size))):
            _check_shape(f"measures.{name}.{key}", getattr(counts, key), shape)
        for key in ("means", "spreads", "carries", "slopes", "swings"):
            _check_shape(f"measures.{name}.{key}", getattr(counts, key), (GRID,))
    for pair, table in whole.pairs.items():
        _check_shape(f"pairs of {' and '.join(pair)}", table, (COARSE, COARSE))
    return whole


def _check_shape(name: str, table: Floats, shape: Sequence[int]) -> None:
    if table.shape != tuple(shape) or not np.isfinite(table).all():
        raise ValueError(f"{name} must be {list(shape)} finite numbers, not {list(table.shape)}")
