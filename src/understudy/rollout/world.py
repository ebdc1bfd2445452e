"""Environments as rows of actors: what a student needs of them, whatever they are.

A world is a batch of environments with one or more agents each; every (environment, agent) is a
row. The learner sees rows only, so that one update serves a single agent in a grid and several in
a particle world.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from understudy.envs.grid.codes import ACTIONS
from understudy.envs.grid.egocentric import entries
from understudy.envs.mpe.vector import MpeVector

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Observation = Mapping[str, Any]
Features = dict[str, Tensor]
"""What a network reads; the first axis is rows."""

MISSION_BUCKETS = 128


@dataclass(frozen=True, slots=True)
class Turn:
    """What one step of all rows brought."""

    observation: Observation
    rewards: Floats
    """[R]"""
    terminated: Bools
    """[R]"""
    truncated: Bools
    """[R]"""
    final: Observation | None
    """The last observation of the episodes that ended; None where none did."""


class World(Protocol):
    """N environments as R rows."""

    rows: int
    agents: int
    """Rows of one environment; they lie side by side."""
    actions: int

    def reset(self, seed: int) -> Observation:
        """Starts every episode anew; environment i is seeded with `seed` + i."""
        ...

    def step(self, actions: Ints) -> Turn:
        """One action per row; ended episodes begin anew at once."""
        ...

    def features(self, observation: Observation) -> Features:
        """An observation as a network reads it."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything the future depends on, as arrays and JSON values."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to a state; returns the observation."""
        ...


class GridWorld:
    """A vector environment of remembered maps: door-key rooms, or any MiniGrid or BabyAI task."""

    def __init__(self, env: Any, *, missions_vary: bool = False, raw: bool = False) -> None:
        """`env` observes {image, mission}, as `DoorKeyVector` does, and restarts in the same step.

        Args:
            env: the environments.
            missions_vary: whether the mission is told to the student.
            raw: show the map itself instead of the egocentric entries.
        """
        self.raw = raw
        self.env = env
        self.rows, self.agents, self.actions = env.num_envs, 1, len(ACTIONS)
        self.missions_vary = missions_vary

    def reset(self, seed: int) -> Observation:
        """See `World`."""
        return self.env.reset(seed=seed)[0]

    def step(self, actions: Ints) -> Turn:
        """See `World`."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        return Turn(observation, rewards, terminated, truncated, infos.get("final_obs"))

    def features(self, observation: Observation) -> Features:
        """Entries [R, E], or image, the map itself, uint8 [R, W, H, 4]; and mission [R, 128].

        The mission is its words and pairs of words in hashed buckets.
        """
        if self.raw:
            made = {"image": torch.from_numpy(observation["image"])}
        else:
            made = {"entries": torch.from_numpy(entries(observation["image"]))}
        if self.missions_vary:
            made["mission"] = torch.from_numpy(np.stack([_bag(m) for m in observation["mission"]]))
        return made

    def get_state(self) -> dict[str, Any]:
        """See `World`."""
        return self.env.get_state()

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """See `World`."""
        return self.env.set_state(state)


class MpeWorld:
    """A batch of particle worlds: a row is (environment, agent), the agents of one side by side."""

    def __init__(self, env: MpeVector) -> None:
        """`env` restarts in the same step, as `MpeVector` does."""
        self.env = env
        self.agents = len(env.agents)
        self.rows = env.num_envs * self.agents
        self.actions = max(env.action_sizes.values())
        self.widest = max(env.observation_sizes.values())

    def reset(self, seed: int) -> Observation:
        """See `World`."""
        return self.env.reset(seed)

    def step(self, actions: Ints) -> Turn:
        """See `World`."""
        table = actions.reshape(-1, self.agents)
        observation, rewards, truncated, final = self.env.step(
            {agent: table[:, a] for a, agent in enumerate(self.env.agents)}
        )
        paid = np.stack([rewards[agent] for agent in self.env.agents], axis=1)
        terminated = self.env.terminated.repeat(self.agents)
        over = truncated.repeat(self.agents)
        return Turn(observation, paid.astype(np.float32).reshape(-1), terminated, over, final)

    def features(self, observation: Observation) -> Features:
        """Own [R, D]: what the agent sees, and which it is; all [R, S]: what all of them see.

        agent [R] is its number; illegal [R, A] the actions that it lacks.
        """
        env, n = self.env, self.env.num_envs
        own = np.zeros((n, self.agents, self.widest + self.agents), np.float32)
        illegal = np.zeros((n, self.agents, self.actions), bool)
        for a, agent in enumerate(env.agents):
            own[:, a, : env.observation_sizes[agent]] = observation[agent]
            own[:, a, self.widest + a] = 1.0
            illegal[:, a, env.action_sizes[agent] :] = True
        everything = np.concatenate([observation[agent] for agent in env.agents], axis=1)
        seen = np.repeat(everything[:, None], self.agents, axis=1)
        who = np.broadcast_to(np.eye(self.agents, dtype=np.float32), (n, self.agents, self.agents))
        together = np.concatenate([seen, who], axis=2).astype(np.float32)
        return {
            "own": torch.from_numpy(own.reshape(self.rows, -1)),
            "all": torch.from_numpy(together.reshape(self.rows, -1)),
            "agent": torch.arange(self.agents).repeat(n),
            "illegal": torch.from_numpy(illegal.reshape(self.rows, -1)),
        }

    def get_state(self) -> dict[str, Any]:
        """See `World`."""
        return self.env.get_state()

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """See `World`."""
        self.env.set_state(state)
        return self.env.observe()


@lru_cache(maxsize=4096)
def _bag(mission: str) -> npt.NDArray[np.uint8]:
    words = mission.lower().split()
    bag = np.zeros(MISSION_BUCKETS, np.uint8)
    for piece in (*words, *map(" ".join, itertools.pairwise(words))):
        bag[zlib.crc32(piece.encode()) % MISSION_BUCKETS] = 1
    return bag
