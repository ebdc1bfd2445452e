"""Nim: ten sticks, take one to three in turn, whoever takes the last one wins."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Env, spaces

Transitions = dict[int, dict[int, list[tuple[float, int, float, bool]]]]


class TabularEnv(Env[Any, Any]):
    """An environment that is its transition table, in the form of Gymnasium's toy-text ones.

    `P[state][action]` lists (probability, next state, reward, terminated). One random number is
    drawn for the first state and one for every step.
    """

    def __init__(self, table: Transitions, start: np.ndarray) -> None:
        """`start` is the distribution of the first state."""
        self.P = table
        self.initial_state_distrib = start
        self.observation_space = spaces.Discrete(len(table))
        self.action_space = spaces.Discrete(len(table[0]))
        self._state = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Draws the first state."""
        super().reset(seed=seed, options=options)
        self._state = _draw(self.initial_state_distrib, self.np_random)
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draws one of the table's outcomes."""
        outcomes = self.P[self._state][int(action)]
        chosen = _draw(np.array([outcome[0] for outcome in outcomes]), self.np_random)
        _, self._state, reward, terminated = outcomes[chosen]
        return self._state, reward, terminated, False, {}


def _draw(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    return int(np.argmax(np.cumsum(probabilities) > rng.random()))


class Nim(TabularEnv):
    """Against an opponent who takes a legal number of sticks at random.

    The state is how many sticks are left on our move, action a takes a + 1 of them. Taking the last
    stick earns 1; it earns −1 when the opponent takes it, or when we take more than there are.
    """

    def __init__(self, sticks: int = 10) -> None:
        """`sticks` ≥ 1 lie there at the start; ValueError otherwise."""
        if sticks < 1:
            raise ValueError(f"sticks: {sticks}; there must be at least 1")
        start = np.zeros(sticks + 1)
        start[sticks] = 1.0
        table = {s: {a: _outcomes(s, a + 1) for a in range(3)} for s in range(sticks + 1)}
        super().__init__(table, start)


def _outcomes(sticks: int, taken: int) -> list[tuple[float, int, float, bool]]:
    if taken > sticks:
        return [(1.0, 0, -1.0, True)]
    left = sticks - taken
    if left == 0:
        return [(1.0, 0, 1.0, True)]
    replies = range(1, min(3, left) + 1)
    return [(1 / len(replies), left - r, -1.0 if r == left else 0.0, r == left) for r in replies]
