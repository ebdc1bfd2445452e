"""How a person is put to a language model, and how its answer is read.

Four layers, as in Sim-LLM: the aggregates, the study, the instructions, the form of an answer; then
one moment. They say the same to everybody and come first, so that providers can cache them. What
is new: the person's own traits and history are told, the action is told in words and before the
answer, and the form holds only what is possible at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, Field, create_model

from understudy.envs.study.declare import Reported, Study, StudyError
from understudy.envs.study.diary import Entry, Values
from understudy.envs.study.lines import Lines, Room
from understudy.envs.study.persona import traits, typical
from understudy.lm.base import Regex, Request, Sampling, Steer
from understudy.ops.cohort import Floats
from understudy.ops.cohort_statistics import Profile
from understudy.types import Message

DAYS = 7
"""Days of a person's past that are told decision by decision; of those before, the means."""
LEAVES = "leaves"


@dataclass(frozen=True, slots=True)
class Asked:
    """One moment of one person."""

    row: int
    persona: Floats
    past: Sequence[Entry]
    day: int
    part: int
    action: int
    room: Room


class Prompts(Protocol):
    """A way of asking."""

    def request(self, asked: Asked, temperature: float, seed: int, index: int) -> Request:
        """The question; `index` tells equal questions about different people apart."""
        ...

    def read(self, value: Any, room: Room) -> tuple[Mapping[str, Values], bool]:
        """Reports and whether the person leaves, from a parsed answer.

        Raises:
            StudyError: it is not possible now.
        """
        ...


class Short:
    """A few characters (`understudy.envs.study.lines`), for models trained on them."""

    def __init__(self, study: Study, profile: Profile, steer: Any = None) -> None:
        """`steer` gives the log-weights for a moment, if answers are matched to the aggregates."""
        self.study, self.lines, self._typical = study, Lines(study), typical(study, profile)
        self._steer = steer

    def request(self, asked: Asked, temperature: float, seed: int, index: int) -> Request:
        """See `Prompts`."""
        question = self.lines.question(
            asked.persona,
            self._typical,
            asked.past,
            asked.day,
            asked.part,
            asked.action,
            asked.room,
        )
        steer: Steer | None = None if self._steer is None else self._steer(asked)
        return Request(
            (Message("user", question),),
            Sampling(max_tokens=32, temperature=temperature, seed=seed),
            Regex(self.lines.pattern(asked.room)),
            index,
            steer=steer,
        )

    def read(self, value: Any, room: Room) -> tuple[Mapping[str, Values], bool]:
        """See `Prompts`."""
        return self.lines.read(value, room)


