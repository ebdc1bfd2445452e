"""From a cohort to what is learnt from: states before the decision, nobody joined to anybody."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.data.transitions import Offline, Person, gather
from understudy.envs.study.course import states
from understudy.envs.study.declare import Study
from understudy.envs.study.play import Policy as StudyPolicy
from understudy.ops.cohort import Cohort, Ints
from understudy.roles.simulator.offline.policies import Policy


def offline_of(study: Study, cohort: Cohort, source: str) -> Offline:
    """A cohort's decisions.

    Somebody's last decision is terminal, whether they left or the study ended: nothing can be earned
    after either, and the day is part of the state.

    Args:
        study: the declaration.
        cohort: people of it, with at least one decision each.
        source: where they come from.
    """
    before, ends = states(study, cohort)
    names = study.names
    actions, rewards = cohort[names.action].astype(np.int64), cohort[names.reward]
    people: list[Person] = []
    for i, name in enumerate(cohort.people):
        rows = slice(int(cohort.starts[i]), int(cohort.starts[i] + cohort.lengths[i]))
        people.append(
            Person(
                name, before[rows], actions[rows], rewards[rows], terminal=True, final_state=ends[i]
            )
        )
    return gather(people, len(study.actions), source)


def acting(policy: Policy) -> StudyPolicy:
    """A judged or learnt policy as one that can play in a study."""
    return policy.probabilities


def split(cohort: Cohort, share: float, rng: np.random.Generator) -> tuple[Cohort, Cohort]:
    """Two cohorts of different people; the second has about `share` of them, at least one.

    Args:
        cohort: at least two people.
        share: in (0, 1).
        rng: who goes where.
    """
    n = len(cohort)
    second = min(n - 1, max(1, round(share * n)))
    order = rng.permutation(n)
    return chosen(cohort, np.sort(order[second:])), chosen(cohort, np.sort(order[:second]))


def chosen(cohort: Cohort, people: Ints) -> Cohort:
    """Some of a cohort's people, by index."""
    rows = np.concatenate([np.flatnonzero(cohort.person == i) for i in people.tolist()])
    columns: dict[str, Any] = {name: column[rows] for name, column in cohort.columns.items()}
    return Cohort(tuple(cohort.people[i] for i in people.tolist()), cohort.lengths[people], columns)
