"""What is searched: parameters on a grid, each a number in a box or a choice from a few.

Every point is a row of integers. A number's integer counts grid steps from zero (−60 … 60 for
[−6, 6] by 0.1), a choice's is its index: what a trial records, a language model writes and the
environment gets are the same point, not roundings of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.types import UnderstudyError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Point = tuple[int, ...]
DECIMALS = 10
"""Values are rounded to this many decimals, so that 3 steps of 0.1 are 0.3."""


class SpaceError(UnderstudyError):
    """A space that cannot be, or a point that is not in it."""


@dataclass(frozen=True)
class Space:
    """D parameters; build one with `box` and `choices`, and join several with `+`."""

    low: Ints
    """[D] smallest integer."""
    high: Ints
    """[D] largest integer."""
    step: Floats
    """[D] what one integer step is worth; 1 for choices."""
    categorical: NDArray[np.bool_]
    """[D] whether the integers are names without an order."""
    names: tuple[str, ...] = field(default=())
    """[D] what each parameter is, for whoever reads."""

    def __len__(self) -> int:
        return len(self.low)

    def __add__(self, other: Space) -> Space:
        """The parameters of one, then of the other."""
        columns = ("low", "high", "step", "categorical")
        joined = (np.concatenate((getattr(self, c), getattr(other, c))) for c in columns)
        return Space(*joined, names=self.names + other.names)

    @property
    def levels(self) -> Ints:
        """[D] how many integers each parameter has."""
        return self.high - self.low + 1

    def values(self, grid: Any) -> Floats:
        """Integers [..., D] as numbers; a choice's number is its index."""
        return np.round(np.asarray(grid) * self.step, DECIMALS)

    def grid(self, values: Any) -> Ints:
        """The nearest points of the grid to numbers [..., D], clipped into the space.

        Raises:
            SpaceError: not D numbers, or one that is not finite.
        """
        numbers = np.asarray(values, float)
        if numbers.shape[-1:] != (len(self),) or not np.isfinite(numbers).all():
            raise SpaceError(f"a point needs {len(self)} finite numbers")
        return self.clip(np.rint(numbers / self.step))

    def clip(self, grid: Any) -> Ints:
        """Integers [..., D], each moved to the nearest that is in the space."""
        return np.clip(np.asarray(grid), self.low, self.high).astype(np.int64)

    def point(self, grid: Iterable[Any]) -> Point:
        """One point, as a trial records it.

        Raises:
            SpaceError: not D integers, or one that is outside; it is named.
        """
        numbers = list(grid)
        if len(numbers) != len(self):
            raise SpaceError(f"a point needs {len(self)} integers, not {len(numbers)}")
        for index, number in enumerate(numbers):
            if int(number) != number or not self.low[index] <= number <= self.high[index]:
                raise SpaceError(
                    f"{self.names[index]} is {number}; it must be a whole number from "
                    f"{self.low[index]} to {self.high[index]}"
                )
        return tuple(int(number) for number in numbers)

    def sample(self, n: int, rng: np.random.Generator) -> Ints:
        """[n, D], uniform."""
        return rng.integers(self.low, self.high, size=(n, len(self)), endpoint=True)

    def unseen(self, point: Point, seen: Iterable[Point], rng: np.random.Generator) -> Point:
        """The point itself if it was not seen, else one near it that was not.

        Single steps of one parameter are tried first, in random order, then moves of more and more
        parameters at once; where a small space seems used up, the point itself comes back.
        """
        known = set(seen)
        if point not in known:
            return point
        here = np.asarray(point)
        for moved in range(1, len(self) + 1):
            for _ in range(4 * len(self)):
                near = tuple(self._moved(here, moved, rng).tolist())
                if near not in known:
                    return near
        return point

    def _moved(self, here: Ints, parameters: int, rng: np.random.Generator) -> Ints:
        chosen = rng.choice(len(self), size=parameters, replace=False)
        steps = np.where(rng.random(parameters) < 0.5, -1, 1)
        # A choice has no neighbours: any other one is as near.
        anywhere = rng.integers(1, np.maximum(2, self.levels[chosen]))
        around = (here[chosen] - self.low[chosen] + anywhere) % self.levels[chosen]
        there = here.copy()
        there[chosen] = np.where(
            self.categorical[chosen], self.low[chosen] + around, here[chosen] + steps
        )
        return self.clip(there)


def box(names: Sequence[str], low: float, high: float, step: float) -> Space:
    """Numbers between `low` and `high` on a grid through zero.

    Raises:
        SpaceError: the bounds are not multiples of the step, or not in order.
    """
    if not 0 < step < high - low or not np.isfinite((low, high, step)).all():
        raise SpaceError(f"a box of [{low}, {high}] by {step} holds no two points")
    edges = np.array((low, high)) / step
    if not np.allclose(edges, np.rint(edges), rtol=0, atol=1e-6):
        raise SpaceError(f"the bounds {low} and {high} must be multiples of the step {step}")
    n = len(names)
    first, last = np.rint(edges).astype(np.int64)
    whole = (np.full(n, first), np.full(n, last), np.full(n, float(step)), np.zeros(n, bool))
    return Space(*whole, names=tuple(names))


def choices(names: Sequence[str], options: int) -> Space:
    """Parameters that are each one of `options` things.

    Raises:
        SpaceError: fewer than two options.
    """
    if options < 2:
        raise SpaceError(f"a choice needs at least 2 options, not {options}")
    n = len(names)
    whole = (np.zeros(n, np.int64), np.full(n, options - 1), np.ones(n), np.ones(n, bool))
    return Space(*whole, names=tuple(names))
