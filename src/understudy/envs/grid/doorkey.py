"""The door-key tasks as a batch: find the key, open the door, in a room seen through 3 × 3 cells.

SimpleDoorKey, LavaDoorKey, ColoredDoorKey and TwoDoor (Zhou et al., 2024, arXiv:2311.13373) with
MiniGrid's actions, view and rewards: opening a door ends the episode with 1 − 0.9·t/150, lava ends
it with nothing, 150 steps end it in any case. An observation is the map of what was seen so far in
the episode. `doorkey_single` is the same game in MiniGrid's own classes; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import (
    ACTIONS,
    DIRECTIONS,
    DOOR,
    DROP,
    EMPTY,
    FORWARD,
    KEY,
    LAVA,
    LEFT,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
    Image,
    as_image,
    pack,
)
from understudy.envs.grid.layouts import DRAWS, lay_out, rules_of
from understudy.envs.grid.vision import OFFSETS, VISIBLE

MAX_STEPS = 150
_EMPTY = pack(EMPTY)
_BITS = 1 << np.arange(9)
_NOTHING = np.uint32(0)

Observation = dict[str, Any]


def space_of(width: int, height: int) -> gym.spaces.Dict:
    """The space of a remembered map and a mission."""
    return gym.spaces.Dict(
        image=gym.spaces.Box(0, 255, (width, height, 4), np.uint8),
        mission=gym.spaces.Text(512, charset=f"{ascii_lowercase} "),
    )


class DoorKeyVector(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """N door-key rooms.

    An observation is {image: uint8 [N, W, H, 4], mission: N texts}. `image` holds MiniGrid's codes
    (type, colour, state) of every cell seen in this episode, 0 elsewhere; its last channel is 4 but
    for the agent's cell, where it is the direction, and which holds what the agent carries.

    An episode's end is followed by the next one's start in the same step; the last observation is
    then in infos["final_obs"], for the rows of infos["_final_obs"].
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, task: str, num_envs: int = 1) -> None:
        """`task` is a name of `layouts.RULES`.

        Raises:
            EnvError: there is no such task, or no room at all.
        """
        if num_envs < 1:
            raise EnvError(f"{task}: num_envs is at least 1, not {num_envs}")
        self.task, self.rules, self.num_envs = task, rules_of(task), num_envs
        size = self.rules.size
        self.single_observation_space = space_of(size, size)
        self.single_action_space = gym.spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs = [np.random.default_rng(i) for i in range(num_envs)]
        self._rows = np.arange(num_envs)
        self._cells = np.zeros((num_envs, size, size), np.uint32)
        self._map = np.zeros_like(self._cells)
        self._opaque = np.ones((num_envs, size + 4, size + 4), bool)
        self._position = np.zeros((num_envs, 2), int)
        self._direction = np.zeros(num_envs, int)
        self._carrying = np.full(num_envs, _NOTHING)
        self._steps = np.zeros(num_envs, int)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts every episode anew; environment i is seeded with `seed` + i."""
        del options
        if seed is not None:
            self._rngs = [np.random.default_rng(seed + i) for i in range(self.num_envs)]
        self._restart(self._rows)
        return self._observation(), {}

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[
        Observation,
        npt.NDArray[np.float32],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """One action each, int [N].

        Raises:
            EnvError: actions of another shape or kind, no such action, or no episode begun.
        """
        actions = self._checked(actions)
        self._steps += 1
        turn = (actions == RIGHT).astype(int) - (actions == LEFT)
        self._direction = (self._direction + turn) % 4
        front = self._position + DIRECTIONS[self._direction]
        fx, fy = front.T
        faced = self._cells[self._rows, fx, fy]
        kind = faced & 0xFF

        # The agent's old cell shows what lies there again; the new one is drawn by `_look`.
        at = (self._rows, *self._position.T)
        self._map[at] = self._cells[at]
        moved = (actions == FORWARD) & ((kind == EMPTY) | (kind == LAVA))
        self._position = np.where(moved[:, None], front, self._position)
        taken = (actions == PICKUP) & (kind == KEY) & (self._carrying == _NOTHING)
        put = (actions == DROP) & (kind == EMPTY) & (self._carrying != _NOTHING)
        self._cells[self._rows[taken], fx[taken], fy[taken]] = _EMPTY
        self._cells[self._rows[put], fx[put], fy[put]] = self._carrying[put]
        self._carrying = np.where(taken, faced, np.where(put, _NOTHING, self._carrying))

        fits = (self._carrying != _NOTHING) & ((self._carrying ^ faced) >> 8 & 0xFF == 0)
        opened = (actions == TOGGLE) & (kind == DOOR) & fits
        # An open door is state 0: one can see through it, in the episode's last look.
        self._cells[self._rows[opened], fx[opened], fy[opened]] &= np.uint32(0xFF00FFFF)
        self._opaque[self._rows[opened], fx[opened] + 2, fy[opened] + 2] = False
        self._look(self._rows)
        rewards = np.where(opened, 1 - 0.9 * self._steps / MAX_STEPS, 0.0).astype(np.float32)
        terminated = opened | (moved & (kind == LAVA))
        truncated = self._steps >= MAX_STEPS
        infos: dict[str, Any] = {}
        over = terminated | truncated
        if over.any():
            infos = {"final_obs": self._observation(), "_final_obs": over}
            self._restart(self._rows[over])
        return self._observation(), rewards, terminated, truncated, infos

    def get_state(self) -> dict[str, Any]:
        """Everything the future depends on: arrays, and the generators' states as JSON values."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in _STATE}
        return {**arrays, "rngs": [rng.bit_generator.state for rng in self._rngs]}

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to `get_state`'s; returns the observation.

        Raises:
            EnvError: the state is of rooms of another size or number.
        """
        shape = np.shape(state["cells"])
        if shape != self._cells.shape:
            raise EnvError(f"{self.task}: state of rooms {shape} for {self._cells.shape}")
        for name in _STATE:
            setattr(self, f"_{name}", np.array(state[name]))
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved
        return self._observation()

    def _checked(self, actions: Any) -> npt.NDArray[np.int64]:
        chosen = np.asarray(actions)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind not in "iu":
            raise EnvError(
                f"{self.task}: actions are {self.num_envs} integers, not {chosen.dtype} {chosen.shape}"
            )
        if chosen.min() < 0 or chosen.max() >= len(ACTIONS):
            wrong = chosen[(chosen < 0) | (chosen >= len(ACTIONS))][0]
            raise EnvError(f"{self.task}: actions are 0 to {len(ACTIONS) - 1}, not {wrong}")
        if not self._map[0].any():
            raise EnvError(f"{self.task}: step before reset")
        return chosen

    def _restart(self, rows: npt.NDArray[np.int64]) -> None:
        u = np.stack([self._rngs[row].random(DRAWS) for row in rows])
        cells, self._position[rows], self._direction[rows] = lay_out(self.rules, u)
        self._cells[rows] = cells
        kind = cells & 0xFF
        self._opaque[rows, 2:-2, 2:-2] = (kind == WALL) | (kind == DOOR)
        self._map[rows] = pack(0)
        self._carrying[rows] = _NOTHING
        self._steps[rows] = 0
        self._look(rows)

    def _look(self, rows: npt.NDArray[np.int64]) -> None:
        """Puts what is seen now on the map, and the agent with what it carries."""
        spots = self._position[rows, None] + OFFSETS[self._direction[rows]]
        x, y = spots[..., 0], spots[..., 1]
        opaque = self._opaque[rows[:, None], x + 2, y + 2]
        size = self.rules.size
        seen = VISIBLE[opaque @ _BITS] & (x >= 0) & (x < size) & (y >= 0) & (y < size)
        row, spot = np.nonzero(seen)
        place = rows[row], x[row, spot], y[row, spot]
        self._map[place] = self._cells[place]
        carried = self._carrying[rows]
        shown = np.where(carried == _NOTHING, _EMPTY, carried) & np.uint32(0x00FFFFFF)
        at = (rows, *self._position[rows].T)
        self._map[at] = shown | (self._direction[rows] << 24).astype(np.uint32)

    def _observation(self) -> Observation:
        image: Image = as_image(self._map.copy())
        return {"image": image, "mission": (self.rules.mission,) * self.num_envs}


_STATE = ("cells", "map", "opaque", "position", "direction", "carrying", "steps")
