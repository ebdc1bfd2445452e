"""A teacher's trial before training: is it any better than acting at random, and by how much?

A teacher that is not, whether hostile, broken or out of its depth, is worse than none: a student that
has once been taught to wait takes longer to learn than one that was taught nothing. Such a teacher
is sent away, and the run is PPO alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy import ops
from understudy.roles.teacher.advice import Teacher
from understudy.roles.teacher.evaluate import teacher_acts
from understudy.roles.teacher.student import ILLEGAL
from understudy.rollout.steps import play_episodes, sample
from understudy.rollout.world import Floats, Ints, Observation, World

COMPETITIVE = ("mpe/simple_tag",)
"""Where what one agent earns another loses, so that a good teacher of both need not earn more."""


@dataclass(frozen=True)
class Trial:
    """What a teacher earned, and what random actions earn on the same episodes."""

    values: dict[str, float]
    """Mean discounted return from each text on."""
    returns: Floats
    """One per episode and agent, [N, agents]."""
    random: Floats
    """[N, agents]"""
    steps: int
    """Environment steps the trial took; they are not among those of the training."""

    @property
    def passed(self) -> bool:
        """Whether some agent does better than by chance: its gain's 95 % interval is above 0."""
        rng = np.random.default_rng(0)
        gains = (self.returns - self.random).T
        return any(
            ops.bootstrap_ci(gain, lambda x: float(np.mean(x)), rng)[0] > 0 for gain in gains
        )

    def summary(self) -> dict[str, Any]:
        """For the report card."""
        return {
            "episodes": len(self.returns),
            "return": float(self.returns.mean()),
            "random": float(self.random.mean()),
            "steps": self.steps,
            "passed": self.passed,
        }


def try_out(
    teacher: Teacher, world: World, seed: int, gamma: float, rng: np.random.Generator
) -> Trial:
    """Plays one episode of every row of `world` by the teacher, and again at random."""
    texts: list[list[str]] = []
    act = teacher_acts(teacher, rng)

    def noting(observation: Observation, starts: Tensor) -> Ints:
        actions = act(observation, starts)
        texts.append(teacher.latest)
        return actions

    def anything(observation: Observation, starts: Tensor) -> Ints:
        del starts
        logits = torch.zeros(world.rows, world.actions)
        illegal = world.features(observation).get("illegal")
        return sample(logits if illegal is None else logits.masked_fill(illegal, ILLEGAL), rng)

    played = play_episodes(world, seed, noting)
    chance = play_episodes(world, seed, anything)
    earned: dict[str, list[float]] = defaultdict(list)
    for row, rewards in enumerate(played.rewards.T):
        to_go = 0.0
        for t in reversed(range(played.lengths[row])):
            to_go = float(rewards[t]) + gamma * to_go
            earned[texts[t][row]].append(to_go)
    return Trial(
        values={text: float(np.mean(found)) for text, found in earned.items()},
        returns=played.returns.reshape(-1, world.agents),
        random=chance.returns.reshape(-1, world.agents),
        steps=int(played.lengths.sum() + chance.lengths.sum()) // world.agents,
    )
