"""simple_spread: N agents cover N landmarks together and keep out of each other's way."""

from __future__ import annotations

import numpy as np

from understudy.envs.base import EnvError
from understudy.envs.mpe.world import (
    Bodies,
    Floats,
    Ints,
    Observations,
    World,
    lengths,
    relative,
)

AGENT_SIZE = 0.15
WORD_SIZE = 2
"""Length of the message slot of every other agent; agents are silent, so it holds zeros."""


class Spread:
    """mpe2's simple_spread_v3.

    Observation: own velocity 2, own position 2, landmarks 2 N, other agents 2 (N - 1), both relative,
    silence 2 (N - 1). Reward: minus the summed distance of every landmark to its nearest agent,
    weighted 1 - local_ratio, minus 1 per agent touched, weighted local_ratio.

    Args:
        N: number of agents and of landmarks.
        local_ratio: weight of an agent's own reward, 0 to 1.

    Raises:
        EnvError: an option out of range.
    """

    name = "simple_spread"

    def __init__(self, N: int = 3, local_ratio: float = 0.5) -> None:
        if N < 1:
            raise EnvError(f"simple_spread: N is {N}; it must be at least 1")
        if not 0 <= local_ratio <= 1:
            raise EnvError(f"simple_spread: local_ratio is {local_ratio}; it must lie in 0 … 1")
        self.count = N
        self.local_ratio = local_ratio
        self.agents: tuple[str, ...] = tuple(f"agent_{i}" for i in range(N))
        self.bodies = Bodies(
            size=np.array([AGENT_SIZE] * N + [0.05] * N),
            collides=np.arange(2 * N) < N,
            moving=slice(0, N),
            accel=np.full(N, 5.0),
            max_speed=np.full(N, np.inf),
        )

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Length of each agent's observation."""
        n = self.count
        return dict.fromkeys(self.agents, 4 + 2 * n + (2 + WORD_SIZE) * (n - 1))

    @property
    def action_sizes(self) -> dict[str, int]:
        """Number of each agent's actions."""
        return dict.fromkeys(self.agents, 5)

    def begin(self, world: World, row: int, rng: np.random.Generator) -> None:
        """Everything anywhere in the square of side 2, agents at rest."""
        world.positions[row] = rng.uniform(-1, 1, (2 * self.count, 2))
        world.velocities[row] = 0

    def act(self, world: World, actions: Ints) -> None:
        """One step; `actions` [N, agents]."""
        world.push(actions)

    def observe(self, world: World) -> Observations:
        """What each agent sees [N, D]."""
        n, worlds = self.count, len(world.positions)
        size = self.observation_sizes[self.agents[0]]
        seen = np.zeros((n, worlds, size), np.float32)
        seen[..., 0:2] = world.velocities[:, :n].transpose(1, 0, 2)
        seen[..., 2:4] = world.positions[:, :n].transpose(1, 0, 2)
        seen[..., 4 : 2 + 4 * n] = relative(world.positions, n).reshape(n, worlds, -1)
        return dict(zip(self.agents, seen, strict=True))

    def rewards(self, world: World) -> dict[str, Floats]:
        """What each agent earned in the last step [N]."""
        n = self.count
        agents, landmarks = world.positions[:, :n], world.positions[:, n:]
        far = lengths(agents[:, :, None] - landmarks[:, None])
        shared = -far.min(1).sum(1) * (1 - self.local_ratio)
        apart = lengths(agents[:, :, None] - agents[:, None])
        touching = (apart < 2 * AGENT_SIZE).sum(2) - 1  # each agent touches itself
        own = -self.local_ratio * touching
        return {agent: shared + own[:, i] for i, agent in enumerate(self.agents)}
