"""Policies that need no learning: what a learned one has to beat, and the best of a known truth."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from understudy.envs.study.declare import Study, StudyError
from understudy.envs.study.play import Policy, play, returns
from understudy.envs.study.truth import Parameters, Truth
from understudy.ops.cohort import Floats


def uniform(study: Study) -> Policy:
    """Every action with the same probability."""
    share = 1 / len(study.actions)
    return lambda states: np.full((len(states), len(study.actions)), share)


def schedule(study: Study, actions: Sequence[str]) -> Policy:
    """One fixed action for each part of the day.

    Raises:
        StudyError: not one action per part, or one that the study does not have.
    """
    known = [a.name for a in study.actions]
    if len(actions) != len(study.parts):
        raise StudyError(f"a schedule needs {len(study.parts)} actions, not {len(actions)}")
    for action in actions:
        if action not in known:
            raise StudyError(f"action {action!r} is unknown; there are {', '.join(known)}")
    table = np.eye(len(known))[[known.index(a) for a in actions]]
    features = [name for name, _, _ in study.features()]
    parts = [features.index(f"part={part}") for part in study.parts]

    def policy(states: Floats) -> Floats:
        return states[:, parts] @ table

    return policy


def always(study: Study, action: str) -> Policy:
    """One action, whatever the state; see `schedule` for errors."""
    return schedule(study, [action] * len(study.parts))


def true_value(
    study: Study,
    given: Parameters,
    policy: Policy,
    people: int,
    rng: np.random.Generator,
    gamma: float = 0.9,
) -> tuple[float, float]:
    """What a policy is worth to people of these parameters, by playing it.

    Returns:
        The mean discounted return from the first decision, and its standard error.
    """
    cohort = play(study, Truth(study, given, people, rng), policy, people, rng)
    value = returns(study, cohort, gamma)
    return float(value.mean()), float(value.std(ddof=1) / np.sqrt(people))


def best_schedule(
    study: Study, given: Parameters, people: int, seed: int, gamma: float = 0.9
) -> dict[tuple[str, ...], float]:
    """The true value of every schedule, the best first; all meet people of the same seed.

    A^P schedules are played by `people` people each: 64 where 4 actions meet 3 parts of a day.
    """
    names = [a.name for a in study.actions]
    found: dict[tuple[str, ...], float] = {}
    for actions in itertools.product(names, repeat=len(study.parts)):
        rng = np.random.default_rng(seed)
        value, _ = true_value(study, given, schedule(study, actions), people, rng, gamma)
        found[actions] = value
    return dict(sorted(found.items(), key=lambda item: -item[1]))
