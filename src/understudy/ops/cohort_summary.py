"""What follows from a profile's counts: the numbers that people and prompts are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from understudy.ops.cohort import Floats
from understudy.ops.cohort_statistics import GRID, Counts, Profile

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def mean_of(levels: Floats, counts: Floats) -> float:
    """The mean of counted values; NaN where nothing was counted."""
    total = counts.sum()
    return float((levels * counts).sum() / total) if total > 0 else float("nan")


def sd_of(levels: Floats, counts: Floats) -> float:
    """The standard deviation (of a population) of counted values; NaN where there are none."""
    mean = mean_of(levels, counts)
    return float(np.sqrt(mean_of((levels - mean) ** 2, counts)))


def quantiles_of(levels: Floats, counts: Floats, shares: Sequence[float]) -> list[float]:
    """The least level below or at which each share of the counts is; NaN where there are none."""
    total = counts.sum()
    if total <= 0:
        return [float("nan")] * len(shares)
    below = counts.cumsum() / total
    at = np.searchsorted(below, np.asarray(shares) - 1e-12)
    return levels[np.minimum(at, len(levels) - 1)].tolist()


def hazard(last_days: Floats) -> Floats:
    """[days] the share of those still there who leave after each day; 0 after the last.

    Args:
        last_days: [days] people by the day of their last row; who was there on the last day stayed.
    """
    there = last_days[::-1].cumsum()[::-1]
    rate = np.divide(last_days, there, out=np.zeros_like(last_days), where=there > 0)
    rate[-1] = 0.0
    return rate


def spearman(table: Floats) -> float:
    """Rank correlation of two counted variables [C, C], ties at their middle rank; NaN if constant."""
    total = table.sum()
    if total <= 0:
        return float("nan")
    ranks = [c.cumsum() - c / 2 - total / 2 for c in (table.sum(axis=1), table.sum(axis=0))]
    a, b = ranks
    square = (a**2 * table.sum(axis=1)).sum() * (b**2 * table.sum(axis=0)).sum()
    return float(a @ table @ b / np.sqrt(square)) if square > 0 else float("nan")


def people_grid(counts: Counts, key: str) -> Floats:
    """[G] the values at which a measure's histogram over people is counted."""
    low, high = float(counts.levels[0]), float(counts.levels[-1])
    half, tenth = (high - low) / 2, (high - low) / 10
    edges = {
        "means": (low, high),
        "spreads": (0.0, half),
        "carries": (-1.0, 1.0),
        "slopes": (-tenth, tenth),
        "swings": (0.0, half),
    }[key]
    return np.linspace(*edges, GRID)


def correlations(whole: Profile) -> Floats:
    """[M, M] rank correlations of the measures in their order; 0 where one is constant."""
    names = list(whole.measures)
    found = np.eye(len(names))
    for (a, b), table in whole.pairs.items():
        i, j = names.index(a), names.index(b)
        value = spearman(table)
        found[i, j] = found[j, i] = 0.0 if np.isnan(value) else value
    return found


def summary(whole: Profile) -> dict[str, Any]:
    """Everything in words' reach, as JSON values; None where there is nothing to tell.

    Of each measure: mean, sd and quantiles; means by action and by part of the day; the spread
    between people's means and (their root mean square) within people; lag-1 autocorrelation;
    slope per day and its spread over people; the share of each level.
    """
    measures = {name: _of(counts, whole) for name, counts in whole.measures.items()}
    chosen = sum(counts.table.sum(axis=(0, 2)) for counts in whole.measures.values())
    share = np.asarray(chosen) / max(float(np.sum(chosen)), 1e-12)
    told = {
        "people": float(whole.last_days.sum()),
        "measures": measures,
        "actions": dict(zip(whole.actions, share.tolist(), strict=True)),
        "leaving": hazard(whole.last_days).tolist(),
        "correlations": {f"{a} and {b}": spearman(table) for (a, b), table in whole.pairs.items()},
        "hidden_below": whole.hidden_below,
        "noise": whole.noise,
    }
    return _told(told)


def _of(counts: Counts, whole: Profile) -> dict[str, Any]:
    levels, pooled = counts.levels, counts.table.sum(axis=(0, 1))
    by_action, by_part = counts.table.sum(axis=0), counts.table.sum(axis=1)
    spreads, slopes = people_grid(counts, "spreads"), people_grid(counts, "slopes")
    total = max(float(pooled.sum()), 1e-12)
    return {
        "mean": mean_of(levels, pooled),
        "sd": sd_of(levels, pooled),
        "quantiles": dict(
            zip(map(str, QUANTILES), quantiles_of(levels, pooled, QUANTILES), strict=True)
        ),
        "shares": [[float(x), float(c)] for x, c in zip(levels, pooled / total, strict=True)],
        "by_action": {a: mean_of(levels, c) for a, c in zip(whole.actions, by_action, strict=True)},
        "by_part": {p: mean_of(levels, c) for p, c in zip(whole.parts, by_part, strict=True)},
        "between_sd": sd_of(people_grid(counts, "means"), counts.means),
        "within_sd": float(np.sqrt(mean_of(spreads**2, counts.spreads))),
        "carry": mean_of(people_grid(counts, "carries"), counts.carries),
        "slope": mean_of(slopes, counts.slopes),
        "slope_sd": sd_of(slopes, counts.slopes),
        "swing": mean_of(people_grid(counts, "swings"), counts.swings),
    }


def _told(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _told(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_told(inner) for inner in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value
