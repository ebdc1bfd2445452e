"""Control tasks at random, many at once: what a model is trained on that is to search in others.

Masses on springs, pendulums upright and hanging, valleys and slopes, pushed by a linear policy with
one or several outputs. Tasks of one batch have the same size and kind of reward and differ in all
else: forces, couplings, signs and scales of what is observed, noise, where episodes begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.search.space import Ints, Space, box

Floats = NDArray[np.float64]
LIMIT, STEP = 6.0, 0.1
"""Of the policies' weights."""
STEPS = 60
"""Longest episode."""
EPISODES = 2
FAR = 20.0
"""States are cut to ± this: what runs away stays away."""
KINDS = ("survive", "rest", "reach", "reach cheaply", "run")
"""What is rewarded: staying up, lying still, arriving soon, arriving with little effort, speed."""


@dataclass(frozen=True)
class Shape:
    """What all tasks of a batch have in common."""

    joints: int
    """Places, each with a velocity: 2 × joints observations."""
    angles: bool
    """The first place is observed by cosine and sine."""
    outputs: int
    """Scores of the policy."""
    discrete: bool
    """Scores choose one of outputs + 1 actions; else they are forces, cut to ± 1."""
    kind: str

    @property
    def inputs(self) -> int:
        """Observations."""
        return 2 * self.joints + self.angles

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shape:
        """Two to eighteen parameters, few more often than many."""
        joints = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.15, 0.1]))
        most = 2 if joints < 4 else 1
        return cls(
            joints=joints,
            angles=bool(rng.random() < 0.3),
            outputs=int(rng.integers(1, most, endpoint=True)),
            discrete=bool(rng.random() < 0.5),
            kind=str(rng.choice(KINDS, p=[0.3, 0.25, 0.15, 0.15, 0.15])),
        )


