"""From aggregates to the log-weights of a person's answers: which fields, what they aim at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from understudy.envs.study.declare import Reported, Study
from understudy.envs.study.lines import Lines
from understudy.envs.study.persona import traits
from understudy.lm.base import Piece, Reply, Steer
from understudy.ops.cohort import Floats
from understudy.ops.cohort_statistics import Counts, Profile
from understudy.roles.simulator.match import (
    Aims,
    Said,
    Tilt,
    fit,
    frequencies,
    neutral,
    rebin,
    stacked,
)
from understudy.roles.simulator.prompt import Asked

DIGITS = tuple("0123456789")
LEAVE = "leave"
FEW = 9
"""Values at a person's own mean that are counted with their past, so that one value is no drift."""


@dataclass(frozen=True)
class Field:
    """One kind of place in an answer where a digit is chosen."""

    name: str
    kind: Literal["count", "value", "leave"]
    report: Reported | None
    trait: int
    """Which of a person's traits it is about; -1 for none."""
    aims: Aims


class Matching:
    """The fields of a study's answers and their weights; call it with a moment for its `Steer`."""

    def __init__(self, study: Study, profile: Profile) -> None:
        """Without weights; `learn` finds them."""
        self.study, self._lines = study, Lines(study)
        self.fields = tuple(_fields(study, profile))
        self.tilts = {field.name: neutral(field.aims) for field in self.fields}

    def __call__(self, asked: Asked) -> Steer:
        """The weights at every place of an answer."""
        rules: list[tuple[str, tuple[Piece, ...]]] = []
        for field in self.fields:
            if field.kind == "leave" and not asked.room.may_leave:
                continue
            deviations = self._deviations(field, asked)
            weights = self.tilts[field.name].weights(asked.part, asked.action, deviations)
            pieces = tuple(
                (DIGITS[i], float(weights[i])) for i in self._possible(field, asked) if i < 10
            )
            rules += [(place, pieces) for place in self._places(field, asked)]
        return Steer(tuple(rules))

    def learn(self, heard: Sequence[tuple[Asked, Reply]], carried: float = 1.0) -> None:
        """Fits the weights to what the model said at the moments of a cohort.

        Args:
            heard: questions and replies.
            carried: share of what is carried from one value to the next that is aimed at. While
                pasts are not yet what they will be, all of it makes values run away to the ends.
        """
        rows: dict[str, list[Any]] = {field.name: [] for field in self.fields}
        for asked, reply in heard:
            steered = iter(reply.steered)
            for field, pieces in zip(self._order(asked, reply.text), steered, strict=True):
                deviations = self._deviations(field, asked)
                logprobs = np.full(len(field.aims.values), -np.inf)
                for piece, logprob in pieces:
                    logprobs[int(piece)] = logprob
                rows[field.name].append((asked.part, asked.action, deviations, logprobs))
        for field in self.fields:
            if rows[field.name]:
                said: Said = stacked(rows[field.name])
                aims = field.aims.carrying(carried)
                self.tilts[field.name] = fit(aims, said, self.tilts[field.name])

    def state(self) -> dict[str, Any]:
        """The weights as JSON."""
        return {name: tilt.state() for name, tilt in self.tilts.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to the weights that `state` gave."""
        self.tilts = {name: Tilt.of(tilt) for name, tilt in state.items()}

    def _order(self, asked: Asked, text: str) -> list[Field]:
        """The fields of the places in an answer that were weighed, in order."""
        by_report = {(f.kind, f.report.name if f.report else ""): f for f in self.fields}
        found: list[Field] = []
        for report, word in zip(self.study.reported, text.split(), strict=False):
            if report.kind == "ratings":
                found.append(by_report["count", report.name])
                found += [by_report["value", report.name]] * int(word[0])
            else:
                found.append(by_report["value", report.name])
        if asked.room.may_leave:
            found.append(by_report["leave", ""])
        return found

    def _places(self, field: Field, asked: Asked) -> list[str]:
        """Patterns of the text before each place of a field."""
        report = field.report
        if report is None:
            return [r"(\S+ )" + f"{{{len(self.study.reported)}}}"]
        before = r"(\S+ )" + f"{{{self.study.reported.index(report)}}}"
        if field.kind == "count" or report.kind != "ratings":
            return [before]
        width = len(self._lines.code(report, report.high))
        most = asked.room.caps[report.name][2]
        return [before + rf"[{j + 1}-9]:\d{{{j * width}}}" for j in range(most)]

    def _possible(self, field: Field, asked: Asked) -> range:
        """The digits that may stand at a place of a field."""
        if field.report is None:
            return range(2)
        low, high, most = asked.room.caps[field.report.name]
        if field.kind == "count":
            return range(most + 1)
        codes = self._lines.code(field.report, low), self._lines.code(field.report, high)
        return range(int(codes[0][0]), int(codes[1][0]) + 1)

    def _deviations(self, field: Field, asked: Asked) -> Floats:
        """[3] the person's own mean and the value before, from the middle; the past, from that mean."""
        if field.report is None:
            return np.zeros(3)
        name, middle = field.report.name, field.aims.middle
        values = [entry.reports[name] for entry in asked.past]
        if field.kind == "count":
            past = [float(len(v)) for v in values]
            last = past[-1] - middle if past else 0.0
        else:
            past = [sum(v) / len(v) for v in values if v]
            last = past[-1] - middle if values and values[-1] else 0.0
        trait = float(asked.persona[field.trait])
        own = middle if np.isnan(trait) else trait
        return np.array([own - middle, last, (sum(past) - own * len(past)) / (len(past) + FEW)])


def _fields(study: Study, profile: Profile) -> list[Field]:
    found: list[Field] = []
    lines, known = Lines(study), traits(study)
    for place, trait in enumerate(known):
        report, counts = study.report(trait.reported), profile.measures.get(trait.measure)
        kind: Literal["count", "value"] = "count" if trait.kind == "rate" else "value"
        values = np.arange(10.0) if kind == "count" else _values(lines, report)
        aims = _aims(study, profile, counts, values)
        found.append(Field(f"{kind} of {report.name}", kind, report, place, aims))
    if study.drop_out is not None:
        found.append(Field(LEAVE, "leave", None, -1, _leaving(study, profile)))
    return found


def _values(lines: Lines, report: Reported) -> Floats:
    """[10] the value of each first digit; of two digits the middle of the ten."""
    if len(lines.code(report, report.high)) == 1:
        return np.arange(10.0)
    return np.array([lines.value(report, f"{tens}5") for tens in range(10)])


def _aims(study: Study, profile: Profile, counts: Counts | None, values: Floats) -> Aims:
    shape = (len(study.parts), len(study.actions), len(values))
    if counts is None or counts.table.sum() <= 0:
        return Aims(values, np.full(shape, 1 / len(values)), 0.0)
    table = frequencies(rebin(counts.table, counts.levels, values))
    every = counts.table.sum(axis=(0, 1)) / counts.table.sum()
    middle = float(every @ counts.levels)
    off = counts.levels - middle
    grid = np.linspace(counts.levels[0], counts.levels[-1], len(counts.means))
    people = counts.means.sum()
    between = float(counts.means @ (grid - middle) ** 2 / people) if people > 0 else 0.0
    within = float(every @ off**2) - between
    if between <= 0 or within <= 0 or counts.carries.sum() <= 0:
        return Aims(values, table, middle)
    n = _decisions(study, profile)
    carry = _carry(counts, n)
    # A mean of n values has noise of its own: if new people, whose traits are such means, followed
    # them fully, they would have that noise twice.
    noise = within * (1 + carry) / (1 - carry) / n
    own = float(np.sqrt(max(0.0, 1 - noise / between)))
    # A first-order autoregression around a person's mean.
    return Aims(values, table, middle, (own * (1 - carry), carry, 0.0))


def _carry(counts: Counts, n: float) -> float:
    """People's mean autocorrelation, without its bias of −(1 + 3 ρ) / n (Kendall 1954)."""
    found = float(counts.carries @ np.linspace(-1, 1, len(counts.carries)) / counts.carries.sum())
    return float(np.clip((found + 1 / n) / (1 - 3 / n), -0.9, 0.9)) if n > 4 else found


def _decisions(study: Study, profile: Profile) -> float:
    """The mean number of a person's decisions."""
    last = profile.last_days
    if last.sum() <= 0:
        return float(study.steps)
    return float(last @ np.arange(1, len(last) + 1) / last.sum()) * len(study.parts)


def _leaving(study: Study, profile: Profile) -> Aims:
    """The rate at which people leave at the end of a day."""
    last = profile.last_days
    at_risk = last[::-1].cumsum()[::-1]
    days = at_risk[:-1].sum()
    rate = float(last[:-1].sum() / days) if days > 0 else 0.0
    cell = np.array([1 - rate, rate])
    table = np.broadcast_to(cell, (len(study.parts), len(study.actions), 2)).copy()
    return Aims(np.arange(2.0), table, rate)