class Worded:
    """Words and JSON, for any model."""

    def __init__(self, study: Study, profile: Profile) -> None:
        """The layers that are the same for everybody are written once."""
        self.study, self._traits = study, traits(study)
        self._general = typical(study, profile)
        self.layers = "\n\n".join(
            [self._statistics(profile), self._of_study(), self._instructions(), self._form()]
        )

    def request(self, asked: Asked, temperature: float, seed: int, index: int) -> Request:
        """See `Prompts`."""
        return Request(
            (Message("system", self.layers), Message("user", self._moment(asked))),
            Sampling(max_tokens=200, temperature=temperature, seed=seed),
            self.schema(asked.room),
            index,
        )

    def schema(self, room: Room) -> type[BaseModel]:
        """The answers that are possible now, and no others."""
        fields: dict[str, Any] = {}
        for report in self.study.reported:
            low, high, most = room.caps[report.name]
            kind = float if report.kind == "number" else int
            if report.kind == "ratings":
                one = Annotated[int, Field(ge=int(low), le=int(high))]
                fields[report.name] = (list[one], Field(max_length=most))
            else:
                fields[report.name] = (kind, Field(ge=kind(low), le=kind(high)))
        if room.may_leave:
            fields[LEAVES] = (bool, Field())
        return create_model("Report", **fields)

    def read(self, value: Any, room: Room) -> tuple[Mapping[str, Values], bool]:
        """See `Prompts`."""
        found: dict[str, Values] = {}
        for report in self.study.reported:
            low, high, most = room.caps[report.name]
            said = getattr(value, report.name)
            values = tuple(map(float, said)) if report.kind == "ratings" else (float(said),)
            wrong = [v for v in values if not low <= v <= high]
            if wrong or len(values) > most:
                raise StudyError(f"{report.name} is {said}; at most {most} of {low:g} to {high:g}")
            found[report.name] = values
        return found, bool(getattr(value, LEAVES, False))

    def _statistics(self, profile: Profile) -> str:
        lines = ["What is known of the people in this study, as averages over all of them:"]
        for k, trait in enumerate(self._traits):
            by = ", ".join(
                f"{_number(row[k])} after {a.name}"
                for a, row in zip(self.study.actions, self._general.by_action, strict=True)
            )
            lines.append(
                f"- {trait.words} at a moment: {_number(self._general.everybody[k])} ({by})"
            )
            counts = profile.measures.get(trait.measure)
            if counts is not None:
                by_part = counts.table.sum(axis=1)
                lines.append(f"  {_shares(counts.levels, by_part.sum(axis=0))}")
                lines += [
                    f"  {part}: {_shares(counts.levels, row)}"
                    for part, row in zip(self.study.parts, by_part, strict=True)
                ]
        stayed = profile.last_days
        if self.study.drop_out is not None and stayed.sum() > 0:
            lines.append(f"- {stayed[:-1].sum() / stayed.sum():.0%} left before the last day")
        return "\n".join(lines)

    def _of_study(self) -> str:
        study = self.study
        actions = "\n".join(f"- {a.name}: {a.words}" for a in study.actions)
        return (
            f"{study.words}\nIt lasts {study.days} days; its moments are {', '.join(study.parts)}. "
            f"At each moment one of these is done:\n{actions}"
        )

    def _instructions(self) -> str:
        return (
            "You play one person in this study, true to what is said of them and to what they have "
            "reported so far. Real people are not consistent, not always cooperative, and often "
            "report nothing. Say what this person reports now, after what was just done; do not try "
            "to please."
        )

    def _form(self) -> str:
        lines = ["Answer with one JSON object:"]
        lines += [f"- {r.name}: {r.words}" for r in self.study.reported]
        if self.study.drop_out is not None:
            lines.append(f"- {LEAVES} (only at the end of a day): whether {self.study.drop_out}")
        return "\n".join(lines)

    def _moment(self, asked: Asked) -> str:
        study = self.study
        persona = "; ".join(
            f"{t.words} at a moment usually {_number(v)}"
            for t, v in zip(self._traits, asked.persona, strict=True)
        )
        early = [e for e in asked.past if e.day < asked.day - DAYS]
        recent = [e for e in asked.past if e.day >= asked.day - DAYS]
        lines = [f"This person: {persona}."]
        if early:
            lines.append(f"Before: {self._summary(early)}")
        lines += [self._told(entry) for entry in recent]
        action, part = study.actions[asked.action], study.parts[asked.part]
        lines.append(f"Now: day {asked.day + 1}, {part}. Done: {action.name} ({action.words}).")
        lines.append(
            f"Possible now: {'; '.join(self._possible(r, asked.room) for r in study.reported)}."
        )
        return "\n".join(lines)

    def _told(self, entry: Entry) -> str:
        study = self.study
        said = "; ".join(f"{r.name} {_listed(entry.reports[r.name])}" for r in study.reported)
        what = study.actions[entry.action].name
        return f"Day {entry.day + 1}, {study.parts[entry.part]}, {what}: {said}"

    def _summary(self, entries: Sequence[Entry]) -> str:
        parts: list[str] = []
        for report in self.study.reported:
            values = [v for e in entries for v in e.reports[report.name]]
            mean = _number(float(np.mean(values)) if values else float("nan"))
            often = (
                f"{len(values) / len(entries):.1f} a moment, " if report.kind == "ratings" else ""
            )
            parts.append(f"{report.name} {often}mean {mean}")
        return f"{len(entries)} moments, {'; '.join(parts)}"

    def _possible(self, report: Reported, room: Room) -> str:
        low, high, most = room.caps[report.name]
        if report.kind == "ratings":
            return f"at most {most} {report.name}, each {low:g} to {high:g}"
        return f"{report.name} {low:g} to {high:g}"


def _number(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.2f}".rstrip("0").rstrip(".")


def _listed(values: Values) -> str:
    return ", ".join(f"{v:g}" for v in values) or "none"


def _shares(levels: Floats, counts: Floats) -> str:
    total = max(float(counts.sum()), 1e-300)
    shown = [
        (level, n / total) for level, n in zip(levels, counts, strict=True) if n / total >= 0.005
    ]
    return ", ".join(f"{level:g}: {share:.0%}" for level, share in shown)
