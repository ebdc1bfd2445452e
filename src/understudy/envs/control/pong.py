"""Pong for one player against a wall, small enough for a linear policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Env, spaces
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BALLS = 3
SPEED = 0.04
"""Of the ball along the field, in fields a step."""
PADDLE_SPEED = 0.03
REACH = 0.08
"""Half the paddle's length."""


class Pong(Env[Any, Any]):
    """The ball comes from the far wall, and the paddle has to meet it.

    An observation is (ball x, ball y, ball's x speed, ball's y speed, paddle y): positions are in
    [0, 1], the paddle stands at x = 0, speeds are multiples of 0.04 a step. The ball bounces off
    the upper and lower edge, and a returned ball off the far wall. Actions: 0 stays, 1 moves the
    paddle up (y grows), 2 down. A ball that is returned earns 1, one that is missed costs 1; after
    three of either the episode is over, so the best return is 3. The paddle is a little faster than
    the ball ever is up or down: one that follows it all the time returns every ball.
    """

    def __init__(self) -> None:
        """Every episode has its own serves."""
        low = np.array([0.0, 0.0, -1.0, -1.0, 0.0], np.float32)
        self.observation_space = spaces.Box(low, np.ones(5, np.float32))
        self.action_space = spaces.Discrete(3)
        self._ball = np.zeros(4)
        self._paddle, self._played = 0.5, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Serves the first ball."""
        super().reset(seed=seed, options=options)
        self._paddle, self._played = 0.5, 0
        self._serve()
        return self._observe(), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Moves the paddle, then the ball."""
        move = (0.0, PADDLE_SPEED, -PADDLE_SPEED)[int(action)]
        self._paddle = float(np.clip(self._paddle + move, 0.0, 1.0))
        x, y, across, up = self._ball
        x, y = x + SPEED * across, y + SPEED * up
        if not 0.0 <= y <= 1.0:
            y, up = (-y if y < 0.0 else 2.0 - y), -up
        if x >= 1.0:
            x, across = 2.0 - x, -across
        self._ball = np.array([x, y, across, up])
        if x > 0.0:
            return self._observe(), 0.0, False, False, {}
        self._played += 1
        returned = abs(y - self._paddle) <= REACH
        if returned:
            self._ball = np.array([-x, y, -across, up])
        else:
            self._serve()
        reward = 1.0 if returned else -1.0
        return self._observe(), reward, self._played == BALLS, False, {}

    def _serve(self) -> None:
        height, up = self.np_random.uniform((0.1, -0.7), (0.9, 0.7))
        self._ball = np.array([1.0, height, -1.0, up])

    def _observe(self) -> Floats:
        return np.array([*self._ball, self._paddle], np.float32)
