"""Playing a person as a language environment: the state is a study so far, the action a report.

`simulate/low-mood` (or the path of another study's file). A problem is a moment of a person of
known truth; parameters differ from block to block of people, around those of `truth.PARAMETERS`. The
demonstration is what that person reported. The reward is fidelity: how typical the answer is of what
the same person would report, were the moment repeated, as a share of the most typical report. Its
greatest mean is had by the most typical answers; a policy that should keep the spread is trained
with a KL penalty, as `policy train` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from understudy.envs.base import Grade, Problem
from understudy.envs.diagnose import Diagnosis, Kind
from understudy.envs.study.course import Course
from understudy.envs.study.declare import Study, StudyError
from understudy.envs.study.diary import Diary, Values
from understudy.envs.study.lines import Lines, room_of
from understudy.envs.study.load import load
from understudy.envs.study.persona import Typical, observed
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import PARAMETERS, Parameters, Truth
from understudy.ops.cohort import Bools, Floats, Ints

PREFIX = "simulate/"
PROBLEMS = {"train": 32_768, "test": 2048}
FIRST_SEED = {"train": 30_000_000, "test": 40_000_000}
PEOPLE = 32
"""Of a block, who share parameters."""
MOMENTS = 16
"""Problems from each person."""
REPEATS = 64
"""How often a moment is repeated to grade an answer."""
TYPICAL = 0.5
"""An answer is right if it is at least this typical, or what the person did report."""


class Simulate:
    """People of a study."""

    def __init__(self, study: str = "low-mood", split: str = "train") -> None:
        """Of a shipped study's name or a file.

        Raises:
            ValueError: no such split or study.
        """
        self.name = f"{PREFIX}{study}"
        if split not in PROBLEMS:
            raise ValueError(f"{self.name}: no split {split!r}; there are {', '.join(PROBLEMS)}")
        self.study, self.split, self._source = load(study), split, study
        self.lines = Lines(self.study)

    def __len__(self) -> int:
        return PROBLEMS[self.split]

    def problem(self, index: int) -> Problem:
        """A moment; `info` holds what is needed to repeat it."""
        block, place = divmod(index, PEOPLE * MOMENTS)
        moment = _block(self._source, FIRST_SEED[self.split] + block).moment(place)
        question = self.lines.question(*moment["told"], room=moment["room"])
        return Problem(
            id=f"{self.split}-{index}",
            question=question,
            answer=self.lines.write(moment["reports"], leaves=moment["leaves"]),
            info={"situation": f"people {FIRST_SEED[self.split] + block}", **moment},
        )

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """What the person reported."""
        del rng
        return problem.answer

    def grade(self, problem: Problem, response: str) -> Grade:
        """How typical the answer is; see above."""
        info = problem.info
        try:
            reports, leaves = self.lines.read(response, info["room"])
        except StudyError as error:
            return Grade(None, None, str(error))
        typical = _typicality(self.study, info, reports)
        stated = leaves if info["leaves"] is not None else None
        said = self.lines.write(reports, leaves=stated)
        return Grade(
            typical >= TYPICAL or said == problem.answer,
            said,
            f"{typical:.2f} as typical as the most typical report",
            typical,
        )

    def diagnose(self, problem: Problem, response: str) -> Diagnosis:
        """Typical, untypical (reasoning), or no report at all (format)."""
        verdict = self.grade(problem, response).correct
        kinds: dict[bool | None, Kind] = {True: "correct", False: "reasoning", None: "format"}
        return Diagnosis(kinds[verdict], 0, 0)


@dataclass(frozen=True)
class _Step:
    """One moment of everybody in a block, as it was before they reported."""

    people: Mapping[str, Any]
    course: Mapping[str, Any]
    actions: Ints
    leaving: Bools


class _Watched:
    """People of known truth whose every moment is kept."""

    def __init__(self, study: Study, given: Parameters, rng: np.random.Generator) -> None:
        self.truth, self.study = Truth(study, given, PEOPLE, rng), study
        self.diary = Diary(study, PEOPLE)
        self.steps: list[_Step] = []
        self._on = np.ones(PEOPLE, dtype=np.bool_)

    def respond(self, course: Course, actions: Ints) -> tuple[Any, Bools]:
        """See `People`; notes everything."""
        kept = {name: array.copy() for name, array in self.truth.arrays().items()}
        where = {name: array.copy() for name, array in course.arrays().items()}
        reports, leaving = self.truth.respond(course, actions)
        self.steps.append(_Step(kept, where, actions, leaving))
        part = course.memory.part
        self.diary.add(course.memory.day, part, actions, reports, self._on)
        self._on &= ~(leaving & (part == len(self.study.parts) - 1))
        return reports, leaving


@dataclass(frozen=True)
class _Block:
    """A cohort that shares parameters."""

    study: Study
    given: Parameters
    people: _Watched
    typical: Typical
    each: Floats
    """[PEOPLE, K] what is typical of each."""

    def moment(self, place: int) -> dict[str, Any]:
        """One of a person's moments; which follows from its place in the block."""
        row = place % PEOPLE
        past = self.people.diary.people[row]
        at = (place // PEOPLE * len(past)) // MOMENTS
        step, entry = self.people.steps[at], past[at]
        course = Course(self.study, 1)
        course.restore({name: array[[row]] for name, array in step.course.items()})
        room = room_of(course, course.caps(step.actions[[row]]), 0)
        told = (self.each[row], self.typical, past[:at], entry.day, entry.part, entry.action)
        return {
            "told": told,
            "room": room,
            "reports": entry.reports,
            "leaves": bool(step.leaving[row]) if room.may_leave else None,
            "given": self.given,
            "seed": [entry.day, entry.part, row],
            "action": entry.action,
            "people": {name: array[[row]] for name, array in step.people.items()},
            "course": {name: array[[row]] for name, array in step.course.items()},
        }


@lru_cache(maxsize=128)
def _block(source: str, seed: int) -> _Block:
    study, rng = load(source), np.random.default_rng([seed, 1])
    given = randomised(rng)
    people = _Watched(study, given, rng)
    cohort = play(study, people, uniform(study), PEOPLE, rng)
    return _Block(study, given, people, *observed(study, cohort))


def randomised(rng: np.random.Generator) -> Parameters:
    """Parameters around one of the named ones: nobody's own, and everybody's kind."""
    base = PARAMETERS[str(rng.choice(list(PARAMETERS)))]
    order = rng.permutation(len(base.lift)) if len(base.lift) > 1 else np.zeros(1, dtype=int)
    spread = np.exp(rng.normal(0, 0.3, 8))
    return replace(
        base,
        mood=base.mood + rng.normal(0, 0.4),
        mood_between=base.mood_between * spread[0],
        mood_carry=float(np.clip(base.mood_carry + rng.normal(0, 0.15), 0, 0.95)),
        mood_noise=base.mood_noise * spread[1],
        mood_of_day=base.mood_of_day + rng.normal(0, 0.2),
        engagement=base.engagement + rng.normal(0, 0.6),
        engagement_between=base.engagement_between * spread[2],
        lift=tuple(base.lift[i] * spread[3] for i in order),
        pull=tuple(base.pull[i] * spread[4] for i in order),
        reading=base.reading + rng.normal(0, 0.5),
        load=base.load * spread[5],
        habituation=base.habituation * spread[6],
        leaving=base.leaving + rng.normal(0, 0.5),
    )


def _typicality(study: Study, info: Mapping[str, Any], reports: Mapping[str, Values]) -> float:
    """The mean over reported variables of an answer's share of the most typical one's likelihood."""
    rng = np.random.default_rng([*info["seed"], REPEATS])
    truth = Truth(study, info["given"], REPEATS, rng)
    truth.restore({k: np.repeat(v, REPEATS, axis=0) for k, v in info["people"].items()})
    course = Course(study, REPEATS)
    course.restore({k: np.repeat(v, REPEATS, axis=0) for k, v in info["course"].items()})
    repeated, _ = truth.respond(course, np.full(REPEATS, info["action"]))
    shares: list[float] = []
    for report in study.reported:
        said = np.asarray(repeated[report.name], dtype=np.float64)
        if report.kind != "ratings":
            shares.append(_likely(said, reports[report.name][0], (report.high - report.low) / 10))
            continue
        counts = (~np.isnan(said)).sum(axis=1).astype(np.float64)
        shares.append(_likely(counts, float(len(reports[report.name])), 0.0))
        values = said[~np.isnan(said)]
        if len(values) and reports[report.name]:
            each = [
                _likely(values, v, (report.high - report.low) / 10) for v in reports[report.name]
            ]
            shares.append(float(np.mean(each)))
    return float(np.mean(shares))


def _likely(sample: Floats, value: float, width: float) -> float:
    """The density of a sample at a value, as a share of its greatest at the sample's own values."""

    def density(at: Floats) -> Floats:
        apart = at[:, None] - sample[None]
        near = np.exp(-0.5 * (apart / width) ** 2) if width else (apart == 0).astype(np.float64)
        return near.mean(axis=1)

    return float(min(1.0, density(np.array([value]))[0] / density(np.unique(sample)).max()))
