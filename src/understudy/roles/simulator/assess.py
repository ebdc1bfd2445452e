"""The fidelity report: how like a reference cohort another cohort is, in what a learner relies on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from understudy.envs.study.declare import Study, StudyError
from understudy.envs.study.table import rules, variables
from understudy.ops.cohort import Cohort, Floats, Ints
from understudy.ops.cohort_statistics import Rows
from understudy.ops.discriminator import Told, person_features, tell_apart
from understudy.ops.distances import category_coverage, category_ratio, distances, halves
from understudy.ops.effects import Effect, compare_effects, response_distance
from understudy.ops.fidelity import (
    STATISTICS,
    Compared,
    Distance,
    Interval,
    compare,
    compare_survival,
    correlation,
    correlations_of,
    statistics_of,
    survival,
)
from understudy.ops.leaks import copied, nearest
from understudy.ops.stats import holm
from understudy.roles.simulator.cohorts import rows_of


@dataclass(frozen=True, slots=True)
class Variable:
    """One declared variable in both cohorts."""

    compared: Compared
    p_differs: float
    """Corrected over the variables (Holm)."""
    p_equivalent: float
    """Corrected over the variables (Holm)."""
    coverage: float | None
    """Share of the real values that occur; None for a variable that is no category."""
    cat: float | None
    """The Sim-LLM study's ratio of the numbers of distinct values."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic of one measure in both cohorts."""

    measure: str
    statistic: str
    real: Interval
    synthetic: Interval

    @property
    def inside(self) -> bool:
        """Whether the synthetic value lies in the real one's interval.

        The synthetic value has noise too: an equal truth with as many people is inside in about
        five of six cases, not in 95 %.
        """
        return self.synthetic.value in self.real


