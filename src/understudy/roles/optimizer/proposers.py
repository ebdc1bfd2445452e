"""Who proposes the next points: the protocol, random search and augmented random search."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from understudy.envs.search.space import Floats, Ints, Point, Space
from understudy.roles.optimizer.trials import Trial, Trials


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point to try."""

    point: Point
    proposer: str
    """Who had the idea; a composed proposer passes on its members' names."""
    reason: str = ""
    """Why, in words, where the proposer has any."""


class Proposer(Protocol):
    """Asks and is told, in turn; all it knows is what it was told and what `ask` shows it."""

    name: str

    @property
    def batch(self) -> int:
        """How many proposals it likes to make at a time."""
        ...

    def ask(self, n: int, trials: Trials, rng: np.random.Generator, /) -> list[Proposal]:
        """Up to n points to try next; none where it can afford no more, which ends the search.

        Args:
            n: at least 1.
            trials: everything tried so far, by whomever.
            rng: the only source of randomness; it depends on the seed and the generation.
        """
        ...

    def tell(self, trials: Sequence[Trial], /) -> None:
        """What came of the points asked for, in the order of asking; some may be missing.

        Trials of other proposers' points may be among them.
        """
        ...

    def recommend(self, trials: Trials, /) -> list[Point]:
        """What it would settle for now, best first; none if it has no opinion of its own."""
        ...

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on as if nothing had happened, as JSON."""
        ...

    def load(self, state: Mapping[str, Any], /) -> None:
        """Goes back to a state, in a proposer that was made the same way."""
        ...


class RandomSearch:
    """Points that were not tried before, uniform over the space or about its middle."""

    def __init__(self, space: Space, *, batch: int = 16, spread: float = 0.0) -> None:
        """`batch` proposals at a time.

        Args:
            space: what is searched.
            batch: proposals at a time.
            spread: if above 0, numbers are normal about the middle of their box with this share of
                half its width as standard deviation, as in the first generation of CMA-ES.
        """
        self.name, self._batch, self.space, self._spread = "random", batch, space, spread

    @property
    def batch(self) -> int:
        """As it was made."""
        return self._batch

    def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """As many as asked for."""
        seen, found = set(trials.points), list[Proposal]()
        for row in self._sample(n, rng):
            point = self.space.unseen(self.space.point(row), seen, rng)
            seen.add(point)
            found.append(Proposal(point, self.name))
        return found

    def _sample(self, n: int, rng: np.random.Generator) -> Ints:
        uniform = self.space.sample(n, rng)
        if not self._spread:
            return uniform
        middle, radius = (
            (self.space.high + self.space.low) / 2,
            (self.space.high - self.space.low) / 2,
        )
        normal = rng.normal(middle, self._spread * radius, size=uniform.shape)
        return np.where(self.space.categorical, uniform, self.space.clip(np.rint(normal)))

    def tell(self, _trials: Sequence[Trial]) -> None:
        """Learns nothing."""

    def recommend(self, _trials: Trials) -> list[Point]:
        """No opinion beyond the trials."""
        return []

    def state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def load(self, _state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


class ARS:
    """Augmented random search (V1-t of arXiv 1803.07055, algorithm 1).

    Pairs of points on both sides of a centre; the centre moves along the differences of the best
    pairs' returns, in units of the returns' standard deviation. Its observation scaling (V2) is the
    task's. Choices are searched through one number for each option, of which the greatest is taken.
    """

    def __init__(
        self, space: Space, *, pairs: int = 8, top: int = 4, noise: float = 1.0, rate: float = 0.6
    ) -> None:
        """`noise` and `rate` (the step size) are in sixths of a box's greatest value."""
        self.name, self.space = "ars", space
        self._pairs, self._top = pairs, top
        self._relaxed = Relaxed(space)
        scale = self._relaxed.radius / 6.0
        self._noise, self._rate = noise * scale, rate * scale
        self._centre = self._relaxed.centre.copy()
        self._directions: Floats = np.zeros((0, len(self._centre)))
        self._waiting: list[tuple[Point, int]] = []
        self._scores: dict[int, float] = {}

    @property
    def batch(self) -> int:
        """All pairs."""
        return 2 * self._pairs

    def ask(self, n: int, _trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """The next of the 2 × `pairs` points."""
        if not self._waiting:
            self._directions = rng.standard_normal((self._pairs, len(self._centre)))
            self._scores = {}
            moves = np.concatenate((self._directions, -self._directions)) * self._noise
            points = [self._relaxed.point(self._centre + move) for move in moves]
            self._waiting = list(zip(points, range(2 * self._pairs), strict=True))
        return [Proposal(point, self.name) for point, _ in self._waiting[:n]]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Moves the centre once all pairs are known."""
        for trial in trials:
            slot = next((i for i, (p, _) in enumerate(self._waiting) if p == trial.point), None)
            if slot is not None:
                self._scores[self._waiting.pop(slot)[1]] = trial.mean
        if len(self._scores) == 2 * self._pairs:
            returns = np.array([self._scores[i] for i in range(2 * self._pairs)])
            self._move(*np.split(returns, 2))

    def _move(self, up: Floats, down: Floats) -> None:
        best = np.argsort(-np.maximum(up, down), kind="stable")[: self._top]
        spread = np.concatenate((up[best], down[best])).std()
        if spread > 0:
            step = (up[best] - down[best]) @ self._directions[best] / (self._top * spread)
            self._centre = self._relaxed.clip(self._centre + self._rate * step)
        self._scores = {}

    def recommend(self, _trials: Trials) -> list[Point]:
        """The centre."""
        return [self._relaxed.point(self._centre)]

    def state(self) -> dict[str, Any]:
        """Centre, directions and what is known of the pairs."""
        return {
            "centre": pack(self._centre),
            "directions": pack(self._directions),
            "waiting": [[list(point), slot] for point, slot in self._waiting],
            "scores": [[slot, score] for slot, score in self._scores.items()],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        self._centre, self._directions = unpack(state["centre"]), unpack(state["directions"])
        self._waiting = [(tuple(point), slot) for point, slot in state["waiting"]]
        self._scores = dict(state["scores"])


class Relaxed:
    """A space as a box of real numbers; a choice becomes one number in [−1, 1] for each option."""

    def __init__(self, space: Space) -> None:
        """Boxes keep their own units."""
        self.space = space
        self._widths = np.where(space.categorical, space.levels, 1)
        grid = np.repeat(np.arange(len(space)), self._widths)
        choice = space.categorical[grid]
        self.low: Floats = np.where(choice, -1.0, (space.low * space.step)[grid])
        self.high: Floats = np.where(choice, 1.0, (space.high * space.step)[grid])

    @property
    def centre(self) -> Floats:
        """[R] the middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Floats:
        """[R] half the width."""
        return (self.high - self.low) / 2

    def clip(self, values: Floats) -> Floats:
        """Back into the box."""
        return np.clip(values, self.low, self.high)

    def point(self, values: Floats) -> Point:
        """The nearest point of the space."""
        parts = np.split(values, np.cumsum(self._widths)[:-1])
        numbers = [
            p.argmax() if c else p[0] for p, c in zip(parts, self.space.categorical, strict=True)
        ]
        return self.space.point(self.space.grid(numbers))


def pack(array: Any) -> dict[str, Any]:
    """An array as JSON, to the bit."""
    array = np.asarray(array)
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": data}


def unpack(packed: Mapping[str, Any]) -> Any:
    """The array that `pack` took."""
    data = np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])
    return data.reshape(packed["shape"]).copy()
