"""Teachers: answers in words turned into the probabilities of actions, for all rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
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

    def counts(self) -> dict[str, Any]:
        """What was met so far, as JSON values."""
        ...

    def recount(self, counts: Mapping[str, Any]) -> None:
        """Goes back to `counts`."""
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

    def counts(self) -> dict[str, Any]:
        """See `Teacher`."""
        return {"met": dict(self.met), "fallbacks": self.fallbacks}

    def recount(self, counts: Mapping[str, Any]) -> None:
        """See `Teacher`."""
        self.met, self.fallbacks = Counter(counts["met"]), int(counts["fallbacks"])

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
        self._meet(texts)
        if isinstance(self.planner, BookPlanner):
            self.fallbacks += sum(map(self.planner.fell_back, texts))
        return [self._known[text] for text in texts]

    def _meet(self, texts: list[str]) -> None:
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
        if isinstance(self.planner, ExpertPlanner):
            # The expert looks at the scene itself: equal texts need not get equal goals.
            self._meet(self._texts(self._seen(observation)))
            shares = {a: self._expert(self.planner.noise, a, best[a]) for a in agents}
        else:
            shares = self._asked(observation, best)
        count = len(best[agents[0]])
        advice = np.zeros((count, len(agents), self.actions), np.float32)
        for a, agent in enumerate(agents):
            for goal, share in enumerate(shares[agent].T):
                rows = np.flatnonzero(share)
                if len(rows):
                    seen = observation[agent][rows]
                    taken = skills.act(self.task, agent, np.full(len(rows), goal), seen)
                    advice[rows, a, taken] += share[rows]
        return advice.reshape(count * len(agents), self.actions)

    def _expert(self, noise: float, agent: str, best: Ints) -> Floats:
        count = len(mpe_words.goals(self.task, agent))
        return (1 - noise) * np.eye(count, dtype=np.float32)[best] + np.float32(noise / count)

    def _say(self, texts: list[str], best: Mapping[str, Ints]) -> list[list[Options]]:
        """Each agent's answers to its text, [N][agents]."""
        agents = self.task.agents

        def make(row: int) -> Question:
            n, a = divmod(row, len(agents))
            return for_goal(self.task, agents[a], texts[row], int(best[agents[a]][n]))

        options = self._options(texts, make)
        return [options[i : i + len(agents)] for i in range(0, len(options), len(agents))]

    def _seen(self, observation: Observation) -> list[list[str]]:
        """What each agent sees, in words, [N][agents]."""
        agents = self.task.agents
        columns = [mpe_words.describe(self.task, a, observation[a]) for a in agents]
        return [list(row) for row in zip(*columns, strict=True)]

    def _texts(self, seen: list[list[str]], heard: list[list[str]] | None = None) -> list[str]:
        agents = self.task.agents
        return [
            goal_text(self.task, agent, row[a], heard[n][a] if heard else "")
            for n, row in enumerate(seen)
            for a, agent in enumerate(agents)
        ]

    def _asked(self, observation: Observation, best: Mapping[str, Ints]) -> dict[str, Floats]:
        """The probabilities of each agent's goals, [N, G]."""
        agents = self.task.agents
        seen = self._seen(observation)
        said = self._say(self._texts(seen), best)
        if self.hear:
            heard = [_intentions(agents, row) for row in said]
            said = self._say(self._texts(seen, heard), best)
        return {
            agent: _shares(mpe_words.goals(self.task, agent), [row[a] for row in said])
            for a, agent in enumerate(agents)
        }


def _shares(goals: Sequence[str], said: Sequence[Options]) -> Floats:
    """The probabilities of each goal, [N, G]."""
    shares = np.zeros((len(said), len(goals)), np.float32)
    for row, options in enumerate(said):
        for goal, share in options:
            if goal not in goals:
                raise RunError(
                    f"a recorded goal is none: {goal[:40]!r}; there are {', '.join(goals)}"
                )
            shares[row, goals.index(goal)] += share
    return shares


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
