"""How like a reference cohort another one is.

People are the unit: rows of one person are not independent, so intervals, tests and noise floors
resample or split people, never rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from understudy.ops.cohort import Cohort, Floats, Ints
from understudy.ops.cohort_statistics import Rows, Series, series
from understudy.ops.distances import (
    Distances,
    count_people,
    distances,
    halves,
    one_sided,
    resamples,
    support_of,
)

TINY = 1e-9
"""Distances below this are rounding."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval over resampled people."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Distance:
    """One distance between two cohorts in one variable."""

    value: float
    low: float
    high: float
    """95 % interval over resampled people of both; resampling adds noise, so it lies high."""
    floor: float
    """What chance alone reaches: the 95th percentile of the same distance between two random
    halves of the reference's people."""
    floor_mean: float
    """Its mean."""

    @property
    def ratio(self) -> float:
        """The distance over its noise floor; below 1 in nearly all cases of equal truths."""
        if self.floor > TINY:
            return self.value / self.floor
        return float("inf") if self.value > TINY else 0.0


@dataclass(frozen=True, slots=True)
class Compared:
    """One variable in two cohorts."""

    distances: Mapping[str, Distance]
    """ks, tv, w1, js."""
    p_differs: float
    """Permutation test over people of the Kolmogorov-Smirnov distance; uncorrected."""
    p_equivalent: float
    """One-sided test that w1 is below the margin: small means that equivalence is shown."""
    margin: float
    """In the variable's units."""


def compare(
    real: tuple[Cohort, Floats],
    synthetic: tuple[Cohort, Floats],
    rng: np.random.Generator,
    margin: float = 0.25,
    n: int = 400,
) -> Compared:
    """One variable's distribution in two cohorts.

    Args:
        real: the reference and its values [R].
        synthetic: the other one and its values.
        rng: of resamples, splits and permutations.
        margin: of equivalence, in standard deviations of the real values.
        n: how many resamples, splits and permutations.
    """
    support = support_of(real[1], synthetic[1])
    a, b = (count_people(*side, support) for side in (real, synthetic))
    found = distances(support, a.sum(axis=0), b.sum(axis=0))
    again = distances(support, _resampled(a, n, rng), _resampled(b, n, rng))
    half = halves(len(a), n, rng)
    floor = distances(support, _safe(half @ a), _safe(~half @ a))
    both = np.concatenate([a, b])
    ranks = rng.random((n, len(both))).argsort(axis=1)
    as_real = ranks < len(a)
    shuffled = distances(support, _safe(as_real @ both), _safe(~as_real @ both)).ks
    sd = float(np.nanstd(real[1]))
    bound = margin * (sd if sd > 0 else 1.0)
    error = float(again.w1.std(ddof=1))
    z = (float(found.w1) - bound) / error if error > 0 else np.sign(float(found.w1) - bound) * 40
    return Compared(
        {
            name: _distance(float(getattr(found, name)), getattr(again, name), getattr(floor, name))
            for name in Distances._fields
        },
        (1 + float((shuffled >= found.ks - 1e-12).sum())) / (n + 1),
        one_sided(float(z)),
        bound,
    )


def _resampled(counts: Floats, n: int, rng: np.random.Generator) -> Floats:
    return _safe(resamples(len(counts), n, rng) @ counts)


def _safe(counts: Floats) -> Floats:
    """Counts that can be normalised: people who never have a value may be all that was drawn."""
    return counts + 1e-12


def _distance(value: float, again: Floats, floor: Floats) -> Distance:
    low, high = np.quantile(again, [0.025, 0.975])
    # Resampled distances lie high; the interval must still hold the one that was found.
    return Distance(
        value,
        min(float(low), value),
        max(float(high), value),
        float(np.quantile(floor, 0.95)),
        float(floor.mean()),
    )


STATISTICS = ("mean", "between_sd", "within_sd", "carry", "slope", "swing")


