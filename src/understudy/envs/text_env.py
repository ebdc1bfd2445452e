"""A task as a Gymnasium environment whose observations and actions are text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym

from understudy.envs import calculator
from understudy.envs.base import EnvError, Grade, Problem, Task

MAX_LENGTH = 1 << 16

Shaping = Callable[[Problem, str, Grade], float]


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
        step_penalty: taken off the reward of every step.
        shaping: added to the last reward, from the problem, the response and its grade.

    Raises:
        EnvError: there is no such mode, or fewer than one step.
    """

    def __init__(
        self,
        task: Task,
        *,
        mode: Literal["whole", "stepwise"] = "whole",
        calculator: bool = True,
        max_steps: int = 12,
        unreadable: float = 0.0,
        step_penalty: float = 0.0,
        shaping: Shaping | None = None,
    ) -> None:
        if mode not in ("whole", "stepwise"):
            raise EnvError(f"mode must be 'whole' or 'stepwise', not {mode!r}")
        if max_steps < 1:
            raise EnvError(f"max_steps must be at least 1, not {max_steps}")
        self.task, self.name = task, task.name
        self.stepwise, self.max_steps = mode == "stepwise", max_steps
        self.calculator, self.unreadable, self.shaping = calculator, unreadable, shaping
        self.step_penalty = step_penalty
        self.observation_space, self.action_space = AnyText(), AnyText()
        self._problem: Problem | None = None
        self._written = ""
        self._lines = 0
        self._over = True

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
        self._written, self._lines, self._over = "", 0, False
        about = {
            "problem_id": self._problem.id,
            "question": self._problem.question,
            "level": self._problem.level,
        }
        return self._problem.question, about

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Adds an action to the answer; grades it when the episode ends."""
        if self._problem is None or self._over:
            when = "before reset" if self._problem is None else "after the episode's end"
            raise EnvError(f"{self.name}: step {when}; call reset first")
        self._written = (self._written + action)[-MAX_LENGTH:]
        self._lines += 1
        grade = self.task.grade(self._problem, self._written)
        terminated = not self.stepwise or not action.endswith("\n") or grade.value is not None
        truncated = not terminated and self._lines >= self.max_steps
        observation = f"{self._problem.question}\n{self._written}"[-MAX_LENGTH:]
        reward = -self.step_penalty
        if not (terminated or truncated):
            return observation, reward, False, False, {}
        self._over = True
        if grade.correct is None:
            reward += self.unreadable
        else:
            reward += float(grade.correct) if grade.score is None else grade.score
        if self.shaping is not None:
            reward += self.shaping(self._problem, self._written, grade)
        about = {"correct": grade.correct, "value": grade.value, "reason": grade.reason}
        return observation, reward, terminated, truncated, about

    def interject(self, text: str) -> str:
        """What the environment writes after an unfinished action: a calculator's result, or nothing."""
        return calculator.interject(text) if self.calculator else ""


class TextVectorEnv:
    """Several text environments stepped together; rows whose episode is over wait for the next reset.

    Gymnasium's vector interface with automatic resets off, reduced to what text needs: lists of
    strings, and None as the action of a row that is over.
    """

    def __init__(self, envs: Sequence[TextEnv]) -> None:
        if not envs:
            raise EnvError("a vector environment needs at least one environment")
        self.envs, self.num_envs = tuple(envs), len(envs)
        self._observations = [""] * self.num_envs
        self._ends = [(True, False)] * self.num_envs

    def reset(self, indices: Sequence[int]) -> tuple[list[str], list[dict[str, Any]]]:
        """Starts row i on problem `indices[i]`."""
        self._check("indices", indices)
        begun = [env.reset(options={"index": i}) for env, i in zip(self.envs, indices, strict=True)]
        self._observations = [observation for observation, _ in begun]
        self._ends = [(False, False)] * self.num_envs
        return list(self._observations), [info for _, info in begun]

    def step(
        self, actions: Sequence[str | None]
    ) -> tuple[list[str], list[float], list[bool], list[bool], list[dict[str, Any]]]:
        """Steps every row that is under way; the others keep their observation and earn 0.

        Raises:
            EnvError: an action for a row that is over, or none for one that is under way.
        """
        self._check("actions", actions)
        for row, action in enumerate(actions):
            if any(self._ends[row]) != (action is None):
                state = "over" if action is not None else "under way"
                raise EnvError(
                    f"row {row} is {state}; its action must {'be' if action is not None else 'not be'} None"
                )
        rewards = [0.0] * self.num_envs
        infos: list[dict[str, Any]] = [{} for _ in self.envs]
        for row, action in enumerate(actions):
            if action is not None:
                stepped = self.envs[row].step(action)
                self._observations[row], rewards[row], *_, infos[row] = stepped
                self._ends[row] = stepped[2], stepped[3]
        terminated, truncated = ([end[k] for end in self._ends] for k in (0, 1))
        return list(self._observations), rewards, terminated, truncated, infos

    def _check(self, what: str, given: Sequence[object]) -> None:
        if len(given) != self.num_envs:
            raise EnvError(f"{self.num_envs} rows need as many {what}, not {len(given)}")
