"""Cohorts of a study: read, written, summarised, and made of people whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from understudy.data.cohort import Layout, read_cohort
from understudy.envs.study.declare import Study, StudyError
from understudy.envs.study.play import Policy, play
from understudy.envs.study.recover import recover
from understudy.envs.study.table import columns, measured, measures
from understudy.envs.study.truth import Parameters, Truth
from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import (
    Profile,
    Rows,
    private_profile,
    profile as exact_profile,
)


def layout(study: Study, least_people: int = 2) -> Layout:
    """How a cohort of a study is laid out in a file.

    Numbers outside the study's ranges are read: that a cohort breaks rules is what a report tells.
    Days, parts and actions must be the study's; without them there is no series.
    """
    names = study.names
    derived = {d.name for d in study.derived}
    found = [
        replace(c, low=-math.inf, high=math.inf) if c.name in derived else c for c in columns(study)
    ]
    return Layout(names.person, (names.day, names.part), tuple(found), least_people)


def read(path: Path, study: Study, least_people: int = 2) -> Cohort:
    """A study's cohort from a CSV file; `data.cohort.read_cohort` says what can be wrong.

    Lists of ratings that the file lacks are recovered from the day's totals where they can be.
    """
    return recover(study, read_cohort(path, layout(study, least_people)))[0]


def rows_of(study: Study, cohort: Cohort, only: Sequence[str] = ()) -> Rows:
    """A cohort's rows as the statistics need them.

    Args:
        study: the declaration.
        cohort: of that study.
        only: the measures to keep; all where empty.

    Raises:
        StudyError: a measure that the study does not have.
    """
    known = {m.name: m for m in measures(study)}
    for name in only:
        if name not in known:
            raise StudyError(f"measure {name!r} is unknown; there are {', '.join(known)}")
    values = {k: v for k, v in measured(study, cohort).items() if not only or k in only}
    names = study.names
    day, part, action = (cohort[c].astype(np.int64) for c in (names.day, names.part, names.action))
    return Rows(
        cohort,
        day,
        part,
        action,
        values,
        {name: known[name].levels for name in values},
        study.parts,
        tuple(a.name for a in study.actions),
        study.days,
    )


def profile(
    cohort: Cohort,
    study: Study,
    *,
    hidden_below: int = 0,
    epsilon: float | None = None,
    delta: float = 0.0,
    rng: np.random.Generator | None = None,
    only: Sequence[str] = (),
) -> Profile:
    """The aggregates of a cohort: all that may be told of it.

    Args:
        cohort: the people.
        study: the declaration.
        hidden_below: cells with fewer people than this are hidden (without noise only).
        epsilon: of differential privacy of whole people; None for exact counts.
        delta: see `private_profile`.
        rng: of the noise; needed with `epsilon`.
        only: the measures to keep. Fewer share the privacy among fewer tables.

    Raises:
        StudyError: an unknown measure.
        ValueError: ε or δ outside their range, or noise without `rng`.
    """
    rows = rows_of(study, cohort, only)
    if epsilon is None:
        return exact_profile(rows, hidden_below)
    if rng is None:
        raise ValueError("noise needs a generator")
    return private_profile(rows, epsilon, rng, delta)


def check_profile(study: Study, whole: Profile) -> None:
    """Whether a profile is one of this study.

    Raises:
        StudyError: other parts, actions, days or measures; which.
    """
    pairs = (
        ("parts of the day", study.parts, whole.parts),
        ("actions", tuple(a.name for a in study.actions), whole.actions),
        ("days", study.days, len(whole.last_days)),
    )
    for what, declared, told in pairs:
        if declared != told:
            raise StudyError(f"the profile is of another study: {what} {told}, not {declared}")
    known = {m.name: m for m in measures(study)}
    for name, counts in whole.measures.items():
        if name not in known or not np.allclose(counts.levels, known[name].levels, atol=1e-5):
            raise StudyError(f"the profile is of another study: measure {name!r} differs")


def generate_truth(
    study: Study, given: Parameters, people: int, policy: Policy, seed: int
) -> Cohort:
    """A cohort of people of known truth, each of whom goes through the study once.

    The reference where real data are private: it was made by a program, not measured.
    """
    whose, which = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    return play(study, Truth(study, given, people, whose), policy, people, which, prefix="truth-")
