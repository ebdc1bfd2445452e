"""Grid worlds at random, many at once, and the exact worth of every policy in them.

States are cells in rows, actions the four ways (left, down, right, up, or another order), and a
point is an action for each cell. Tasks of one batch have the same size and differ in holes, walls
and cliffs, goal and start, slipperiness, rewards and order of the actions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.control.vector import Table
from understudy.envs.search.space import Ints, Space, choices

Floats = NDArray[np.float64]
STEPS = 60
"""Longest episode."""
PATIENCE = 0.98
"""Discount by which the best policy is found."""
SIZES = ((2, 3), (3, 3), (3, 4), (4, 4), (4, 4), (4, 5), (5, 5), (4, 6), (6, 6), (4, 12))
"""Rows and columns."""
WAYS = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
"""Left, down, right, up."""


class RandomTables:
    """N grid worlds of one size, fixed by a seed."""

    def __init__(self, size: tuple[int, int], count: int, seed: int) -> None:
        """`size`: rows and columns."""
        rng = np.random.default_rng([seed, 21])
        self.count, self.states = count, size[0] * size[1]
        n, s = count, self.states
        self.space: Space = choices([f"action in {i}" for i in range(s)], len(WAYS))
        self._at = np.arange(n)[:, None, None]
        self.start, self.goal = _ends(size, n, rng)
        hole = (rng.random((n, s)) < rng.choice([0.0, 0.1, 0.25], (n, 1))).astype(bool)
        costly = rng.random(n) < 0.3
        """Each step costs 1 and holes throw back to the start, as cliffs do; else holes are the end."""
        hole[np.arange(n), self.goal] = hole[np.arange(n), self.start] = False
        order = np.where(
            rng.random((n, 1)) < 0.6,
            np.arange(4),
            rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1),
        )
        slip = rng.choice([0.0, 0.0, 0.1, 1 / 3], n)
        # Straight, and to both sides: [N, S, 4 actions, 3 outcomes].
        turned = (order[:, None, :, None] + np.array([0, 1, 3])) % 4
        landing = _landing(size)[np.arange(s)[None, :, None, None], turned]
        self._chance = np.stack([1.0 - 2 * slip, slip, slip], axis=1)
        into_hole = hole[np.arange(n)[:, None, None, None], landing]
        thrown = into_hole & costly[:, None, None, None]
        self._next = np.where(thrown, self.start[:, None, None, None], landing)
        there = landing == self.goal[:, None, None, None]
        cost = np.where(costly, -1.0, rng.choice([0.0, -0.01], n))[:, None, None, None]
        self._reward = np.where(
            costly[:, None, None, None],
            cost + thrown * -99.0 * (rng.random((n, 1, 1, 1)) < 0.5),
            cost + there,
        )
        self._over = there | (into_hole & ~thrown)

    def score(self, points: Any) -> Floats:
        """Expected returns [N, P] of points [N, P, S]: exact, without discount."""
        points = np.asarray(points)
        shape = (self.count, points.shape[1], self.states)
        value = np.zeros(shape)
        cell = np.arange(self.states)[None, None]
        chance = self._chance[:, None, None]
        following = self._next[self._at, cell, points]
        worth = (chance * self._reward[self._at, cell, points]).sum(axis=3)
        chance = chance * ~self._over[self._at, cell, points]
        flat = following + (np.arange(shape[0] * shape[1]) * shape[2]).reshape(*shape[:2], 1, 1)
        for _ in range(STEPS):
            value = worth + (chance * value.ravel()[flat]).sum(axis=3)
        return np.take_along_axis(value, self.start[:, None, None], axis=2)[..., 0]

    def values(self) -> Floats:
        """[N, S, A] what each action is worth if all goes best after it (Bellman 1957).

        Later rewards are worth a little less, or going in circles would be as good as arriving.
        """
        value = np.zeros((self.count, self.states))
        chance = self._chance[:, None, None]
        found = np.zeros((self.count, self.states, len(WAYS)))
        for _ in range(STEPS):
            ahead = np.where(self._over, 0.0, value[self._at[..., None], self._next])
            found = (chance * (self._reward + PATIENCE * ahead)).sum(axis=3)
            value = found.max(axis=2)
        return found

    def tables(self) -> list[Table]:
        """The worlds as transition tables."""
        start = np.eye(self.states)[self.start]
        shape = self._next.shape[1:]
        return [
            Table(np.broadcast_to(self._chance[i], shape), self._next[i],
                  self._reward[i], self._over[i], start[i], STEPS)
            for i in range(self.count)
        ]  # fmt: skip

    def experts(self, points: Ints) -> Ints:
        """[N, P, S] points with each action that is not a best one put right."""
        values = self.values()
        best = values.max(axis=2, keepdims=True)
        fine = np.take_along_axis(values >= best - 1e-9, points.transpose(0, 2, 1), axis=2)
        return np.where(fine.transpose(0, 2, 1), points, values.argmax(axis=2)[:, None])


def _ends(size: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Where episodes begin and where they should end: opposite corners more often than not."""
    last = size[0] * size[1] - 1
    corner = rng.random(count) < 0.7
    start = np.where(corner, 0, rng.integers(0, last, count))
    bottom = rng.random(count) < 0.3
    start = np.where(bottom, last - size[1] + 1, start)
    goal = np.where(corner | bottom, last, rng.integers(0, last, count))
    return start, np.where(goal == start, (start + last) % (last + 1), goal)


def _landing(size: tuple[int, int]) -> Ints:
    """[S, 4] where each way leads; at the edge nowhere."""
    cells = np.stack(np.unravel_index(np.arange(size[0] * size[1]), size), axis=1)
    moved = np.clip(cells[:, None] + WAYS, 0, np.array(size) - 1)
    return np.ravel_multi_index((moved[..., 0], moved[..., 1]), size).astype(np.int64)
