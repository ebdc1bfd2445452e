"""The door-key tasks under Gymnasium's ids; importing this module registers them.

`gymnasium.make("understudy/SimpleDoorKey-v0")` is one room in MiniGrid's own classes, which can be
rendered; `gymnasium.make_vec` with the same id is the fast batch, with equal observations.
"""

from __future__ import annotations

import gymnasium as gym

from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.minigrid import MinigridMemory, need_minigrid

IDS = {f"understudy/{task}-v0": task for task in RULES}
"""Gymnasium's id → the task's name."""


def make_room(task: str, render_mode: str | None = None) -> MinigridMemory:
    """One room of a door-key task, seen as the map the agent remembers.

    Args:
        task: a name of `layouts.RULES`.
        render_mode: "rgb_array", "human" or None.

    Raises:
        EnvError: minigrid is not installed, or no such task.
    """
    need_minigrid(task)
    from understudy.envs.grid.doorkey_single import DoorKeyRoom

    return MinigridMemory(DoorKeyRoom(task, render_mode))


def register() -> None:
    """Tells Gymnasium of the four tasks; a second time changes nothing."""
    for name, task in IDS.items():
        if name not in gym.registry:
            gym.register(
                name,
                entry_point=f"{__name__}:make_room",
                vector_entry_point="understudy.envs.grid.doorkey:DoorKeyVector",
                kwargs={"task": task},
            )


register()
