"""simple_tag: slow adversaries hunt fast agents among obstacles."""

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

ADVERSARY_SIZE, PREY_SIZE, OBSTACLE_SIZE = 0.075, 0.05, 0.2
CATCH = 10.0
"""What a touch gives every adversary and takes from the prey, each step."""


class Tag:
    """mpe2's simple_tag_v3.

    Observation: own velocity 2, own position 2, obstacles, other agents, relative, and the velocities
    of the other good agents. Reward: +10 to every adversary for each touch of a good agent by an
    adversary, -10 to the touched one, which also pays for leaving the square of side 2.

    Args:
        num_good: agents that flee.
        num_adversaries: agents that hunt.
        num_obstacles: round obstacles that nobody passes.

    Raises:
        EnvError: an option out of range.
    """

    name = "simple_tag"

    def __init__(self, num_good: int = 1, num_adversaries: int = 3, num_obstacles: int = 2) -> None:
        for option, value, least in (
            ("num_good", num_good, 1),
            ("num_adversaries", num_adversaries, 1),
            ("num_obstacles", num_obstacles, 0),
        ):
            if value < least:
                raise EnvError(f"simple_tag: {option} is {value}; it must be at least {least}")
        good, bad, walls = num_good, num_adversaries, num_obstacles
        self.good, self.bad, self.obstacles = good, bad, walls
        self.adversaries = tuple(f"adversary_{i}" for i in range(bad))
        self.prey = tuple(f"agent_{i}" for i in range(good))
        self.agents = self.adversaries + self.prey
        self.bodies = Bodies(
            size=np.array([ADVERSARY_SIZE] * bad + [PREY_SIZE] * good + [OBSTACLE_SIZE] * walls),
            collides=np.ones(bad + good + walls, bool),
            moving=slice(0, bad + good),
            accel=np.array([3.0] * bad + [4.0] * good),
            max_speed=np.array([1.0] * bad + [1.3] * good),
        )

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Length of each agent's observation."""
        shared = 4 + 2 * self.obstacles + 2 * (self.bad + self.good - 1)
        hunter, prey = shared + 2 * self.good, shared + 2 * (self.good - 1)
        return dict.fromkeys(self.adversaries, hunter) | dict.fromkeys(self.prey, prey)

    @property
    def action_sizes(self) -> dict[str, int]:
        """Number of each agent's actions."""
        return dict.fromkeys(self.agents, 5)

    def begin(self, world: World, row: int, rng: np.random.Generator) -> None:
        """Agents anywhere in the square of side 2, obstacles in that of side 1.8."""
        half = np.ones((len(self.bodies.size), 1))
        half[len(self.agents) :] = 0.9
        world.positions[row] = -half + 2 * half * rng.random((len(half), 2))
        world.velocities[row] = 0

    def act(self, world: World, actions: Ints) -> None:
        """One step; `actions` [N, agents]."""
        world.push(actions)

    def observe(self, world: World) -> Observations:
        """What each agent sees [N, D]."""
        count, worlds = len(self.agents), len(world.positions)
        around = relative(world.positions, count).reshape(count, worlds, -1)
        moved = world.velocities.transpose(1, 0, 2)
        seen: Observations = {}
        for i, agent in enumerate(self.agents):
            fleeing = [g for g in range(self.bad, count) if g != i]
            parts = [moved[i], world.positions[:, i], around[i], *moved[fleeing]]
            seen[agent] = np.concatenate(parts, 1, dtype=np.float32)
        return seen

    def rewards(self, world: World) -> dict[str, Floats]:
        """What each agent earned in the last step [N]."""
        hunters = world.positions[:, : self.bad]
        prey = world.positions[:, self.bad : self.bad + self.good]
        apart = lengths(prey[:, :, None] - hunters[:, None])
        touches = (apart < ADVERSARY_SIZE + PREY_SIZE).sum(2)
        caught = CATCH * touches
        lost = caught + outside(np.abs(prey)).sum(2)
        hunt = caught.sum(1)
        return {a: hunt.copy() for a in self.adversaries} | {
            a: -lost[:, i] for i, a in enumerate(self.prey)
        }


def outside(x: Floats) -> Floats:
    """The price of being `x` from the middle along one axis: 0 to 0.9, then a slope, then e^(2x - 2) ≤ 10."""
    beyond = np.minimum(np.exp(np.minimum(2 * x - 2, 3)), 10)
    return np.where(x < 0.9, 0, np.where(x < 1, (x - 0.9) * 10, beyond))
