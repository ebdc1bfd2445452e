"""MiniGrid's memory room as the agent sees it at the moment: an object at the start, two at the end.

MiniGrid's "MemoryEnv" (Chevalier-Boisvert et al., 2023): a key or a ball lies in a small room; at the
far end of a corridor lie both, and the one like the first is to be walked to. The map that the grid
environments remember would take the memory out of it, so this shows MiniGrid's own view alone.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from understudy.envs.base import EnvError
from understudy.envs.grid.minigrid import make_game

KINDS = (0, 1, 2, 5, 6)
"""What MiniGrid's codes of objects stand for here: unseen, empty, wall, key, ball."""
SIZES = (7, 9, 11, 13, 17)


class MemoryRoom(gymnasium.Env[Any, Any]):
    """One level; what is seen is 49 kinds of cells ahead, what can be done is left, right and forward.

    An episode ends at either object: MiniGrid's reward (1 less 0.9 of the time used) at the right
    one, 0 at the wrong one. Without memory half of them are right.
    """

    def __init__(self, size: int = 7) -> None:
        """`size`: of the grid, one of `SIZES`.

        Raises:
            EnvError: no such size, or minigrid is not installed.
        """
        if size not in SIZES:
            raise EnvError(f"MemoryRoom: size must be one of {SIZES}, not {size}")
        random = "Random" if size > 11 else ""
        self.game = make_game(f"MiniGrid-MemoryS{size}{random}-v0")
        self.observation_space = spaces.MultiDiscrete([len(KINDS)] * 49)
        self.action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As gymnasium.Env's."""
        super().reset(seed=seed, options=options)
        seen, _ = self.game.reset(seed=int(self.np_random.integers(2**31)))
        return _kinds(seen), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As gymnasium.Env's; `info["success"]` at the end."""
        seen, reward, terminated, truncated, _ = self.game.step(int(action))
        info = {"success": float(reward) > 0} if terminated or truncated else {}
        return _kinds(seen), float(reward), terminated, truncated, info


def _kinds(seen: Any) -> Any:
    return np.searchsorted(KINDS, seen["image"][..., 0].ravel()).astype(np.int64)
