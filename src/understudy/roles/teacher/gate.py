"""The adaptive schedule: stop following the teacher where the student does better.

In its trial before training (`trial.py`) the teacher earned something, discounted, from the scenes
that read alike: its value there, V_T(text). In training the distillation term counts only in states
where the student's own V(s) is below V_T. Once that is so nearly nowhere, the teacher is asked no
more, for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from understudy.roles.teacher.advice import Teacher
from understudy.rollout.steps import Advise
from understudy.rollout.world import Floats, Observation

CLOSED_BELOW = 0.05
"""The gate closes for good when the teacher is followed in a smaller share of a round's steps."""
GRACE = 5
"""Rounds in which it stays open, as the student's values are not yet worth anything."""


class Gate:
    """Where the teacher is followed."""

    def __init__(self, teacher: Teacher, values: Mapping[str, float]) -> None:
        """`values` are V_T by text; a text that is not among them is followed."""
        self.teacher, self.values = teacher, dict(values)
        self.closed = False
        self.rounds = 0
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
        mask = (values < torch.tensor(self._worth, device=values.device)).float()
        self.rounds += 1
        self.closed = self.rounds > GRACE and bool(mask.mean() < CLOSED_BELOW)
        return mask

    def get_state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"values": self.values, "closed": self.closed, "rounds": self.rounds}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes back to `get_state`'s."""
        self.values, self.closed = dict(state["values"]), bool(state["closed"])
        self.rounds = int(state["rounds"])
