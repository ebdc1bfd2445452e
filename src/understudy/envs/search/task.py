"""The search's object: an environment, the policies that are searched in it, and how to score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from understudy.envs.control.vector import Act, Arena, Played, Seen
from understudy.envs.search.policies import Bound, Policy, Scale, Table
from understudy.envs.search.space import Point

Floats = NDArray[np.float64]
Move = tuple[int, int, int, float, bool, int]
"""State, index of the action, next state, reward, whether the episode ended, how often."""
LEAST_SPREAD = 1e-6
"""An observation that varies less is left unscaled."""


@dataclass
class Moments:
    """Count, sum and sum of squares of the observations seen."""

    count: int
    total: Floats
    squares: Floats

    @classmethod
    def none(cls, size: int) -> Moments:
        """Of nothing."""
        return cls(0, np.zeros(size), np.zeros(size))

    def watch(self, seen: Seen) -> None:
        """Adds one step's observations."""
        observations = seen.observations.astype(np.float64)
        self.count += len(observations)
        self.total = self.total + observations.sum(axis=0)
        self.squares = self.squares + np.square(observations).sum(axis=0)

    def scale(self) -> Scale:
        """Mean and standard deviation; what hardly varies is left unscaled."""
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.squares / self.count - np.square(mean), 0.0))
        return Scale(mean, np.where(std < LEAST_SPREAD, 1.0, std))

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"count": self.count, "total": self.total.tolist(), "squares": self.squares.tolist()}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Moments:
        """From `state`."""
        return cls(state["count"], np.array(state["total"]), np.array(state["squares"]))


class Task:
    """An environment and a policy class over it."""

    def __init__(self, arena: Arena, policy: Policy, running: Moments | None = None) -> None:
        """`policy` observes and acts in the arena's spaces.

        Args:
            arena: the environment.
            policy: the class that is searched.
            running: the moments that go on with every scored episode, where the scale does.
        """
        self.arena, self.policy, self.running = arena, policy, running
        self.space = policy.space
        self.tabular = (
            isinstance(policy, Table)
            and not (policy.binned or policy.values)
            and isinstance(arena.action_space, spaces.Discrete)
        )
        """Whether a point is an action per state of an environment that has states."""

    def score(
        self, points: Sequence[Point], seeds: Sequence[int]
    ) -> tuple[Played, list[tuple[Move, ...]]]:
        """Every point's episodes from the same seeds, and, of tabular policies, what they saw."""
        policies = self.policy.bind(np.array(points))
        if not self.tabular:
            watch = None if self.running is None else self.running.watch
            return self.arena.play(policies, seeds, watch), [() for _ in points]
        steps: list[Seen] = []
        played = self.arena.play(policies, seeds, steps.append)
        return played, _moves(steps, len(points))

    def rescale(self) -> None:
        """Between generations: lets the scale follow what was seen, if it is a running one."""
        if self.running is not None:
            self.policy.scale = self.running.scale()


def _moves(steps: list[Seen], policies: int) -> list[tuple[Move, ...]]:
    """How often each policy saw each transition."""
    columns = [np.concatenate(column) for column in zip(*steps, strict=True)]
    policy, state, action, reward, following, ended = columns
    rows = np.stack([policy, state, action, following, reward, ended], axis=1).astype(np.float64)
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    found: list[list[Move]] = [[] for _ in range(policies)]
    for (p, s, a, t, r, e), n in zip(distinct.tolist(), times.tolist(), strict=True):
        found[int(p)].append((int(s), int(a), int(t), r, bool(e), n))
    return [tuple(moves) for moves in found]


def measure(arena: Arena, seeds: Sequence[int], rng: np.random.Generator) -> Moments:
    """What uniformly random actions lead to, one episode a seed."""
    moments = Moments.none(int(np.prod(arena.observation_space.shape or ())))
    arena.play(_random_actions(arena.action_space, rng), seeds, moments.watch)
    return moments


def _random_actions(space: spaces.Space[Any], rng: np.random.Generator) -> Bound:
    """One policy that acts uniformly at random."""

    def act(observations: NDArray[Any]) -> NDArray[Any]:
        if isinstance(space, spaces.Discrete):
            return rng.integers(int(space.n), size=len(observations))
        assert isinstance(space, spaces.Box), "policies act in Discrete and Box spaces alone"
        low, high = np.maximum(space.low, -1e3), np.minimum(space.high, 1e3)
        return rng.uniform(low, high, size=(len(observations), *space.shape)).astype(np.float32)

    def select(_: NDArray[np.intp]) -> Act:
        return act

    return Bound(1, select)
