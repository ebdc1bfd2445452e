"""A task as a Gymnasium environment whose observations and actions are text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from understudy.envs import calculator
from understudy.envs.base import Grade, Problem, Task
from understudy.types import UnderstudyError

MAX_LENGTH = 1 << 16

Shaping = Callable[[Problem, str, Grade], float]


class EnvError(UnderstudyError):
    """An environment that cannot be made or used as asked; the text is one clear line."""


class AnyText(gym.spaces.Text):
    """Any unicode text of at most 65,536 characters; samples are short ASCII."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(
            max_length=MAX_LENGTH,
            min_length=0,
            charset="abcdefghijklmnopqrstuvwxyz 0123456789",
            seed=seed,
        )

    def contains(self, x: Any) -> bool:
        """Any string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A few letters; the masks of the parent class mean nothing here."""
        del mask, probability
        letters = self.np_random.choice(list("abcdefghij 0123456789"), size=12)
        return "".join(str(c) for c in letters)


class TextEnv(gym.Env[str, str]):
    """A problem to be answered in words: at once, or one line at a time.

    whole: the one action is the whole answer. stepwise: an action is one line, up to and with its line
    end; the state grows by it, verbatim. An action without a line end, or one that marks the answer,
    ends the episode; after `max_steps` lines it is truncated. The reward comes with the last step: 1
    for a right answer, 0 for a wrong one, `unreadable` where no answer can be read.

    Args:
        task: where problems come from and who grades.
        mode: "whole" or "stepwise".
        calculator: write results into `<<12*3=`, through `interject`.
        max_steps: lines after which a stepwise episode is truncated.
        unreadable: reward of an answer that cannot be read.
        shaping: added to the last reward, from the problem, the response and its grade.
    """

    def __init__(
        self,
        task: Task,
        *,
        mode: Literal["whole", "stepwise"] = "whole",
        calculator: bool = True,
        max_steps: int = 12,
        unreadable: float = 0.0,
        shaping: Shaping | None = None,
    ) -> None:
        self.task, self.name = task, task.name
        self.stepwise, self.max_steps = mode == "stepwise", max_steps
        self.calculator, self.unreadable, self.shaping = calculator, unreadable, shaping
        self.observation_space, self.action_space = AnyText(), AnyText()
        self._problem: Problem | None = None
        self._written = ""
        self._lines = 0

    @property
    def triggers(self) -> tuple[str, ...]:
        """Ends of a text at which the environment may have something to say or do."""
        return (
            *(calculator.TRIGGERS if self.calculator else ()),
            *(("\n",) if self.stepwise else ()),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Starts on problem `options["index"]`, or on one drawn from the environment's own noise."""
        super().reset(seed=seed)
        index = (options or {}).get("index")
        chosen = int(self.np_random.integers(len(self.task))) if index is None else int(index)
        if not 0 <= chosen < len(self.task):
            raise EnvError(
                f"{self.name}: no problem {chosen}; the {self.task.split} split has {len(self.task)}"
            )
        self._problem = self.task.problem(chosen)
        self._written, self._lines = "", 0
        about = {
            "problem_id": self._problem.id,
            "question": self._problem.question,
            "level": self._problem.level,
        }
        return self._problem.question, about

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Adds an action to the answer; grades it when the episode ends."""
        if self._problem is None:
            raise EnvError(f"{self.name}: step before reset")
        self._written = (self._written + action)[-MAX_LENGTH:]
        self._lines += 1
        grade = self.task.grade(self._problem, self._written)
        terminated = not self.stepwise or not action.endswith("\n") or grade.value is not None
        truncated = not terminated and self._lines >= self.max_steps
        observation = f"{self._problem.question}\n{self._written}"[-MAX_LENGTH:]
        if not (terminated or truncated):
            return observation, 0.0, False, False, {}
        reward = self.unreadable if grade.correct is None else float(grade.correct)
        if self.shaping is not None:
            reward += self.shaping(self._problem, self._written, grade)
        about = {"correct": grade.correct, "value": grade.value, "reason": grade.reason}
        return observation, float(np.float32(reward)), terminated, truncated, about

    def interject(self, text: str) -> str:
        """What the environment writes after an unfinished action: a calculator's result, or nothing."""
        return calculator.interject(text) if self.calculator else ""