def people_statistics(found: Series, chosen: Ints) -> dict[str, Floats]:
    """Statistics over samples of people.

    Args:
        found: of one measure, for P people.
        chosen: [N, P] indices of people.

    Returns:
        [N] each: the mean of people's means, their spread (of true means and of the noise that few
        rows leave in each), the root mean square of the spread within people, and the means of
        lag-1 autocorrelation, slope and swing.
    """
    with np.errstate(invalid="ignore"):
        means = found.mean[chosen]
        return {
            "mean": _mean(means),
            "between_sd": np.sqrt(_mean((means - _mean(means)[:, None]) ** 2)),
            "within_sd": np.sqrt(_mean(found.sd[chosen] ** 2)),
            "carry": _mean(found.carry[chosen]),
            "slope": _mean(found.slope[chosen]),
            "swing": _mean(found.swing[chosen]),
        }


def _mean(values: Floats) -> Floats:
    """[N] the mean of each row without its NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    n = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.divide(total, n, out=np.full(len(values), np.nan), where=n > 0)


def statistics_of(
    rows: Rows, values: Floats, rng: np.random.Generator, n: int = 400
) -> dict[str, Interval]:
    """The statistics of `people_statistics` with intervals over resampled people."""
    found, people = series(rows, values), len(rows.cohort)
    point = people_statistics(found, np.arange(people)[None])
    again = people_statistics(found, rng.integers(people, size=(n, people)))
    return {name: interval(float(point[name][0]), again[name]) for name in STATISTICS}


def interval(value: float, again: Floats) -> Interval:
    """An estimate with the percentiles of its resamples; NaN where there are none."""
    kept = again[~np.isnan(again)]
    if not len(kept):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(kept, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def correlations_of(cohort: Cohort, values: Mapping[str, Floats]) -> Floats:
    """[P, 4, M, M] what rank correlations of M measures are made of, for each person.

    Sums over rows where both are there: 1, x, x·x, x·y; x are pooled ranks from 0 to 1.
    """
    ranks = np.stack([_ranks(v) for v in values.values()], axis=1)
    there = (~np.isnan(ranks)).astype(np.float64)
    x = np.where(there > 0, ranks - 0.5, 0.0)
    sums = np.zeros((len(cohort), 4, x.shape[1], x.shape[1]))
    for person, span in enumerate(cohort.spans()):
        m, z = there[span], x[span]
        sums[person] = np.stack([m.T @ m, z.T @ m, (z**2).T @ m, z.T @ z])
    return sums


def correlation(sums: Floats) -> Floats:
    """[..., M, M] correlations from summed parts [..., 4, M, M]; 0 where one is constant."""
    n, x, square, both = (sums[..., i, :, :] for i in range(4))
    y, square_y = np.swapaxes(x, -1, -2), np.swapaxes(square, -1, -2)
    n = np.maximum(n, 1.0)
    joint = both - x * y / n
    spread = np.maximum(square - x**2 / n, 0.0) * np.maximum(square_y - y**2 / n, 0.0)
    return np.divide(joint, np.sqrt(spread), out=np.zeros_like(joint), where=spread > 1e-18)


def _ranks(values: Floats) -> Floats:
    """[R] mid-ranks between 0 and 1; NaN stays."""
    there = ~np.isnan(values)
    _, index, count = np.unique(values[there], return_inverse=True, return_counts=True)
    found = np.full(len(values), np.nan)
    found[there] = ((count.cumsum() - count / 2) / max(int(count.sum()), 1))[index]
    return found


def survival(last_day: Ints, days: int) -> Floats:
    """[..., days] the share of people who are still there after each day.

    Args:
        last_day: [..., P] the day of each person's last row.
        days: of the study; nobody is lost to follow-up before its end but by leaving.
    """
    return (last_day[..., None] > np.arange(days)).mean(axis=-2)


def compare_survival(
    real: Ints, synthetic: Ints, days: int, rng: np.random.Generator, n: int = 400
) -> Distance:
    """The greatest gap between two survival curves, with interval and noise floor as `compare`.

    Args:
        real: [P] day of the last row of each.
        synthetic: [Q]
        days: of the study.
        rng: of resamples and splits.
        n: how many.
    """
    support = np.arange(days, dtype=np.float64)
    a, b = (np.eye(days)[np.clip(last, 0, days - 1)] for last in (real, synthetic))
    found = distances(support, a.sum(axis=0), b.sum(axis=0)).ks
    again = distances(support, _resampled(a, n, rng), _resampled(b, n, rng)).ks
    half = halves(len(a), n, rng)
    floor = distances(support, _safe(half @ a), _safe(~half @ a)).ks
    return _distance(float(found), again, floor)
