"""People of any kind go through a study under a policy, and become a cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from understudy.envs.study.course import Course, Reports, Values
from understudy.envs.study.declare import Reported, Study
from understudy.ops.cohort import Bools, Cohort, Floats, Ints

Policy = Callable[[Floats], Floats]
"""From decision-time states [N, D] to the probability of each action [N, A]."""


class Answers(Protocol):
    """N people who answer; whoever can do this can play in a study once."""

    def respond(self, course: Course, actions: Ints) -> tuple[Reports, Bools]:
        """What everybody reports after an action each, and who would leave at the day's end.

        Args:
            course: where each stands, before the action.
            actions: [N]
        """
        ...


class People(Answers, Protocol):
    """N people who can be replaced, and kept: what an environment needs."""

    def replace(self, rows: Bools) -> None:
        """Those people go and others come, who are at the start of the study."""
        ...

    def arrays(self) -> Mapping[str, Floats]:
        """All that these people consist of, but for where their randomness stands."""
        ...

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Puts back what `arrays` gave."""
        ...


def draw(probabilities: Floats, rng: np.random.Generator) -> Ints:
    """[N] one action per row of [N, A] probabilities."""
    threshold = rng.random(len(probabilities))[:, None] * probabilities.sum(axis=1, keepdims=True)
    below = (probabilities.cumsum(axis=1) <= threshold).sum(axis=1)
    return np.minimum(below, probabilities.shape[1] - 1)


def play(
    study: Study,
    people: Answers,
    policy: Policy,
    n: int,
    rng: np.random.Generator,
    prefix: str = "",
) -> Cohort:
    """N people go through a study once, from its first day.

    Args:
        study: the declaration.
        people: n of them.
        policy: decides for all of them at each decision point.
        n: how many.
        rng: draws the actions.
        prefix: of the people's ids.

    Returns:
        A cohort with the study's day, part, action and reward, derived and reported columns, and
        `propensity`, the probability with which each action was chosen.
    """
    course = Course(study, n)
    on: Bools = np.ones(n, dtype=np.bool_)
    steps: list[tuple[Bools, Values]] = []
    while on.any():
        memory, names = course.memory, study.names
        probabilities = policy(memory.state())
        actions = draw(probabilities, rng)
        chance = probabilities[np.arange(n), actions] / probabilities.sum(axis=1)
        row: Values = {
            names.day: memory.day.astype(np.float64),
            names.part: memory.part.astype(np.float64),
            names.action: actions.astype(np.float64),
        }
        reports, leaving = people.respond(course, actions)
        outcome = course.step(actions, reports, leaving)
        row |= {names.reward: outcome.rewards, "propensity": chance} | outcome.derived
        row |= {r.name: _padded(study, r, reports[r.name]) for r in study.reported}
        steps.append((on, row))
        on = on & ~outcome.done
    return _cohort(steps, [f"{prefix}{i}" for i in range(n)])


def _padded(study: Study, reported: Reported, values: Floats) -> Floats:
    if reported.kind != "ratings":
        return values
    wide = np.full((len(values), study.capacity(reported)), np.nan)
    wide[:, : values.shape[1]] = values
    return wide


def _cohort(steps: list[tuple[Bools, Values]], ids: list[str]) -> Cohort:
    """From steps of everybody to rows of one person after the other."""
    on = np.stack([there for there, _ in steps], axis=1)  # [N, T]
    columns = {name: np.stack([row[name] for _, row in steps], axis=1)[on] for name in steps[0][1]}
    return Cohort(tuple(ids), on.sum(axis=1), columns)


def returns(study: Study, cohort: Cohort, gamma: float) -> Floats:
    """[P] each person's discounted sum of rewards from their first decision."""
    t = np.arange(cohort.rows) - np.repeat(cohort.starts, cohort.lengths)
    paid = gamma**t * cohort[study.names.reward]
    return np.bincount(cohort.person, paid, len(cohort)).astype(np.float64)
