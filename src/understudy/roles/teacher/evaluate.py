"""Held-out episodes: always the same ones, for the student and for the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy import ops
from understudy.roles.teacher.student import Student, Team
from understudy.rollout.steps import Advise, Played, features_on, play_episodes, sample
from understudy.rollout.world import Floats, Ints, Observation, World

HELD_OUT_SEED = 1_000_000_000
"""Held-out environments are seeded from here on; those of training lie below."""

Act = Callable[[Observation, Tensor], Ints]


@dataclass(frozen=True)
class Evaluation:
    """Whole held-out episodes."""

    played: Played
    agents: int = 1
    """Rows of one environment; its return is their mean."""

    @property
    def returns(self) -> Floats:
        """One per episode."""
        return self.played.returns.reshape(-1, self.agents).mean(1)

    @property
    def success(self) -> float:
        """Share of episodes with a return above 0."""
        return float((self.returns > 0).mean())

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    def metrics(self) -> dict[str, float]:
        """As flat numbers for the log, with 95 % intervals: Wilson's, and the bootstrap's."""
        n = len(self.returns)
        low, high = ops.wilson(int((self.returns > 0).sum()), n)
        rng = np.random.default_rng(0)
        least, most = ops.bootstrap_ci(
            self.played.returns.astype(float), lambda x: float(np.mean(x)), rng, n=500
        )
        return {
            "test/episodes": float(n),
            "test/success": self.success,
            "test/success_low": low,
            "test/success_high": high,
            "test/return": self.mean,
            "test/return_low": least,
            "test/return_high": most,
            "test/length": float(self.played.lengths.mean()),
        }


def evaluate(world: World, act: Act) -> Evaluation:
    """The first episode of every held-out environment."""
    return Evaluation(play_episodes(world, HELD_OUT_SEED, act), world.agents)


def student_acts(student: Student | Team, world: World, rng: np.random.Generator) -> Act:
    """The student's actions, sampled from its policy as they are in training."""
    hidden = student.start(world.rows)

    def act(observation: Observation, starts: Tensor) -> Ints:
        nonlocal hidden
        with torch.no_grad():
            seen = features_on(hidden.device, world, observation)
            outlook = student(seen, hidden, starts.to(hidden.device))
        hidden = outlook.hidden
        return sample(outlook.logits, rng)

    return act


def teacher_acts(advise: Advise, rng: np.random.Generator) -> Act:
    """The teacher's actions, sampled from its advice."""

    def act(observation: Observation, starts: Tensor) -> Ints:
        del starts
        advice = torch.from_numpy(advise(observation))
        return sample(advice.clamp(min=1e-30).log(), rng)

    return act
