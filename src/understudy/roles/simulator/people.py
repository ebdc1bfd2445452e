"""People of a study, played by a language model one decision point at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from understudy.envs.study.course import Course, Reports
from understudy.envs.study.declare import Study, StudyError
from understudy.envs.study.diary import Diary, Values
from understudy.envs.study.lines import Room, room_of
from understudy.envs.study.persona import recruit
from understudy.lm.base import ChatLM, Reply, Request, Unparsed
from understudy.ops.cohort import Bools, Floats, Ints
from understudy.ops.cohort_statistics import Profile
from understudy.roles.simulator.prompt import Asked, Prompts


@dataclass
class Tally:
    """How often a model was asked, and how often its answer could not be used."""

    asked: int = 0
    unusable: int = 0
    first_unusable: str = ""
    """Why the first of them could not be."""


@dataclass
class LanguagePeople:
    """N people; see `understudy.envs.study.play.People`.

    Traits are drawn from how people differ, by `rng`; everything else that is random is the model's
    sampling, whose noise follows from `seed`, the person's number and the moment, so that a cohort
    is the same in any batch and after any interruption. An answer that cannot be used is a moment
    without a report: no ratings, the least of everything else, and the person stays.
    """

    study: Study
    lm: ChatLM
    prompts: Prompts
    profile: Profile
    n: int
    rng: np.random.Generator
    seed: int
    temperature: float = 1.0
    tally: Tally = field(default_factory=Tally)
    heard: list[tuple[Asked, Reply]] | None = None
    """Where it is a list, every question and reply is noted there."""
    watch: Callable[[Tally], None] | None = None
    """Called before each moment; what it raises ends the cohort."""

    def __post_init__(self) -> None:
        self.personas: Floats = recruit(self.study, self.profile, self.n, self.rng)
        self.diary = Diary(self.study, self.n)
        self._gone: Bools = np.zeros(self.n, dtype=np.bool_)
        self._number: Ints = np.arange(self.n)
        self._newcomers = self.n

    def respond(self, course: Course, actions: Ints) -> tuple[Reports, Bools]:
        """One request for each person who is still there, all in flight together."""
        if self.watch is not None:
            self.watch(self.tally)
        caps, memory = course.caps(actions), course.memory
        here = np.flatnonzero(~self._gone)
        asked = [
            Asked(
                row, self.personas[row], self.diary.people[row], int(memory.day[row]),
                int(memory.part[row]), int(actions[row]), room_of(course, caps, row),
            )
            for row in here.tolist()
        ]  # fmt: skip
        requests = [self._request(question) for question in asked]
        said = {name: _nothing(course, name, cap.low) for name, cap in caps.items()}
        leaving = np.zeros(self.n, dtype=np.bool_)
        for question, reply in zip(asked, self.lm.chat(requests), strict=True):
            reports, leaves = self._read(reply, question.room)
            for name, values in reports.items():
                _write(said[name], question.row, values)
            leaving[question.row] = leaves
            if self.heard is not None:
                self.heard.append((question, reply))
        self.diary.add(memory.day, memory.part, actions, said, ~self._gone)
        over = memory.day + 1 >= self.study.days
        evening = memory.part == len(self.study.parts) - 1
        self._gone = self._gone | (evening & (leaving | over))
        return said, leaving

    def _request(self, asked: Asked) -> Request:
        moment = asked.day * len(self.study.parts) + asked.part
        index = int(self._number[asked.row]) * self.study.steps + moment
        return self.prompts.request(asked, self.temperature, self.seed, index)

    def _read(self, reply: Reply, room: Room) -> tuple[Mapping[str, Values], bool]:
        self.tally.asked += 1
        why = reply.value.reason if isinstance(reply.value, Unparsed) else ""
        if not why:
            try:
                return self.prompts.read(reply.value, room)
            except StudyError as error:
                why = str(error)
        self.tally.unusable += 1
        self.tally.first_unusable = self.tally.first_unusable or why
        return {}, False

    def replace(self, rows: Bools) -> None:
        """Others come, with traits and numbers of their own."""
        count = int(rows.sum())
        self.personas[rows] = recruit(self.study, self.profile, count, self.rng)
        self.diary.forget(rows)
        self._gone[rows] = False
        self._number[rows] = self._newcomers + np.arange(count)
        self._newcomers += count

    def arrays(self) -> Mapping[str, Floats]:
        """Not offered: what these people are is in the recording of their model's answers."""
        raise StudyError("people played by a model are continued from its recorded answers")

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Not offered, see `arrays`."""
        del arrays
        raise StudyError("people played by a model are continued from its recorded answers")


def _nothing(course: Course, name: str, low: Floats) -> Floats:
    """What is reported where nothing is."""
    report = course.study.report(name)
    if report.kind != "ratings":
        return low.copy()
    return np.full((len(low), course.study.capacity(report)), np.nan)


def _write(column: Floats, row: int, values: Sequence[float]) -> None:
    if column.ndim == 1:
        column[row] = values[0]
    else:
        column[row, : len(values)] = values
