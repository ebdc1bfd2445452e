"""A T-maze: what is said at the start decides which way is right at the end.

After Bakker (2001), "Reinforcement learning with long short-term memory", section 4.1: a corridor
whose cells look alike, and a junction. The cue is a vector seen in the first cell alone, or a sentence
of which one word is heard per step, whatever the agent does meanwhile.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from understudy.envs.base import EnvError

FORWARD, LEFT, RIGHT = range(3)
PRIZE, COST = 4.0, 0.1
SILENCE = "<silence>"
SENTENCES = {
    LEFT: (
        "the prize is on the left",
        "at the end turn left",
        "go left",
        "do not turn right",
        "right is wrong",
    ),
    RIGHT: (
        "the prize is on the right",
        "at the end turn right",
        "go right",
        "do not turn left",
        "left is wrong",
    ),
}
"""Both words for a side occur on both sides: the last word alone does not tell."""
VOCABULARY = (
    SILENCE,
    *sorted({word for side in SENTENCES.values() for line in side for word in line.split()}),
)
"""The words by number; 0 is silence."""


class TMaze(gymnasium.Env[Any, Any]):
    """Walk `length` cells forward, then turn to the side that the cue named.

    Actions: forward, left, right. Before the junction a turn, and at it a step forward, is a bump into a
    wall that costs 0.1. The first turn at the junction ends the episode: 4 if it is right, -0.1 if it is
    wrong. Without memory the best is a mean of 1.95, half of the episodes.
    """

    def __init__(self, length: int = 10, cue: Literal["vector", "sentence"] = "vector") -> None:
        """`length`: steps to the junction.

        Raises:
            EnvError: the longest sentence would not be over at the junction, or no such cue.
        """
        if cue not in ("vector", "sentence"):
            raise EnvError(f"TMaze: cue must be 'vector' or 'sentence', not {cue!r}")
        longest = max(len(line.split()) for side in SENTENCES.values() for line in side)
        least = 1 if cue == "vector" else longest
        if length < least:
            raise EnvError(f"TMaze: length must be at least {least} with a {cue} cue, not {length}")
        self.length, self.cue = length, cue
        self.action_space = spaces.Discrete(3)
        view = spaces.Box(0.0, 1.0, (2 if cue == "sentence" else 4,), np.float32)
        self.observation_space = (
            spaces.Dict({"view": view, "token": spaces.Discrete(len(VOCABULARY))})
            if cue == "sentence"
            else view
        )
        self.place, self.time, self.side = 0, 0, LEFT
        self.words: tuple[str, ...] = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As gymnasium.Env's."""
        super().reset(seed=seed, options=options)
        self.place, self.time = 0, 0
        self.side = LEFT if self.np_random.random() < 0.5 else RIGHT
        lines = SENTENCES[self.side]
        self.words = tuple(lines[int(self.np_random.integers(len(lines)))].split())
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As gymnasium.Env's; `info["success"]` is false as long as the right turn is not taken."""
        self.time += 1
        turned = int(action) != FORWARD
        junction = self.place == self.length
        if junction and turned:
            right = int(action) == self.side
            return self._see(), PRIZE if right else -COST, True, False, {"success": right}
        if junction or turned:
            return self._see(), -COST, False, False, {"success": False}
        self.place += 1
        return self._see(), 0.0, False, False, {"success": False}

    def _see(self) -> Any:
        junction = self.place == self.length
        if self.cue == "sentence":
            spoken = self.words[self.time] if self.time < len(self.words) else SILENCE
            view = np.array([not junction, junction], np.float32)
            return {"view": view, "token": np.int64(VOCABULARY.index(spoken))}
        told = self.place == 0 and self.time == 0
        left, right = told and self.side == LEFT, told and self.side == RIGHT
        return np.array([left, right, not junction, junction], np.float32)
