"""What each action does to what is reported next: the fidelity that a policy learner depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from understudy.ops.cohort import Floats
from understudy.ops.cohort_statistics import Rows
from understudy.ops.distances import halves, resamples, two_sided
from understudy.ops.fidelity import Interval, interval

RIDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Effect:
    """One action's effect on one measure, against the study's first action, in two cohorts."""

    measure: str
    action: str
    real: Interval
    synthetic: Interval
    difference: Interval
    p_differs: float
    """Two-sided, of no difference between the cohorts; uncorrected."""

    @property
    def inside(self) -> bool:
        """Whether the synthetic effect lies in the real one's interval."""
        return self.synthetic.value in self.real


def estimate(rows: Rows, values: Floats, weights: Floats) -> Floats:
    """Effects of actions within people: least squares with a level for each person and each part.

    A person's own level is taken out first, so that people who get other actions because they are
    others do not count as an effect. What depends on the day's earlier rows stays in.

    Args:
        rows: whose actions and parts.
        values: [R] the measure after each action; rows with NaN are left out.
        weights: [N, P] how often each person is in each of N samples.

    Returns:
        [N, A - 1] effects of the second and later actions; NaN where one never occurs.
    """
    actions, parts, people = len(rows.actions), len(rows.parts), len(rows.cohort)
    there = ~np.isnan(values)
    person = rows.cohort.person[there]
    x = np.concatenate(
        [np.eye(actions)[rows.action[there], 1:], np.eye(parts)[rows.part[there], 1:]], axis=1
    )
    y = values[there]
    n = np.maximum(np.bincount(person, minlength=people), 1)[:, None]
    x, y = (
        x - (_total(person, x, people) / n)[person],
        y - (_total(person, y, people) / n)[person, 0],
    )
    squares = _total(person, x[:, :, None] * x[:, None, :], people).reshape(people, -1)
    products = _total(person, x * y[:, None], people)
    k = x.shape[1]
    left = (weights @ squares).reshape(-1, k, k)
    never = np.diagonal(left, axis1=1, axis2=2)[:, : actions - 1] <= RIDGE
    found = np.linalg.solve(left + RIDGE * np.eye(k), (weights @ products)[:, :, None])[:, :, 0]
    return np.where(never, np.nan, found[:, : actions - 1])


def _total(person: np.ndarray, values: Floats, people: int) -> Floats:
    """[P, ...] sums of rows [R, ...] over each person's."""
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    columns = [np.bincount(person, flat[:, j], people) for j in range(flat.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64)


def compare_effects(
    real: Rows, synthetic: Rows, rng: np.random.Generator, n: int = 400
) -> list[Effect]:
    """Every action's effect on every measure that both cohorts have.

    Args:
        real: the reference.
        synthetic: the other cohort.
        rng: of the resampled people.
        n: how many resamples.
    """
    found: list[Effect] = []
    for name in real.values:
        if name not in synthetic.values:
            continue
        point, again = zip(*(_both(rows, name, rng, n) for rows in (real, synthetic)), strict=True)
        for index, action in enumerate(real.actions[1:]):
            a, b = (
                interval(float(p[index]), r[:, index]) for p, r in zip(point, again, strict=True)
            )
            gap = again[1][:, index] - again[0][:, index]
            difference = interval(b.value - a.value, gap)
            error = float(np.nanstd(gap, ddof=1)) if np.isfinite(gap).sum() > 1 else float("nan")
            # Where nothing varies, as in a constant measure, nothing differs either.
            z = difference.value / error if error > 0 else 0.0
            found.append(Effect(name, action, a, b, difference, two_sided(z)))
    return found


def _both(rows: Rows, name: str, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    people, values = len(rows.cohort), rows.values[name]
    point = estimate(rows, values, np.ones((1, people)))[0]
    return point, estimate(rows, values, resamples(people, n, rng))


def response_distance(
    real: Rows, synthetic: Rows, rng: np.random.Generator, n: int = 100
) -> tuple[float, float]:
    """How far all responses to actions are from the real ones, in one number.

    Args:
        real: the reference.
        synthetic: the other cohort.
        rng: of the splits.
        n: how many splits.

    Returns:
        The root mean square of the differences of all effects, each in standard deviations of its
        real measure, and the mean of the same between two random halves of the real people; NaN
        where no real measure varies.
    """
    half = halves(len(real.cohort), n, rng).astype(np.float64)
    gaps: list[Floats] = []
    splits: list[Floats] = []
    for name, values in real.values.items():
        sd = np.nanstd(values) if np.isfinite(values).any() else 0.0
        if name not in synthetic.values or not sd > 0:
            continue
        one, other = (
            estimate(rows, rows.values[name], np.ones((1, len(rows.cohort))))
            for rows in (real, synthetic)
        )
        gaps.append((other - one) / sd)
        splits.append((estimate(real, values, half) - estimate(real, values, 1 - half)) / sd)
    if not gaps:
        return float("nan"), float("nan")
    gap, split = (_root_mean_square(np.concatenate(x, axis=1)) for x in (gaps, splits))
    return float(gap[0]), float(split.mean())


def _root_mean_square(x: Floats) -> Floats:
    """[N] over the last axis, without NaN; 0 where nothing is left."""
    there = np.isfinite(x)
    total = np.where(there, x, 0.0) ** 2
    return np.sqrt(total.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
