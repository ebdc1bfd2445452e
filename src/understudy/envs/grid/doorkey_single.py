"""The door-key tasks in MiniGrid's own classes: one room, rendered, the reference for the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door, Key, Lava, Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv

from understudy.envs.grid.codes import COLOURS, DOOR, EMPTY, KEY, LAVA, LOCKED, WALL
from understudy.envs.grid.doorkey import MAX_STEPS
from understudy.envs.grid.layouts import DRAWS, lay_out, rules_of


class DoorKeyRoom(MiniGridEnv):
    """One room of a door-key task, with MiniGrid's observation (a 3 × 3 view) and rendering."""

    def __init__(self, task: str = "SimpleDoorKey", render_mode: str | None = None) -> None:
        """`task` is a name of `layouts.RULES`.

        Raises:
            EnvError: there is no such task.
        """
        self.rules = rules_of(task)
        super().__init__(
            mission_space=MissionSpace(lambda: self.rules.mission),
            grid_size=self.rules.size,
            max_steps=MAX_STEPS,
            agent_view_size=3,
            render_mode=render_mode,
        )

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Opening a door is the end and the reward."""
        observation, reward, terminated, truncated, info = super().step(action)
        if action == self.actions.toggle:
            faced = self.grid.get(*self.front_pos)
            if isinstance(faced, Door) and faced.is_open:
                terminated, reward = True, self._reward()
        return observation, float(reward), terminated, truncated, info

    def _gen_grid(self, width: int, height: int) -> None:
        cells, position, direction = lay_out(self.rules, self.np_random.random((1, DRAWS)))
        self.grid = Grid(width, height)
        for (x, y), cell in np.ndenumerate(cells[0]):
            self.grid.set(x, y, _object(int(cell)))
        self.agent_pos = (int(position[0, 0]), int(position[0, 1]))
        self.agent_dir = int(direction[0])
        self.mission = self.rules.mission


def _object(cell: int) -> WorldObj | None:
    kind, colour, state = cell & 0xFF, COLOURS[cell >> 8 & 0xFF], cell >> 16 & 0xFF
    made: dict[int, Any] = {
        EMPTY: lambda: None,
        WALL: Wall,
        LAVA: Lava,
        KEY: lambda: Key(colour),
        DOOR: lambda: Door(colour, is_locked=state == LOCKED),
    }
    return made[kind]()
