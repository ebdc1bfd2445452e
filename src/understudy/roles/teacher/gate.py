"""The adaptive schedule: stop following the teacher where the student does better.

Before training the teacher plays some episodes; what it earned, discounted, from the scenes that
read alike is its value there, V_T(text). In training the distillation term counts only in states
where the student's own V(s) is below V_T. Once that is so nearly nowhere, the teacher is asked no
more, for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.roles.teacher.advice import Teacher
from understudy.roles.teacher.evaluate import teacher_acts
from understudy.rollout.steps import Advise, play_episodes
from understudy.rollout.world import Floats, Ints, Observation, World

CLOSED_BELOW = 0.05
"""The gate closes for good when the teacher is followed in a smaller share of a round's steps."""


def teacher_values(
    teacher: Teacher, world: World, seed: int, gamma: float, rng: np.random.Generator
) -> tuple[dict[str, float], int]:
    """What the teacher earns from each text on, and the environment steps that took to find out."""
    texts: list[list[str]] = []
    act = teacher_acts(teacher, rng)

    def noting(observation: Observation, starts: Tensor) -> Ints:
        actions = act(observation, starts)
        texts.append(teacher.latest)
        return actions

    played = play_episodes(world, seed, noting)
    earned: dict[str, list[float]] = defaultdict(list)
    for row, rewards in enumerate(played.rewards.T):
        to_go = 0.0
        for t in reversed(range(played.lengths[row])):
            to_go = float(rewards[t]) + gamma * to_go
            earned[texts[t][row]].append(to_go)
    return {text: float(np.mean(found)) for text, found in earned.items()}, int(
        played.lengths.sum()
    )


class Gate:
    """Where the teacher is followed."""

    def __init__(self, teacher: Teacher, values: Mapping[str, float]) -> None:
        """`values` are V_T by text; a text that is not among them is followed."""
        self.teacher, self.values = teacher, dict(values)
        self.closed = False
        self._worth: list[list[float]] = []

    def watch(self, advise: Advise) -> Advise:
        """The same advice, with a note of what the teacher is worth where it is given."""
        self._worth = []

        def watched(observation: Observation) -> Floats:
            advice = advise(observation)
            texts = self.teacher.latest
            self._worth.append([self.values.get(text, float("inf")) for text in texts])
            return advice

        return watched

    def mask(self, values: Tensor) -> Tensor:
        """1 where the student's values [T, R] are below the teacher's of the watched steps."""
        mask = (values < torch.tensor(self._worth)).float()
        self.closed = bool(mask.mean() < CLOSED_BELOW)
        return mask

    def get_state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"values": self.values, "closed": self.closed}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes back to `get_state`'s."""
        self.values, self.closed = dict(state["values"]), bool(state["closed"])
