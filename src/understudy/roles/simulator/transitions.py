"""From a cohort to what is learnt from: states before the decision, nobody joined to anybody."""

from __future__ import annotations

import numpy as np

from understudy.data.transitions import Offline, Person, gather
from understudy.envs.study.course import states
from understudy.envs.study.declare import Study
from understudy.ops.cohort import Cohort


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
    people = [
        Person(name, before[rows], actions[rows], rewards[rows], terminal=True, final_state=end)
        for name, rows, end in zip(cohort.people, cohort.spans(), ends, strict=True)
    ]
    return gather(people, len(study.actions), source)


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
    return cohort.take(np.sort(order[second:])), cohort.take(np.sort(order[:second]))
