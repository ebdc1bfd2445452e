"""Worked examples to put before a problem, always from the training split."""

from __future__ import annotations

import numpy as np

from understudy.envs.base import Demonstrates, EnvError, Task


def few_shot(task: Task, count: int, rng: np.random.Generator) -> tuple[tuple[str, str], ...]:
    """`count` pairs (question, worked answer) of different problems of a training split.

    Raises:
        EnvError: not a training split, no worked answers, or fewer problems than asked for.
    """
    if task.split != "train":
        raise EnvError(
            f"task.shots: examples come from the training split, not {task.name}'s {task.split}"
        )
    if count > len(task):
        raise EnvError(
            f"task.shots: {task.name} has {len(task)} training problems, fewer than {count}"
        )
    indices = {int(rng.integers(len(task))): None}
    while len(indices) < count:
        indices.setdefault(int(rng.integers(len(task))))
    pairs: list[tuple[str, str]] = []
    for index in indices:
        problem = task.problem(index)
        worked = problem.solution
        if not worked and isinstance(task, Demonstrates):
            worked = task.demonstration(problem, rng)
        if not worked:
            raise EnvError(f"task.shots: {task.name} has no worked answers to show")
        pairs.append((problem.question, worked))
    return tuple(pairs)
