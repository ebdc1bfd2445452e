"""One decision about one person in so few characters that a small language model can play them.

    low-mood day 12/30 evening
    person 4 6 7
    none 3 5 0, encouraging 5 6 6, informing 4 5 6, affirming 3 5 6
    2:45 0 n|0: 1 e|1:5 0 n
    today 1:6 1 e|0: 0 n
    now informing, up to 6, read up to 2
    Reports:

A trait is a digit, 0 to 9 from its least to its greatest value. A moment is the number of ratings
and the ratings themselves, other reports, and the action's letter. An answer is a moment without
the letter, and at the end of a day 1 if the person leaves for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.envs.study.course import Caps, Course
from understudy.envs.study.declare import Reported, Study, StudyError
from understudy.envs.study.diary import Entry, Values
from understudy.envs.study.persona import Typical, traits
from understudy.ops.cohort import Floats

DAYS = 3
"""Days of a person's own past that are shown."""
FINE = 100
"""Levels of a number that has more than ten values: two digits."""


@dataclass(frozen=True, slots=True)
class Room:
    """What one person may still report: of each reported variable, (low, high, how many)."""

    caps: Mapping[str, tuple[float, float, int]]
    may_leave: bool


class Lines:
    """A study's questions and answers."""

    def __init__(self, study: Study) -> None:
        """Codes for each reported variable.

        Raises:
            StudyError: more than nine ratings a day.
        """
        self.study = study
        self._traits = traits(study)
        self._letters = _letters([action.name for action in study.actions])
        for report in study.reported:
            if report.kind == "ratings" and report.per_day > 9:
                raise StudyError(f"{study.name}: {report.name} has more than 9 a day")

    def question(
        self, persona: Floats, typical: Typical, past: Sequence[Entry], day: int, part: int,
        action: int, room: Room,
    ) -> str:  # fmt: skip
        """What is asked about one person.

        Args:
            persona: [K] their traits.
            typical: of everybody.
            past: their entries so far.
            day: from 0.
            part: of the day.
            action: what is done now.
            room: what may be reported.
        """
        study = self.study
        by_action = ", ".join(
            f"{a.name} {self._digits(row)}"
            for a, row in zip(study.actions, typical.by_action, strict=True)
        )
        days = [
            "|".join(self._moment(e) for e in past if e.day == d)
            for d in range(max(0, day - DAYS), day)
        ]
        today = "|".join(self._moment(e) for e in past if e.day == day)
        limits = ", ".join(self._limit(r, room) for r in study.reported)
        limits += ", leave 0 or 1" if room.may_leave else ""
        return "\n".join(
            [
                f"{study.name} day {day + 1}/{study.days} {study.parts[part]}",
                f"person {self._digits(persona)}",
                by_action,
                *(text or "-" for text in days),
                f"today {today or '-'}",
                f"now {study.actions[action].name}, {limits}",
                "Reports:",
            ]
        )

    def pattern(self, room: Room) -> str:
        """A regular expression that every possible answer matches, and no other text."""
        parts = [self._pattern(r, room) for r in self.study.reported]
        return " ".join(parts) + (" [01]" if room.may_leave else "")

    def write(self, reports: Mapping[str, Values], *, leaves: bool | None = None) -> str:
        """The answer that states these reports; `leaves` is None where nobody can."""
        parts = [self._write(r, reports[r.name]) for r in self.study.reported]
        end = [] if leaves is None else [str(int(leaves))]
        return " ".join([*parts, *end])

    def read(self, text: str, room: Room) -> tuple[dict[str, Values], bool]:
        """The reports that an answer states, and whether the person leaves.

        Raises:
            StudyError: not an answer that is possible now.
        """
        if not re.fullmatch(self.pattern(room), text.strip()):
            raise StudyError(f"{text[:40]!r} is no answer of the form {self.pattern(room)[:80]}")
        words = text.split()
        found: dict[str, Values] = {}
        for report, word in zip(self.study.reported, words, strict=False):
            if report.kind == "ratings":
                found[report.name] = tuple(self.value(report, c) for c in word.split(":")[1])
            else:
                low, high, _ = room.caps[report.name]
                found[report.name] = (float(np.clip(self.value(report, word), low, high)),)
        return found, room.may_leave and words[-1] == "1"

    def value(self, report: Reported, code: str) -> float:
        """The value of a code of one or two digits."""
        if _plain(report):
            return float(code)
        value = report.low + (report.high - report.low) * int(code) / (FINE - 1)
        return value if report.kind == "number" else float(np.rint(value))

    def code(self, report: Reported, value: float) -> str:
        """The digits nearest to a value."""
        if _plain(report):
            return f"{value:.0f}"
        share = (value - report.low) / (report.high - report.low)
        return f"{round(share * (FINE - 1)):02d}"

    def _pattern(self, report: Reported, room: Room) -> str:
        low, high, most = room.caps[report.name]
        one = _codes(self.code(report, low), self.code(report, high))
        if report.kind != "ratings":
            return one
        return "(" + "|".join(f"{n}:" + one * n for n in range(most + 1)) + ")"

    def _write(self, report: Reported, values: Values) -> str:
        codes = "".join(self.code(report, v) for v in values)
        return f"{len(values)}:{codes}" if report.kind == "ratings" else codes

    def _moment(self, entry: Entry) -> str:
        return f"{self.write(entry.reports)} {self._letters[entry.action]}"

    def _limit(self, report: Reported, room: Room) -> str:
        _, high, most = room.caps[report.name]
        if report.kind == "ratings":
            return f"up to {most}"
        return f"{report.name} up to {self.code(report, high)}"

    def _digits(self, values: Floats) -> str:
        shares = [(v - t.low) / (t.high - t.low) for v, t in zip(values, self._traits, strict=True)]
        return " ".join("-" if np.isnan(s) else str(round(9 * min(1, max(0, s)))) for s in shares)


def room_of(course: Course, caps: Mapping[str, Caps], row: int) -> Room:
    """What one of a course's people may report; `caps` are those of everybody's action."""
    study, last = course.study, len(course.study.parts) - 1
    leaves = study.drop_out is not None and int(course.memory.part[row]) == last
    limits = {
        name: (float(cap.low[row]), float(cap.high[row]), int(cap.most[row]))
        for name, cap in caps.items()
    }
    return Room(limits, leaves)


def _plain(report: Reported) -> bool:
    """Whether every value is a digit as it is."""
    return report.kind != "number" and report.low >= 0 and report.high <= 9


def _codes(low: str, high: str) -> str:
    """A pattern of the codes from one to another."""
    if len(low) == 1:
        return f"[{low}-{high}]"
    if low[0] == high[0]:
        return f"{low[0]}[{low[1]}-{high[1]}]"
    first, last = int(low[0]) + 1, int(high[0]) - 1
    middle = [f"[{first}-{last}][0-9]"] if first <= last else []
    return "(" + "|".join([f"{low[0]}[{low[1]}-9]", *middle, f"{high[0]}[0-{high[1]}]"]) + ")"


def _letters(names: Sequence[str]) -> list[str]:
    """A letter for each name: its first that is not taken yet."""
    found: list[str] = []
    for name in names:
        free = [c for c in name.lower() + "abcdefghijklmnopqrstuvwxyz" if c not in found]
        found.append(free[0])
    return found
