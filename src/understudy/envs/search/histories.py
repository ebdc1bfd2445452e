"""Searches to learn from: what was tried so far, and a point that a better searcher would try next.

A searcher that may try a great many points goes through a task. A history is some of what it saw
until some time; the example to follow is, of the best points it ever found, the one nearest to the
history's best. Points that are as good as any are many, and which of them is meant shows in what
was tried: a model of such examples samples from what it believes of the optimum (Thompson sampling;
amortised as in arXiv 2305.17535), and goes there from where the search stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.envs.search.lines import Row, greatest, levels
from understudy.envs.search.space import Ints, Space

Floats = NDArray[np.float64]
FIRST, GENERATION, GENERATIONS = 48, 32, 12
"""Points at random, points of a later generation, later generations."""
ELITE = 8
MOST = 100
"""Most trials of a history."""
EMPTY = 0.04
"""Share of histories without a trial."""
NEAR = 0.7
"""A good point makes at least this share of the way from the history's best to the best known."""
FLAT = 1e-6
"""Returns that differ less, relative to the greatest, are the same."""
EASY = 0.1
"""Tasks in which more points at random than this share are good teach nothing."""


class Worlds(Protocol):
    """N tasks over the same space."""

    @property
    def space(self) -> Space:
        """Of the points."""
        ...

    @property
    def count(self) -> int:
        """N."""
        ...

    def score(self, points: Any, /) -> Floats:
        """Returns [N, P] of points [N, P, D]; the same point always has the same."""
        ...

    def experts(self, points: Ints, /) -> Ints:
        """[N, E, D] good points near those given, where more is known than a search sees."""
        ...


@dataclass(frozen=True)
class Searched:
    """What a search of N tasks saw, and then what experts know."""

    space: Space
    digits: NDArray[np.int8]
    """[N, M, D] levels of the points."""
    returns: Floats
    """[N, M]"""
    born: Ints
    """[M] generation; that of experts' points is above all others."""

    @property
    def useful(self) -> Ints:
        """The tasks in which points differ and few points at random are good."""
        low, high = self.returns.min(axis=1), self.returns.max(axis=1)
        first = self.returns[:, :FIRST]
        usual = np.median(first, axis=1)
        good = (first >= (usual + 0.9 * (high - usual))[:, None]).mean(axis=1)
        return np.flatnonzero((high - low > _same(high)) & (good <= EASY))


@dataclass(frozen=True)
class Moment:
    """A search at some time, and where to go from there."""

    rows: tuple[Row, ...]
    better: tuple[int, ...]
    """A point that is better than all rows."""
    worth: float
    """Its return."""


def search(worlds: Worlds, rng: np.random.Generator) -> Searched:
    """The cross-entropy method over digits (Rubinstein 1999), with mutants of the best."""
    space = worlds.space
    size = greatest(space) + 1
    digits = rng.integers(0, size, (worlds.count, FIRST, len(space)))
    returns = worlds.score(_points(space, digits))
    born = [0] * FIRST
    for generation in range(1, GENERATIONS + 1):
        young = _young(digits, returns, space.categorical, size, rng)
        digits = np.concatenate((digits, young), axis=1)
        returns = np.concatenate((returns, worlds.score(_points(space, young))), axis=1)
        born += [generation] * GENERATION
    # Experts think in choices alone, whose grid is the digits.
    known = worlds.experts(_points(space, digits))
    if known.shape[1]:
        digits = np.concatenate((digits, known), axis=1)
        returns = np.concatenate((returns, worlds.score(known)), axis=1)
        born += [GENERATIONS + 1] * known.shape[1]
    return Searched(space, digits.astype(np.int8), returns, np.array(born))


def moment(searched: Searched, task: int, rng: np.random.Generator) -> Moment:
    """Some of what was tried in a task until some time; see above."""
    digits, returns = searched.digits[task].astype(np.int64), searched.returns[task]
    points = _points(searched.space, digits)
    best = float(returns.max())
    beaten = returns < best - _same(best)
    until = rng.integers(GENERATIONS) if rng.random() < 0.6 else 0
    seen = np.flatnonzero((searched.born <= until) & beaten)
    count = 0 if rng.random() < EMPTY else int(np.exp(rng.uniform(0.0, np.log(MOST))))
    chosen = rng.permutation(seen)[:count]
    if len(chosen):
        top = chosen[returns[chosen].argmax()]
        good = np.flatnonzero(returns >= returns[top] + NEAR * (best - returns[top]))
        apart = np.abs(digits[good] - digits[top])
        steps = np.where(searched.space.categorical, apart > 0, apart).sum(axis=1)
        target = int(rng.choice(good[steps == steps.min()]))
    else:
        target = int(rng.choice(np.flatnonzero(~beaten)))
    rows = tuple((tuple(points[i].tolist()), float(returns[i]), 1) for i in chosen)
    return Moment(rows, tuple(points[target].tolist()), float(returns[target]))


def _same(best: Any) -> Any:
    """Returns that differ less are the same."""
    return FLAT * np.maximum(1.0, np.abs(best))


def _points(space: Space, digits: Ints) -> Ints:
    return levels(space)[np.arange(len(space)), digits]


def _young(
    digits: Ints,
    returns: Floats,
    categorical: NDArray[np.bool_],
    size: Ints,
    rng: np.random.Generator,
) -> Ints:
    """A generation: three in four from the elite's distribution, the others mutants of the best."""
    n, _, d = digits.shape
    # Ties in random order, or a plateau's first points would lead for ever.
    order = np.lexsort((rng.random(returns.shape), -returns), axis=1)[:, :ELITE]
    elite = np.take_along_axis(digits, order[..., None], axis=1)
    mean, spread = elite.mean(axis=1, keepdims=True), elite.std(axis=1, keepdims=True) + 0.4
    normal = np.rint(rng.normal(mean, spread, (n, GENERATION, d)))
    parents = elite[
        np.arange(n)[:, None, None], rng.integers(ELITE, size=(n, GENERATION, d)), np.arange(d)
    ]
    young = np.where(categorical, parents, np.clip(normal, 0, size - 1))
    anything = rng.integers(0, size, young.shape)
    young = np.where(rng.random(young.shape) < 0.06, anything, young)
    mutants = np.arange(GENERATION) % 4 == 0
    changed = rng.random(young.shape) < np.maximum(1.5 / d, 0.1)
    near = np.clip(elite[:, :1] + rng.choice([-2, -1, 1, 2], young.shape), 0, size - 1)
    mutated = np.where(changed, np.where(categorical, anything, near), elite[:, :1])
    return np.where(mutants[:, None], mutated, young).astype(np.int64)
