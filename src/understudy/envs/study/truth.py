"""Simulated people whose truth is known: the yardstick for everything that learns from data.

A person has a mood (a first-order autoregression around a level of their own that moves with the
part of the day), an engagement (a trait), a burden that grows with every message and fades, and a
response of their own to every action. Burden weakens responses (habituation), makes reading less
likely and leaving likelier. Mood gives the reports their values, engagement their number. Nothing
here was fitted to data of real people; it is made so that policies differ for known reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from understudy.envs.study.course import Course, Reports, Values
from understudy.envs.study.declare import Reported, Study, StudyError
from understudy.ops.cohort import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Parameters:
    """How people are. Moods are in units in which a scale's range is four; rates are logits."""

    mood: float = 0.0
    mood_between: float = 0.5
    """Standard deviation between people of the level of mood."""
    mood_carry: float = 0.7
    """How much of a mood's distance from its level is there at the next decision point."""
    mood_noise: float = 0.45
    mood_of_day: float = 0.25
    """Half the difference of the mood's level between the first and the last part of a day."""
    engagement: float = -0.4
    engagement_between: float = 0.7
    engagement_of_day: float = 0.2
    lift: tuple[float, ...] = (0.35, 0.15, 0.05)
    """What each message does to mood at once (taken in turn where a study has more messages)."""
    pull: tuple[float, ...] = (1.0, 0.4, 0.1)
    """What each message does to the rate of reporting."""
    response_between: float = 0.3
    """Standard deviation between people of a message's effect, relative to the greatest one."""
    reading: float = 0.6
    """Rate of reading each unread message."""
    load: float = 0.25
    """Burden of a message."""
    fading: float = 0.8
    """How much burden is left at the next decision point."""
    habituation: float = 0.3
    """A burden of 1 multiplies responses by exp(−this)."""
    leaving: float = -5.0
    """Rate of leaving at the end of a day, of an engaged person in average mood."""
    leaving_by_burden: float = 0.5
    leaving_by_mood: float = -0.4
    leaving_by_engagement: float = -0.6


PARAMETERS: Mapping[str, Parameters] = {
    # Messages help and do not tire: the first kind of message, always.
    "responsive": Parameters(load=0.1),
    # No action changes anybody: only what the reward itself pays for a message differs.
    "indifferent": Parameters(
        lift=(0.0,), pull=(0.0,), response_between=0.0, habituation=0.0, leaving_by_burden=0.0
    ),
    # Messages work when they are rare.
    "habituating": Parameters(load=0.8, fading=0.75, habituation=2.5, leaving_by_burden=0.2),
    # Messages please at first and drive people away.
    "fragile": Parameters(
        lift=(0.1, 0.05, 0.2),
        pull=(0.15, 0.1, 0.3),
        load=0.6,
        leaving_by_burden=1.3,
    ),
    # The kind of message that helps one person does nothing for the next.
    "diverse": Parameters(
        lift=(0.2,), pull=(0.5,), response_between=1.2, mood_between=0.9, engagement_between=1.1
    ),
}


def parameters(name: str) -> Parameters:
    """Parameters by name.

    Raises:
        StudyError: no such name.
    """
    if name not in PARAMETERS:
        raise StudyError(f"parameters {name!r} are unknown; there are {', '.join(PARAMETERS)}")
    return PARAMETERS[name]