@dataclass(frozen=True)
class Fidelity:
    """The whole report."""

    people: tuple[int, int]
    """Real and synthetic."""
    rows: tuple[int, int]
    rules: dict[str, tuple[float, float]]
    """The share of rows that keep each rule of the study: real and synthetic."""
    variables: dict[str, Variable]
    statistics: tuple[Statistic, ...]
    correlations: dict[str, float]
    """Of the pairs of measures: mean and greatest difference, and the noise floor of the mean."""
    series: dict[str, float]
    """By measure, one less the Kolmogorov-Smirnov distance of people's means, spreads, and steps
    from row to row."""
    staying: Distance
    """The greatest gap between the survival curves."""
    curves: tuple[list[float], list[float]]
    """The share of people still there after each day: real and synthetic."""
    lengths: tuple[float, float]
    """Mean decisions per person."""
    discriminator: Told
    effects: tuple[Effect, ...]
    effect_p: tuple[float, ...]
    """Of a difference in each effect, corrected over all of them (Holm)."""
    responses: tuple[float, float]
    """The distance of all effects at once, and its noise floor; see `response_distance`."""
    leaks: dict[str, float]

    @property
    def coverage(self) -> float:
        """The mean share of real categories that occur."""
        return _mean([v.coverage for v in self.variables.values() if v.coverage is not None])

    @property
    def cat(self) -> float:
        """The Sim-LLM study's "CAT"."""
        return _mean([v.cat for v in self.variables.values() if v.cat is not None])

    @property
    def valid(self) -> float:
        """The least share of synthetic rows that keep a rule."""
        return min(share for _, share in self.rules.values())

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; None where a number does not exist."""
        told = asdict(self)
        told |= {"coverage": self.coverage, "cat": self.cat, "valid": self.valid}
        for row, statistic in zip(told["statistics"], self.statistics, strict=True):
            row["inside"] = statistic.inside
        for row, effect in zip(told["effects"], self.effects, strict=True):
            row["inside"] = effect.inside
        for name, variable in self.variables.items():
            for key, distance in variable.compared.distances.items():
                told["variables"][name]["compared"]["distances"][key]["ratio"] = distance.ratio
        return _finite(told)


def assess(
    real: Cohort,
    synthetic: Cohort,
    study: Study,
    rng: np.random.Generator,
    *,
    margin: float = 0.25,
    n: int = 400,
) -> Fidelity:
    """Compares a cohort with a reference of the same study.

    Args:
        real: the reference; at least four people.
        synthetic: at least two people.
        study: the declaration.
        rng: of all resamples and splits; the same state gives the same report.
        margin: of equivalence, in standard deviations of the real variable.
        n: how many resamples, splits and permutations of each kind.

    Raises:
        StudyError: too few people.
    """
    if len(real) < 4 or len(synthetic) < 2:
        raise StudyError(
            f"{len(real)} real and {len(synthetic)} synthetic people; at least 4 and 2 are needed "
            "to tell fidelity from chance"
        )
    a, b = rows_of(study, real), rows_of(study, synthetic)
    a, b = _shared(a, b), _shared(b, a)
    kept = (rules(study, real), rules(study, synthetic))
    effects = compare_effects(a, b, rng, n)
    ends = [_last_days(c, r) for c, r in ((real, a), (synthetic, b))]
    curves = [survival(e, study.days).tolist() for e in ends]
    return Fidelity(
        people=(len(real), len(synthetic)),
        rows=(real.rows, synthetic.rows),
        rules={k: (float(v.mean()), float(kept[1][k].mean())) for k, v in kept[0].items()},
        variables=_variables(real, synthetic, study, rng, margin, n),
        statistics=tuple(_statistics(a, b, rng, n)),
        correlations=_correlations(a, b, rng, n),
        series=_series(a, b),
        staying=compare_survival(ends[0], ends[1], study.days, rng, n),
        curves=(curves[0], curves[1]),
        lengths=(float(real.lengths.mean()), float(synthetic.lengths.mean())),
        discriminator=tell_apart(person_features(a), person_features(b), rng),
        effects=tuple(effects),
        effect_p=tuple(holm([e.p_differs for e in effects])),
        responses=response_distance(a, b, rng, min(n, 100)),
        leaks=_leaks(real, synthetic, a, b, study, rng),
    )


def _shared(rows: Rows, other: Rows) -> Rows:
    """Only the measures that both cohorts have columns for."""
    values = {k: v for k, v in rows.values.items() if k in other.values}
    return replace(rows, values=values)


def _last_days(cohort: Cohort, rows: Rows) -> Ints:
    return rows.day[cohort.starts + cohort.lengths - 1]


def _variables(
    real: Cohort,
    synthetic: Cohort,
    study: Study,
    rng: np.random.Generator,
    margin: float,
    n: int,
) -> dict[str, Variable]:
    columns = [*variables(study)]
    names = [*(c.name for c in columns), study.names.action, study.names.reward]
    compared = {
        name: compare((real, real[name]), (synthetic, synthetic[name]), rng, margin, n)
        for name in names
    }
    differs = holm([c.p_differs for c in compared.values()])
    equivalent = holm([c.p_equivalent for c in compared.values()])
    countable = {c.name for c in columns if c.kind == "whole" and c.high - c.low <= 100}
    countable.add(study.names.action)
    found: dict[str, Variable] = {}
    for name, p_differs, p_equivalent in zip(names, differs, equivalent, strict=True):
        pair = real[name], synthetic[name]
        category = name in countable
        found[name] = Variable(
            compared[name],
            p_differs,
            p_equivalent,
            category_coverage(*pair) if category else None,
            category_ratio(*pair) if category else None,
        )
    return found


def _statistics(a: Rows, b: Rows, rng: np.random.Generator, n: int) -> list[Statistic]:
    found: list[Statistic] = []
    for name in a.values:
        sides = [statistics_of(rows, rows.values[name], rng, n) for rows in (a, b)]
        found += [Statistic(name, key, sides[0][key], sides[1][key]) for key in STATISTICS]
    return found


def _correlations(a: Rows, b: Rows, rng: np.random.Generator, n: int) -> dict[str, float]:
    parts = [correlations_of(rows.cohort, rows.values) for rows in (a, b)]
    upper = np.triu_indices(len(a.values), 1)
    gap = np.abs(np.subtract(*(correlation(p.sum(axis=0))[upper] for p in parts)))
    half = halves(len(a.cohort), min(n, 100), rng).astype(np.float64)
    split = [correlation(np.tensordot(side, parts[0], 1)) for side in (half, 1 - half)]
    floor = np.abs(split[0] - split[1])[:, upper[0], upper[1]].mean()
    return {"mean": float(gap.mean()), "greatest": float(gap.max()), "floor": float(floor)}


def _series(a: Rows, b: Rows) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in a.values:
        sides = [_per_series(rows, rows.values[name]) for rows in (a, b)]
        for key, real in sides[0].items():
            synthetic = sides[1][key]
            if len(real) and len(synthetic):
                found[f"{name} {key}"] = 1 - _ks(real, synthetic)
    return found


def _per_series(rows: Rows, values: Floats) -> dict[str, Floats]:
    from_row_to_row = np.diff(values)[~rows.cohort.first[1:]]
    means = [values[s] for s in rows.cohort.spans()]
    kept = [v[~np.isnan(v)] for v in means]
    return {
        "means": np.array([v.mean() for v in kept if len(v)]),
        "spreads": np.array([v.std(ddof=1) for v in kept if len(v) > 1]),
        "steps": from_row_to_row[~np.isnan(from_row_to_row)],
    }


def _ks(a: Floats, b: Floats) -> float:
    support = np.unique(np.concatenate([a, b]))
    counts = [
        np.bincount(np.searchsorted(support, x), minlength=len(support)).astype(np.float64)
        for x in (a, b)
    ]
    return float(distances(support, *counts).ks)


def _leaks(
    real: Cohort, synthetic: Cohort, a: Rows, b: Rows, study: Study, rng: np.random.Generator
) -> dict[str, float]:
    columns = [study.names.part, study.names.action, *(d.name for d in study.derived)]
    found: dict[str, float] = {}
    for days in (1, 2, 4):
        length = days * len(study.parts)
        share, expected = copied(real, synthetic, columns, length, rng)
        found[f"copied {length} rows"], found[f"expected of {length} rows"] = share, expected
    to_real, among = nearest(person_features(a), person_features(b))
    found["nearest real person"] = float(np.median(to_real))
    found["nearest among real people"] = float(np.median(among))
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
