"""Language environments: problems, graders, and the Gymnasium environment around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from understudy.types import UnderstudyError


class EnvError(UnderstudyError):
    """An environment that cannot be made or used as asked; the text is one clear line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One task instance."""

    id: str
    question: str
    answer: str
    """The right answer in canonical form."""
    solution: str = ""
    """A worked solution that ends in the answer, where the source has one."""
    level: int = 0
    """Difficulty; for procedural word problems the number of steps."""
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on a response: right, wrong, or not readable (which is not the same as wrong)."""

    correct: bool | None
    """None: no answer could be read."""
    value: str | None = None
    """The answer that was read, canonical."""
    reason: str = ""
    score: float | None = None
    """The reward, where it is more than right or wrong; None is 1 or 0."""


@runtime_checkable
class Task(Protocol):
    """A finite, indexable split of problems and the rule that grades a response."""

    name: str
    split: str

    def __len__(self) -> int: ...

    def problem(self, index: int) -> Problem:
        """Problem `index` (0 .. len-1) of this split; the same every time."""
        ...

    def grade(self, problem: Problem, response: str) -> Grade:
        """Grades a whole response, in bounded time, never evaluating it."""
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """A task that can write worked answers, for supervised warm starts and the pocket corpus."""

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """One worked answer, drawn from the task's mixture of styles."""
        ...