class RandomControl:
    """N tasks of one shape, fixed by a seed."""

    def __init__(self, shape: Shape, count: int, seed: int) -> None:
        """`count` tasks."""
        self.shape, self.count = shape, count
        rng = np.random.default_rng([seed, 20])
        n, j, inputs = count, shape.joints, shape.inputs
        names = [
            f"observation {i} to action {k}" for i in range(inputs) for k in range(shape.outputs)
        ]
        bias = [f"bias of action {k}" for k in range(shape.outputs)]
        self.space: Space = box(names + bias, -LIMIT, LIMIT, STEP)
        self._dt = rng.uniform(0.05, 0.2, (n, 1, 1))
        # Pushed away from zero, free, or pulled back; out of a valley mere force does not lead.
        valley = shape.kind.startswith("reach")
        ways = rng.choice([-1.0, 0.0, 1.0], (n, 1, j), p=[0.1, 0.1, 0.8] if valley else None)
        self._pull = ways * rng.uniform(0.5, 4.0, (n, 1, j))
        self._bend = rng.uniform(0.3, 2.0, (n, 1, j))
        self._coupling = rng.normal(0.0, 0.7, (n, j, j)) * (rng.random((n, j, j)) < 0.5)
        self._damping = rng.uniform(0.0, 0.6, (n, 1, j))
        power = rng.uniform(0.2, 1.5, (n, 1, 1)) if valley else rng.uniform(0.7, 5.0, (n, 1, 1))
        self._push = rng.normal(0.0, 1.0, (n, shape.outputs, j)) * power
        self._noise = rng.choice([0.0, 0.02, 0.1], (n, 1, 1))
        self._start = rng.normal(0.0, rng.choice([0.05, 0.5, 1.0], (n, 1, 1)), (n, EPISODES, 2 * j))
        self._begin = rng.normal(0.0, 0.5, (n, 1, 2 * j)) * (shape.kind != "survive")
        self._seen = rng.permuted(np.tile(np.arange(inputs), (n, 1)), axis=1)
        scale = rng.choice([-1.0, 1.0], (n, 1, inputs)) * 2.0 ** rng.uniform(
            -1.5, 1.5, (n, 1, inputs)
        )
        self._scale = np.where(rng.random((n, 1, 1)) < 0.6, np.abs(scale), scale)
        self._bound = rng.uniform(0.2, 1.5, (n, 1))
        self._goal = rng.choice([-1.0, 1.0], (n, 1)) * rng.uniform(0.7, 2.5, (n, 1))
        self._effort = rng.choice([0.01, 0.1], (n, 1))
        self._draws = rng.normal(size=(STEPS, n, EPISODES, j))

    def score(self, points: Any) -> Floats:
        """Mean returns [N, P] of points [N, P, D]; the same episodes for all points of a task."""
        policies = np.asarray(points).shape[1]
        weights = self.space.values(points).repeat(EPISODES, axis=1)
        split = self.shape.inputs * self.shape.outputs
        matrix = weights[..., :split].reshape(*weights.shape[:2], self.shape.inputs, -1)
        rows = np.tile(np.arange(EPISODES), policies)
        state = (self._start + self._begin)[:, rows]
        total, live = np.zeros(state.shape[:2]), np.ones(state.shape[:2], bool)
        for t in range(STEPS):
            force = self._force(state, matrix, weights[..., split:])
            state = self._step(state, force, self._draws[t][:, rows])
            reward, over = self._reward(state, force)
            total += np.where(live, reward, 0.0)
            live &= ~over
            if not live.any():
                break
        return total.reshape(self.count, policies, EPISODES).mean(axis=2)

    def experts(self, points: Ints) -> Ints:
        """Nobody knows better than a search."""
        return points[:, :0]

    def _force(self, state: Floats, matrix: Floats, bias: Floats) -> Floats:
        """[N, R, outputs] in [−1, 1]."""
        seen = state
        if self.shape.angles:
            first = state[..., :1]
            seen = np.concatenate((np.cos(first), np.sin(first), state[..., 1:]), axis=2)
        seen = np.take_along_axis(seen, self._seen[:, None], axis=2) * self._scale
        scores = bias
        for i in range(self.shape.inputs):
            scores = scores + seen[..., i, None] * matrix[..., i, :]
        if not self.shape.discrete:
            return np.clip(scores, -1.0, 1.0)
        if self.shape.outputs == 1:
            return np.where(scores > 0, 1.0, -1.0)
        # The greatest of the scores and of 0 decides; each action pushes one way, 0 not at all.
        best = scores.argmax(axis=2)[..., None]
        chosen = np.arange(self.shape.outputs) == best
        return np.where(chosen & (scores > 0), 1.0, 0.0) - 0.5

    def _step(self, state: Floats, force: Floats, noise: Floats) -> Floats:
        j = self.shape.joints
        place, speed = state[..., :j], state[..., j:]
        pull = -self._pull * np.sin(self._bend * place) + _times(np.tanh(place), self._coupling)
        change = pull - self._damping * speed + _times(force, self._push) + self._noise * noise
        speed = np.clip(speed + self._dt * change, -FAR, FAR)
        return np.concatenate((np.clip(place + self._dt * speed, -FAR, FAR), speed), axis=2)

    def _reward(self, state: Floats, force: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Of one step, and whether it was the last."""
        j, kind = self.shape.joints, self.shape.kind
        first, effort = state[..., 0], self._effort * np.square(force).sum(axis=2)
        if kind == "survive":
            return np.ones_like(first), np.abs(state[..., :j]).max(axis=2) > self._bound
        if kind == "rest":
            far = np.minimum(np.square(state[..., :j]).sum(axis=2), 25.0)
            return -far - effort, np.zeros(first.shape, bool)
        if kind == "run":
            return state[..., j] * np.sign(self._goal) - effort, np.zeros(first.shape, bool)
        there = first * np.sign(self._goal) > np.abs(self._goal)
        if kind == "reach":
            return np.where(there, 0.0, -1.0), there
        return np.where(there, 100.0, 0.0) - 10.0 * effort, there


def _times(rows: Floats, matrices: Floats) -> Floats:
    """[N, R, K] by [N, K, J], term by term: a matrix product's rounding depends on R."""
    terms = (rows[..., k, None] * matrices[:, None, k] for k in range(matrices.shape[1]))
    return sum(terms, np.zeros(()))
