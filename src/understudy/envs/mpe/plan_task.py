"""Choosing a goal as a language environment: the state is what an agent sees, the action a goal.

A problem is a moment of an MPE episode, for one of its agents. From there the agent follows the
goal for some steps while the others follow the scripted expert's. The reward is what the agent
earns, on a scale from the worst of its goals (0) to the best (1).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.envs.base import Grade, Problem
from understudy.envs.diagnose import Diagnosis
from understudy.envs.mpe.skills import act, expert_goals
from understudy.envs.mpe.vector import TASKS, MpeVector
from understudy.envs.mpe.words import describe, goals
from understudy.envs.mpe.world import Task

PROBLEMS = {"train": 8192, "test": 512}
FIRST_SEED = {"train": 10_000_000, "test": 20_000_000}
BLOCK = 64
"""Problems that are played out together."""
FOLLOWED = 10
"""Steps for which a goal is followed."""
GOOD = 0.9
"""A goal is right if it earns at least this much on the scale above, or is the expert's, whose plan
is for all agents and for longer."""
LONGEST = 100


class PlanMpe:
    """Moments of the MPE tasks; `tasks` are names of `vector.TASKS`."""

    name = "plan/mpe"

    def __init__(self, split: str = "train", *, tasks: tuple[str, ...] = ()) -> None:
        """All three tasks by default.

        Raises:
            ValueError: no such split or task.
        """
        if split not in PROBLEMS:
            raise ValueError(f"{self.name}: no split {split!r}; there are {', '.join(PROBLEMS)}")
        for task in tasks:
            if task not in TASKS:
                raise ValueError(f"{self.name}: no task {task!r}; there are {', '.join(TASKS)}")
        self.split, self.tasks = split, tasks or tuple(TASKS)

    def __len__(self) -> int:
        return PROBLEMS[self.split]

    def problem(self, index: int) -> Problem:
        """A moment; `info` holds the environment's state there."""
        block, row = divmod(index, BLOCK)
        name = self.tasks[block % len(self.tasks)]
        agent, text, goal, state = _moments(name, FIRST_SEED[self.split] + block * BLOCK)[row]
        task = TASKS[name]()
        return Problem(
            id=f"{self.split}-{name}-{index}",
            question=question(task, agent, text),
            answer=goals(task, agent)[goal],
            info={
                "situation": f"world {FIRST_SEED[self.split] + index}",
                "task": name,
                "agent": agent,
                "state": state,
            },
        )

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """The expert's goal, which knows more than the words say."""
        del rng
        return problem.answer

    def grade(self, problem: Problem, response: str) -> Grade:
        """Follows the goal; see above."""
        task, agent = TASKS[problem.info["task"]](), problem.info["agent"]
        known = goals(task, agent)
        said = response[:LONGEST].strip().rstrip(".").lower()
        if said not in known or len(response) > LONGEST:
            return Grade(None, None, f"no goal; there is {', '.join(known)}")
        earned = _earns(problem.info, len(known))
        least, most = earned.min(), earned.max()
        score = float((earned[known.index(said)] - least) / (most - least)) if most > least else 1.0
        return Grade(
            score >= GOOD or said == problem.answer, said, f"earns {score:.2f} of the best", score
        )

    def diagnose(self, problem: Problem, response: str) -> Diagnosis:
        """Right, wrong (reasoning), or no goal at all (format)."""
        kinds = {True: "correct", False: "reasoning", None: "format"}
        return Diagnosis(kinds[self.grade(problem, response).correct], 0, 0)


def question(task: Task, agent: str, text: str) -> str:
    """What an agent sees as it is put to a language model."""
    return f"Task: {task.name.replace('_', ' ')}. You are {agent}.\n{text}\nGoal:"


@lru_cache(maxsize=256)
def _moments(name: str, seed: int) -> list[tuple[str, str, int, dict[str, Any]]]:
    """BLOCK moments: agent, text, the expert's goal, state; half of all steps are at random."""
    env = MpeVector(name, BLOCK)
    seen = env.reset(seed)
    rng = np.random.default_rng([seed, 1])
    until = rng.integers(0, env.max_cycles - 1, BLOCK)
    found: dict[int, tuple[str, str, int, dict[str, Any]]] = {}
    for t in range(env.max_cycles - 1):
        chosen = expert_goals(env.task, seen)
        state = env.get_state()
        for row in np.flatnonzero(until == t).tolist():
            agent = env.agents[row % len(env.agents)]
            text = describe(env.task, agent, seen[agent][row : row + 1])[0]
            # A copy, or it would keep the whole block's state alive.
            mine = {key: value[row : row + 1].copy() for key, value in state.items()}
            found[row] = (agent, text, int(chosen[agent][row]), mine)
        actions = {a: act(env.task, a, chosen[a], seen[a]) for a in env.agents}
        for agent in env.agents:
            wild = rng.integers(0, env.action_sizes[agent], BLOCK)
            actions[agent] = np.where(rng.random(BLOCK) < 0.5, wild, actions[agent])
        seen, *_ = env.step(actions)
    return [found[row] for row in range(BLOCK)]


def _earns(info: Mapping[str, Any], count: int) -> np.ndarray:
    """What the agent earns with each of its goals, [count]."""
    env = MpeVector(info["task"], count)
    env.reset(0)
    env.set_state({key: np.repeat(value, count, axis=0) for key, value in info["state"].items()})
    agent, total = info["agent"], np.zeros(count)
    left = env.max_cycles - int(info["state"]["cycles"][0])
    for _ in range(min(FOLLOWED, left)):
        seen = env.observe()
        chosen = expert_goals(env.task, seen)
        chosen[agent] = np.arange(count)
        _, rewards, *_ = env.step({a: act(env.task, a, chosen[a], seen[a]) for a in env.agents})
        total += rewards[agent]
    return total