class Truth:
    """N people drawn from a set of parameters, for any study."""

    def __init__(self, study: Study, given: Parameters, n: int, rng: np.random.Generator) -> None:
        self.study, self.given, self.rng = study, given, rng
        self._part = np.linspace(-1, 1, len(study.parts)) if len(study.parts) > 1 else np.zeros(1)
        messages = np.cumsum([a.message for a in study.actions]) - 1
        sent = np.array([a.message for a in study.actions])
        self._sent = sent.astype(np.float64)
        self._lift, self._pull = (
            np.where(sent, np.resize(effects, len(sent))[messages], 0.0)
            for effects in (given.lift, given.pull)
        )
        self._draw(n)

    def _draw(self, n: int) -> None:
        given, rng = self.given, self.rng
        self.level = given.mood + given.mood_between * rng.standard_normal(n)
        still = given.mood_noise / np.sqrt(1 - given.mood_carry**2)
        self.mood = self.level + still * rng.standard_normal(n)
        self.engagement = given.engagement + given.engagement_between * rng.standard_normal(n)
        self.burden = np.zeros(n)
        own = rng.standard_normal((n, len(self._sent))) * given.response_between * self._sent
        self.lift = self._lift + own * np.abs(self._lift).max()
        self.pull = self._pull + own * np.abs(self._pull).max()

    def respond(self, course: Course, actions: Ints) -> tuple[Reports, Bools]:
        """See `People`."""
        given, rng = self.given, self.rng
        n, part = len(actions), self._part[course.memory.part]
        everybody = np.arange(n)
        response = np.exp(-given.habituation * self.burden)
        level = self.level + given.mood_of_day * part
        self.mood = level + given.mood_carry * (self.mood - level)
        self.mood += given.mood_noise * rng.standard_normal(n)
        self.mood += response * self.lift[everybody, actions]
        rate = self.engagement + given.engagement_of_day * part
        rate = rate + response * self.pull[everybody, actions]
        self.burden = given.fading * self.burden + given.load * self._sent[actions]
        caps = course.caps(actions)
        reports: Values = {}
        for report in self.study.reported:
            cap = caps[report.name]
            if report.kind == "ratings":
                reports[report.name] = self._ratings(report, rate, cap.most)
            elif report.budget:
                reading = _sigmoid(self.engagement + given.reading - self.burden)
                read = rng.binomial(cap.high.astype(np.int64), reading)
                reports[report.name] = read.astype(np.float64)
            else:
                reports[report.name] = self._value(report, rate)
        return reports, rng.random(n) < self._hazard()

    def _hazard(self) -> Floats:
        given = self.given
        return _sigmoid(
            given.leaving
            + given.leaving_by_burden * self.burden
            + given.leaving_by_mood * self.mood
            + given.leaving_by_engagement * (self.engagement - given.engagement)
        )

    def _ratings(self, report: Reported, rate: Floats, most: Ints) -> Floats:
        """[N, K] new ratings around the mood, as many as engagement and what is left allow."""
        tries = -(-report.per_day // len(self.study.parts))
        count = np.minimum(self.rng.binomial(tries, _sigmoid(rate)), most)
        middle, unit = (report.low + report.high) / 2, (report.high - report.low) / 4
        shown = self.mood[:, None] + 0.3 * self.rng.standard_normal((len(rate), tries))
        ratings = np.clip(np.rint(middle + unit * shown), report.low, report.high)
        return np.where(np.arange(tries) < count[:, None], ratings, np.nan)

    def _value(self, report: Reported, rate: Floats) -> Floats:
        """[N] one value in its range, of mood and engagement alike."""
        noise = 0.3 * self.rng.standard_normal(len(rate))
        value = report.low + (report.high - report.low) * _sigmoid(self.mood / 2 + rate + noise - 1)
        return value if report.kind == "number" else np.rint(value)

    def replace(self, rows: Bools) -> None:
        """See `People`."""
        fresh = Truth(self.study, self.given, int(rows.sum()), self.rng)
        for name, array in self.arrays().items():
            array[rows] = fresh.arrays()[name]

    def arrays(self) -> dict[str, Floats]:
        """Every array that these people consist of, for saving; the arrays themselves."""
        names = ("level", "mood", "engagement", "burden", "lift", "pull")
        return {name: getattr(self, name) for name in names}

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Puts back what `arrays` gave."""
        self._draw(len(arrays["level"]))
        for name, array in self.arrays().items():
            array[...] = arrays[name]


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
