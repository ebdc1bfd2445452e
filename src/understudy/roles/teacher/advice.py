"""Teachers: answers in words turned into the probabilities of actions, for all rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from understudy.envs.grid.codes import ACTIONS
from understudy.envs.grid.plans import PlanError, read
from understudy.envs.grid.scene import Scene, describe
from understudy.envs.grid.skills import actions
from understudy.envs.mpe import skills, words as mpe_words
from understudy.envs.mpe.world import Task
from understudy.roles.teacher.planner import BookPlanner, ExpertPlanner, Options, Planner, Question
from understudy.roles.teacher.questions import for_goal, for_plan, goal_text
from understudy.rollout.world import Floats, Ints, Observation
from understudy.run.errors import RunError


class Teacher(Protocol):
    """Who advises."""

    met: Counter[str]
    """How often each text was met."""
    fallbacks: int
    """How often a text was met for which no usable answer came."""
    latest: list[str]
    """The texts of the last call, by row."""

    def __call__(self, observation: Observation) -> Floats:
        """Action probabilities, float32 [R, A]."""
        ...


class _Asking:
    """What every teacher keeps: the answers so far, and counts."""

    def __init__(self, planner: Planner, *, hard: bool = False) -> None:
        """With `hard`, the likeliest answer alone counts."""
        self.planner, self.hard = planner, hard
        self.met: Counter[str] = Counter()
        self.fallbacks = 0
        self.latest: list[str] = []
        self._known: dict[str, Options] = {}

    def _options(self, texts: list[str], make: Callable[[int], Question]) -> list[Options]:
        """The answers to every row's question; each distinct text is asked once.

        Args:
            texts: what decides the answer, by row.
            make: the question of a row.
        """
        rows = {text: row for row, text in enumerate(texts) if text not in self._known}
        if rows:
            found = self.planner.answers([make(row) for row in rows.values()])
            for text, options in zip(rows, found, strict=True):
                best = max(options, key=lambda option: option[1])
                self._known[text] = ((best[0], 1.0),) if self.hard else options
        self._note(texts)
        if isinstance(self.planner, BookPlanner):
            self.fallbacks += sum(map(self.planner.fell_back, texts))
        return [self._known[text] for text in texts]

    def _note(self, texts: list[str]) -> None:
        self.latest = texts
        self.met.update(texts)


class PlanTeacher(_Asking):
    """π_T(a | s) = Σ_k p_k [a is the first action of plan k] (arXiv 2311.13373, section 3)."""

    def __init__(self, planner: Planner, *, hard: bool = False, through_lava: bool = False) -> None:
        """With `through_lava`, skills walk over lava as if it were floor."""
        super().__init__(planner, hard=hard)
        self.through_lava = through_lava

    def __call__(self, observation: Observation) -> Floats:
        """See `Teacher`.

        Raises:
            RunError: a recorded plan is none for its scene.
        """
        scene, missions = Scene.of(observation["image"]), observation["mission"]
        seen = describe(scene, missions)
        texts = [w.text for w in seen]
        options = self._options(texts, lambda row: for_plan(missions[row], seen[row]))
        rows = np.repeat(np.arange(len(seen)), [len(o) for o in options])
        try:
            plans = [
                read(text, w.objects)
                for w, option in zip(seen, options, strict=True)
                for text, _ in option
            ]
        except PlanError as error:
            raise RunError(f"a recorded plan cannot be read: {error}") from error
        shares = np.array([p for option in options for _, p in option], np.float32)
        chosen = actions(scene.take(rows), plans, through_lava=self.through_lava)
        advice = np.zeros((len(seen), len(ACTIONS)), np.float32)
        np.add.at(advice, (rows, chosen), shares)
        return advice


class GoalTeacher(_Asking):
    """Agents of an MPE task, each with goals of its own: π_T = Σ_k p_k [a follows goal k].

    With `hear`, every agent is asked a second time, told what the others are likeliest to do.
    """

    def __init__(
        self, planner: Planner, task: Task, *, hard: bool = False, hear: bool = False
    ) -> None:
        """For the agents of `task`; a row is (environment, agent)."""
        super().__init__(planner, hard=hard)
        self.task, self.hear = task, hear
        self.actions = max(task.action_sizes.values())

    def __call__(self, observation: Observation) -> Floats:
        """See `Teacher`."""
        agents = self.task.agents
        best = skills.expert_goals(self.task, observation)
        seen = {a: mpe_words.describe(self.task, a, observation[a]) for a in agents}
        if isinstance(self.planner, ExpertPlanner):
            # The expert looks at the scene itself: equal texts need not get equal goals.
            shares = {a: self._expert(self.planner.noise, a, best[a]) for a in agents}
            self._note(
                [
                    goal_text(self.task, a, text)
                    for row in zip(*seen.values(), strict=True)
                    for a, text in zip(agents, row, strict=True)
                ]
            )
        else:
            shares = self._asked(seen, best)
        count = len(best[agents[0]])
        advice = np.zeros((count, len(agents), self.actions), np.float32)
        for a, agent in enumerate(agents):
            for goal, share in enumerate(shares[agent].T):
                rows = np.flatnonzero(share)
                if len(rows):
                    index = np.full(len(rows), goal)
                    taken = skills.act(self.task, agent, index, observation[agent][rows])
                    advice[rows, a, taken] += share[rows]
        return advice.reshape(count * len(agents), self.actions)

    def _expert(self, noise: float, agent: str, best: Ints) -> Floats:
        count = len(mpe_words.goals(self.task, agent))
        return (1 - noise) * np.eye(count, dtype=np.float32)[best] + np.float32(noise / count)

    def _asked(self, seen: Mapping[str, list[str]], best: Mapping[str, Ints]) -> dict[str, Floats]:
        """The probabilities of each agent's goals, [N, G]."""
        agents = self.task.agents
        count = len(seen[agents[0]])
        heard = [[""] * len(agents)] * count
        for _ in range(1 + self.hear):
            asked = [
                (agent, seen[agent][n], int(best[agent][n]), heard[n][a])
                for n in range(count)
                for a, agent in enumerate(agents)
            ]
            texts = [goal_text(self.task, agent, text, said) for agent, text, _, said in asked]

            def make(row: int, asked: list[tuple[str, str, int, str]] = asked) -> Question:
                return for_goal(self.task, *asked[row])

            options = self._options(texts, make)
            said = [options[i : i + len(agents)] for i in range(0, len(options), len(agents))]
            heard = [_intentions(agents, row) for row in said]
        return {
            agent: np.array(
                [
                    [dict(row[a]).get(goal, 0.0) for goal in mpe_words.goals(self.task, agent)]
                    for row in said
                ],
                np.float32,
            )
            for a, agent in enumerate(agents)
        }


def _intentions(agents: Sequence[str], said: Sequence[Options]) -> list[str]:
    """What each agent hears of the others' likeliest goals."""
    likeliest = [max(options, key=lambda option: option[1])[0] for options in said]
    return [
        " ".join(
            f"{other} will {goal}."
            for other, goal in zip(agents, likeliest, strict=True)
            if other != me
        )
        for me in agents
    ]
