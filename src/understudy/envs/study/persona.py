"""What is typical of a person, in a few numbers, and of everybody under each action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.envs.study.declare import Study
from understudy.envs.study.table import measured, measures
from understudy.ops.cohort import Cohort, Floats
from understudy.ops.cohort_statistics import Profile


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing in which people differ: the mean of a measure over all of a person's decisions."""

    measure: str
    """See `table.measures`."""
    reported: str
    kind: str
    """rate: how many ratings at a decision; level: of values."""
    words: str
    low: float
    high: float


def traits(study: Study) -> tuple[Trait, ...]:
    """[K] one or two for each reported variable, those first that the study reports first."""
    known = {measure.name: measure for measure in measures(study)}
    found: list[Trait] = []
    for report in study.reported:
        counts = [d.name for d in study.derived if d.of == report.name and d.rule == "count"]
        totals = [d.name for d in study.derived if d.of == report.name and d.rule == "sum"]
        if report.kind == "ratings":
            most = -(-report.per_day // len(study.parts))
            found += [
                Trait(f"{name}.new", report.name, "rate", f"number of {report.name}", 0, most)
                for name in counts[:1]
            ]
            named = f"{report.name}.mean", f"mean of {report.name}"
        else:
            named = (f"{totals[0]}.new" if totals else report.name), f"mean of {report.name}"
        measure = known[named[0]]
        high = min(measure.high, 1.0) if report.budget else measure.high
        found.append(Trait(named[0], report.name, "level", named[1], measure.low, high))
    return tuple(found)


@dataclass(frozen=True)
class Typical:
    """Means of K traits; NaN where nothing was ever reported."""

    everybody: Floats
    """[K]"""
    by_action: Floats
    """[A, K]"""


def typical(study: Study, profile: Profile) -> Typical:
    """What the aggregates say of everybody."""
    everybody, by_action = list[float](), list[Floats]()
    for trait in traits(study):
        if trait.measure not in profile.measures:
            everybody.append(np.nan)
            by_action.append(np.full(len(study.actions), np.nan))
            continue
        counts = profile.measures[trait.measure]
        of_action = counts.table.sum(axis=0)  # [A, L]
        by_action.append(_mean(of_action, counts.levels))
        everybody.append(float(_mean(of_action.sum(axis=0, keepdims=True), counts.levels)[0]))
    return Typical(np.array(everybody), np.stack(by_action, axis=1))


def observed(study: Study, cohort: Cohort) -> tuple[Typical, Floats]:
    """The same from people themselves, and [P, K] of each of them."""
    values = measured(study, cohort)
    action = cohort[study.names.action].astype(np.int64)
    everybody, by_action, each = list[float](), list[Floats](), list[Floats]()
    for trait in traits(study):
        column = values[trait.measure]
        there = ~np.isnan(column)
        everybody.append(float(column[there].mean()) if there.any() else np.nan)
        by_action.append(_grouped(column, there, action, len(study.actions)))
        each.append(_grouped(column, there, cohort.person, len(cohort)))
    whole = Typical(np.array(everybody), np.stack(by_action, axis=1))
    return whole, np.stack(each, axis=1)


def recruit(study: Study, profile: Profile, n: int, rng: np.random.Generator) -> Floats:
    """[N, K] new people, drawn from how people differ; traits are drawn independently.

    As a Latin hypercube (McKay et al. 1979): of each trait, one draw from each N-th of its
    distribution, so that even a few people differ as much as everybody does.
    """
    columns: list[Floats] = []
    general = typical(study, profile).everybody
    for k, trait in enumerate(traits(study)):
        counts = profile.measures.get(trait.measure)
        if counts is None or counts.means.sum() <= 0:
            columns.append(np.full(n, general[k]))
            continue
        low, high = float(counts.levels[0]), float(counts.levels[-1])
        grid = np.linspace(low, high, len(counts.means))
        share = np.cumsum(counts.means) / counts.means.sum()
        even = (rng.permutation(n) + rng.random(n)) / n
        near = np.minimum(np.searchsorted(share, even, side="right"), len(grid) - 1)
        jitter = rng.uniform(-0.5, 0.5, n) * (grid[1] - grid[0])
        columns.append(np.clip(grid[near] + jitter, low, high))
    return np.stack(columns, axis=1)


def _mean(table: Floats, levels: Floats) -> Floats:
    total = table.sum(axis=1)
    return np.divide(table @ levels, total, out=np.full(len(table), np.nan), where=total > 0)


def _grouped(column: Floats, there: np.ndarray, group: np.ndarray, groups: int) -> Floats:
    count = np.bincount(group[there], minlength=groups)
    total = np.bincount(group[there], column[there], groups)
    return np.divide(total, count, out=np.full(groups, np.nan), where=count > 0)
