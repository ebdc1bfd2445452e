"""Planning as a language environment: the state is a scene in words, the action a plan.

A problem is a moment of a door-key episode. The answer is carried out from there until the scene
reads otherwise; then the scripted expert goes on. The reward is what the episode earns, so a plan
that wastes time earns less, and one that ends in lava nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.envs.base import Grade, Problem
from understudy.envs.diagnose import Diagnosis
from understudy.envs.grid import expert
from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.plans import INSTRUCTIONS, Plan, PlanError, candidates, read, write
from understudy.envs.grid.scene import Scene, Words, describe
from understudy.envs.grid.skills import actions

PROBLEMS = {"train": 4096, "test": 512}
FIRST_SEED = {"train": 10_000_000, "test": 20_000_000}
BLOCK = 64
"""Problems that are played out together."""
LONGEST_WANDER = 60
GOOD = 0.9
"""A plan is right if it earns at least this share of what the expert would, or is the expert's, who
finds the way in the time left in all but one of a hundred moments."""


class PlanDoorKey:
    """The door-key tasks' moments; `tasks` are names of `layouts.RULES`."""

    name = "plan/doorkey"

    def __init__(
        self, split: str = "train", *, tasks: tuple[str, ...] = (), instructions: bool = False
    ) -> None:
        """All four tasks by default.

        Args:
            split: train or test, of different rooms.
            tasks: some of the tasks.
            instructions: put the rules before every scene, for models that were not trained on it.

        Raises:
            ValueError: no such split or task.
        """
        if split not in PROBLEMS:
            raise ValueError(f"{self.name}: no split {split!r}; there are {', '.join(PROBLEMS)}")
        for task in tasks:
            if task not in RULES:
                raise ValueError(f"{self.name}: no task {task!r}; there are {', '.join(RULES)}")
        self.split, self.tasks = split, tasks or tuple(RULES)
        self.instructions = instructions

    def __len__(self) -> int:
        return PROBLEMS[self.split]

    def problem(self, index: int) -> Problem:
        """A moment; `info` holds the environment's state there."""
        block, row = divmod(index, BLOCK)
        task = self.tasks[block % len(self.tasks)]
        moments = _moments(task, FIRST_SEED[self.split] + block * BLOCK)
        words, mission, state = moments[row]
        plan = expert.plan(mission, words)
        return Problem(
            id=f"{self.split}-{task}-{index}",
            question=question(words, instructions=self.instructions),
            answer=write(plan),
            level=list(RULES).index(task),
            info={
                "situation": f"room {FIRST_SEED[self.split] + index}",
                "task": task,
                "objects": words.objects,
                "held": words.held,
                "state": state,
            },
        )

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """The expert's plan."""
        del rng
        return problem.answer

    def grade(self, problem: Problem, response: str) -> Grade:
        """Carries the plan out; see above."""
        try:
            plan = read(response, problem.info["objects"])
        except PlanError as error:
            return Grade(None, None, str(error))
        earned = _earns(problem.info, plan)
        best = _earns(problem.info, read(problem.answer, problem.info["objects"]))
        right = write(plan) == problem.answer or (earned > 0 and earned >= GOOD * best)
        return Grade(right, write(plan), f"earns {earned:.2f}", earned)

    def diagnose(self, problem: Problem, response: str) -> Diagnosis:
        """Right, wrong (reasoning), or no plan at all (format)."""
        verdict = self.grade(problem, response).correct
        kinds = {True: "correct", False: "reasoning", None: "format"}
        return Diagnosis(kinds[verdict], 0, 0)


def question(words: Words, *, instructions: bool = True) -> str:
    """A scene as it is put to a language model."""
    return f"{INSTRUCTIONS if instructions else ''}{words.text}\nPlan:"


@lru_cache(maxsize=256)
def _moments(task: str, seed: int) -> list[tuple[Words, str, dict[str, Any]]]:
    """BLOCK moments: each room is wandered through, half by the expert, half by any plan."""
    env = DoorKeyVector(task, BLOCK)
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng([seed, 1])
    until = rng.integers(0, LONGEST_WANDER, BLOCK)
    found: dict[int, tuple[Words, str, dict[str, Any]]] = {}
    current: list[Plan] = [()] * BLOCK
    for t in range(LONGEST_WANDER):
        scene, missions = Scene.of(observation["image"]), observation["mission"]
        words = describe(scene, missions)
        state = env.get_state()
        for row in np.flatnonzero(until == t):
            found[int(row)] = (words[row], missions[row], _of_row(state, int(row)))
        for row in range(BLOCK):
            if not current[row] or rng.random() < 0.1:
                options = candidates(words[row].objects, words[row].held)
                careful = rng.random() < 0.5
                chosen = options[rng.integers(len(options))]
                current[row] = expert.plan(missions[row], words[row]) if careful else chosen
        taken = actions(scene, current)
        read_before = [w.text for w in words]
        observation, *_ = env.step(taken)
        after = describe(Scene.of(observation["image"]), observation["mission"])
        current = [
            plan if now.text == before else ()
            for plan, now, before in zip(current, after, read_before, strict=True)
        ]
    return [found[row] for row in range(BLOCK)]


def _of_row(state: Mapping[str, Any], row: int) -> dict[str, Any]:
    """One room's state; copied, or it would keep the whole block's alive."""
    return {
        name: [value[row]] if name == "rngs" else value[row : row + 1].copy()
        for name, value in state.items()
    }


def _earns(info: Mapping[str, Any], plan: Plan) -> float:
    """The episode's return if this plan is followed while the scene reads the same."""
    env = DoorKeyVector(info["task"], 1)
    observation = env.set_state(info["state"])
    mission = observation["mission"][0]
    first: str | None = None
    following = True
    while True:
        scene = Scene.of(observation["image"])
        words = describe(scene, observation["mission"])[0]
        first = words.text if first is None else first
        following = following and words.text == first
        now = plan if following else expert.plan(mission, words)
        observation, rewards, terminated, truncated, _ = env.step(actions(scene, [now]))
        if terminated[0] or truncated[0]:
            return float(rewards[0])
