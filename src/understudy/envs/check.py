"""Whether a task or an environment keeps its promises, for those who write their own."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from gymnasium.utils import env_checker

from understudy.envs.base import Demonstrates, EnvError, Grade, Problem, Task
from understudy.envs.text_env import TextEnv

SECONDS = 1.0
"""Processor time in which any response must be graded."""
HOSTILE = (
    "",
    "no number here",
    "#### ",
    "\\boxed{",
    "(" * 100_000,
    "{" * 65_536,
    "\n" * 65_536,
    "9" * 1_000_000,
    "#### 9**9**9",
    "#### __import__('os')",
    "#### 1/0",
    "\\boxed{9^{9^9}}",
    "\\frac{" * 10_000,
    "= 1 " * 20_000,
    "\x00\ud7ff\U0001f34e" * 1_000,
)
"""Responses to any problem that must be graded quickly and never as right."""


def check_task(task: Task, *, problems: int = 50, seed: int = 0) -> None:
    """Checks problems, worked answers and the grading of garbage.

    Args:
        task: what to check.
        problems: how many problems, drawn without order from the split.
        seed: of that draw, and of demonstrations.

    Raises:
        EnvError: a promise is not kept; which one, and on which problem.
    """
    if not len(task):
        raise EnvError(f"{task.name}: the {task.split} split is empty")
    rng = np.random.default_rng(seed)
    chosen = sorted({int(i) for i in rng.integers(len(task), size=problems)})
    drawn = [task.problem(index) for index in chosen]
    if len({p.id for p in drawn}) < len(drawn):
        raise EnvError(f"{task.name}: two problems have the same id")
    for index, problem in zip(chosen, drawn, strict=True):
        again = task.problem(index)
        if (again.id, again.question, again.answer) != (
            problem.id,
            problem.question,
            problem.answer,
        ):
            raise EnvError(f"{task.name}: problem {index} is another one the second time")
    _check_worked(task, drawn, rng)
    for response in HOSTILE:
        _check_garbage(task, drawn[0], response)


def check_env(env: TextEnv, *, steps: int = 1000, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Runs Gymnasium's checks, then plays `steps` steps of each seed twice and compares.

    Raises:
        EnvError: a promise is not kept; which one.
    """
    try:
        env_checker.check_env(env, skip_render_check=True)
    except (AssertionError, ValueError) as error:
        raise EnvError(f"{env.name}: {str(error).splitlines()[0]}") from error
    for seed in seeds:
        if _play(env, seed, steps) != _play(env, seed, steps):
            raise EnvError(f"{env.name}: two runs from seed {seed} differ")


def _check_worked(task: Task, problems: list[Problem], rng: np.random.Generator) -> None:
    """A worked answer may be unmarked, and so unreadable; none may be wrong, and some are read."""
    worked = [(p, p.solution) for p in problems if p.solution]
    if isinstance(task, Demonstrates):
        worked += [(p, task.demonstration(p, rng)) for p in problems]
    read = 0
    for problem, answer in worked:
        grade = task.grade(problem, answer)
        if grade.correct is False:
            raise EnvError(f"{task.name}: a worked answer to {problem.id} is graded wrong")
        read += grade.correct is True
    if worked and not read:
        raise EnvError(f"{task.name}: its grader can read none of {len(worked)} worked answers")


def _check_garbage(task: Task, problem: Problem, response: str) -> None:
    shown = repr(response[:20])
    begun = time.process_time()
    grade: Any = task.grade(problem, response)
    spent = time.process_time() - begun
    if not isinstance(grade, Grade):
        raise EnvError(f"{task.name}: grading {shown} gives {type(grade).__name__}, not a Grade")
    if grade.correct:
        raise EnvError(f"{task.name}: {shown} is graded right")
    if spent > SECONDS:
        raise EnvError(
            f"{task.name}: grading {len(response)} characters {shown} takes {spent:.1f} s"
        )


def _play(env: TextEnv, seed: int, steps: int) -> list[tuple[object, ...]]:
    """What happens in `steps` steps of drawn lines, checked as it happens."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    seen: list[tuple[object, ...]] = [(observation, info["problem_id"])]
    length = 0
    for _ in range(steps):
        action = f"so it is {rng.integers(100)}" + ("\n" if rng.random() < 0.8 else "")
        observation, reward, terminated, truncated, info = env.step(action)
        length += 1
        if observation not in env.observation_space:
            raise EnvError(f"{env.name}: an observation is not in the observation space")
        if not math.isfinite(reward):
            raise EnvError(f"{env.name}: the reward is {reward}")
        seen.append((observation, reward, terminated, truncated))
        if terminated or truncated:
            length = 0
            observation, info = env.reset()
            seen.append((observation, info["problem_id"]))
        elif not env.stepwise or length >= env.max_steps:
            raise EnvError(f"{env.name}: the episode goes on after {length} steps")
    return seen
