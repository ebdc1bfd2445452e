"""From aggregates to the log-weights of a person's answers: which fields, what they aim at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from understudy.envs.study.declare import Reported, Study
from understudy.envs.study.lines import Lines
from understudy.envs.study.persona import Trait, traits, typical
from understudy.lm.base import Reply, Rule, Steer
from understudy.ops.cohort import Floats
from understudy.ops.cohort_statistics import Counts, Profile
from understudy.roles.simulator.match import fit, frequencies, rebin, stacked
from understudy.roles.simulator.prompt import Asked

DIGITS = tuple("0123456789")
LEAVE = "leave"
RARE = 0.002
"""Values less frequent than this in every cell say nothing of the ends of a range."""
EDGE = 0.03
"""No mean is asked for that is nearer to an end than this share of the range."""


@dataclass(frozen=True)
class Aims:
    """What the aggregates say of one field; P parts, A actions, L codes."""

    values: Floats
    """[L] of the codes."""
    table: Floats
    """[P, A, L] frequencies, each cell summing to 1."""
    own: float = 0.0
    """How far a person's mean is moved by the distance of their trait from everybody's."""
    carry: float = 0.0
    """How much of a value's distance from the person's mean is there at the next decision."""
    alike: float = 0.0
    """How much of a first rating's distance from its mean the later ones of the moment have."""
    known: bool = False
    """Whether the above are; else no mean is asked for."""

    @property
    def means(self) -> Floats:
        """[P, A] of the values."""
        return self.table @ self.values

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value that is not rare."""
        some = self.values[self.table.max(axis=(0, 1)) > RARE]
        return float(some[0]), float(some[-1])


@dataclass(frozen=True)
class Field:
    """One kind of place in an answer where a digit is chosen."""

    name: str
    kind: Literal["count", "value", "later", "leave"]
    """later: a moment's values after the first."""
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
        self._typical = typical(study, profile).everybody
        self.weights = {field.name: np.zeros_like(field.aims.table) for field in self.fields}
        self.room = dict[str, Floats]()
        """[P, A] mean room of the reports that have a budget, as pilots had it."""

    def __call__(self, asked: Asked) -> Steer:
        """The weights at every place of an answer."""
        rules: list[Rule] = []
        for field in self.fields:
            if field.kind == "leave" and not asked.room.may_leave:
                continue
            possible = self._possible(field, asked)
            weights = self.weights[field.name][asked.part, asked.action]
            pieces = tuple((DIGITS[i], float(weights[i])) for i in possible)
            for pattern, first in self._places(field, asked, possible):
                rules.append(Rule(pattern, pieces, self._mean(field, asked, first)))
        return Steer(tuple(rules))

    def learn(self, heard: Sequence[tuple[Asked, Reply]]) -> None:
        """Fits the weights to what the model said at the moments of a cohort."""
        rows: dict[str, list[Any]] = {field.name: [] for field in self.fields}
        for report in self.study.reported:
            if report.budget:
                self.room[report.name] = self._rooms(report, [asked for asked, _ in heard])
        for asked, reply in heard:
            order = self._order(asked, reply.text)
            for (field, first), pieces in zip(order, reply.steered, strict=True):
                logprobs = np.full(len(field.aims.values), -np.inf)
                for piece, logprob in pieces:
                    logprobs[int(piece)] = logprob
                mean = self._mean(field, asked, first)
                mean = np.nan if mean is None else mean
                rows[field.name].append((asked.part, asked.action, mean, logprobs))
        for field in self.fields:
            if rows[field.name]:
                said = stacked(rows[field.name])
                self.weights[field.name] = fit(field.aims.table, said, self.weights[field.name])

    def state(self) -> dict[str, Any]:
        """The weights as JSON."""
        return {
            "weights": {name: table.tolist() for name, table in self.weights.items()},
            "room": {name: table.tolist() for name, table in self.room.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to the weights that `state` gave."""
        self.weights = {name: np.array(t, float) for name, t in state["weights"].items()}
        self.room = {name: np.array(t, float) for name, t in state["room"].items()}

    def _mean(self, field: Field, asked: Asked, first: int) -> float | None:
        """What the next digit should be on average, given the person and their past.

        A first-order autoregression around a person's mean μ: E[x_t] = μ_t + c (x_{t-1} - μ_{t-1}).
        """
        aims, report = field.aims, field.report
        if report is None or not aims.known:
            return None
        trait, usual = float(asked.persona[field.trait]), float(self._typical[field.trait])
        own = 0.0 if np.isnan(trait) else aims.own * (trait - usual)
        mean = float(aims.means[asked.part, asked.action]) + own
        before = asked.past[-1].reports[report.name] if asked.past else ()
        if field.kind == "count" and asked.past:
            before = (float(len(before)),)
        if before:
            then = float(aims.means[asked.part - 1].mean()) + own
            mean += aims.carry * (sum(before) / len(before) - then)
        if field.kind == "later":
            mean += aims.alike * (float(aims.values[first]) - mean)
        if report.budget:
            if report.name not in self.room:
                return None
            # Of twice as much that can be read, twice as much is.
            high = asked.room.caps[report.name][1]
            mean *= high / max(float(self.room[report.name][asked.part, asked.action]), 1e-9)
        low, high = aims.ends
        mean = float(np.clip(mean, low + EDGE * (high - low), high - EDGE * (high - low)))
        return float(np.interp(mean, aims.values, np.arange(len(aims.values))))

    def _rooms(self, report: Reported, asked: Sequence[Asked]) -> Floats:
        """[P, A] how much of a report there was room for on average."""
        total, count = np.zeros((2, len(self.study.parts), len(self.study.actions)))
        for a in asked:
            total[a.part, a.action] += a.room.caps[report.name][1]
            count[a.part, a.action] += 1
        return total / np.maximum(count, 1)

    def _order(self, asked: Asked, text: str) -> list[tuple[Field, int]]:
        """The fields of an answer's places, in order; of later values with the first one's digit."""
        by_report = {(f.kind, f.report.name if f.report else ""): f for f in self.fields}
        found: list[tuple[Field, int]] = []
        for report, word in zip(self.study.reported, text.split(), strict=False):
            if report.kind == "ratings":
                count, codes = word.split(":")
                found.append((by_report["count", report.name], 0))
                if codes:
                    found.append((by_report["value", report.name], 0))
                    later = by_report["later", report.name], int(codes[0])
                    found += [later] * (int(count) - 1)
            else:
                found.append((by_report["value", report.name], 0))
        if asked.room.may_leave:
            found.append((by_report["leave", ""], 0))
        return found

    def _places(self, field: Field, asked: Asked, possible: range) -> list[tuple[str, int]]:
        """Patterns of the text before the places of a field.

        Of later values there is one for each digit that the first may have.
        """
        report = field.report
        if report is None:
            return [(r"(\S+ )" + f"{{{len(self.study.reported)}}}", 0)]
        before = r"(\S+ )" + f"{{{self.study.reported.index(report)}}}"
        if field.kind == "count" or report.kind != "ratings":
            return [(before, 0)]
        if field.kind == "value":
            return [(before + "[1-9]:", 0)]
        width, most = len(self._lines.code(report, report.high)), asked.room.caps[report.name][2]
        if most < 2:
            return []
        rest = rf"\d{{{width - 1}}}(\d{{{width}}})"
        found: list[tuple[str, int]] = []
        for digit in possible:
            some = "|".join(f"{n}:{digit}{rest}{{0,{n - 2}}}" for n in range(2, most + 1))
            found.append((f"{before}({some})", digit))
        return found

    def _possible(self, field: Field, asked: Asked) -> range:
        """The digits that may stand at a place of a field."""
        if field.report is None:
            return range(2)
        low, high, most = asked.room.caps[field.report.name]
        if field.kind == "count":
            return range(most + 1)
        codes = self._lines.code(field.report, low), self._lines.code(field.report, high)
        return range(int(codes[0][0]), int(codes[1][0]) + 1)


def _fields(study: Study, profile: Profile) -> list[Field]:
    found: list[Field] = []
    for place, trait in enumerate(traits(study)):
        report, counts = study.report(trait.reported), profile.measures.get(trait.measure)
        kind: Literal["count", "value"] = "count" if trait.kind == "rate" else "value"
        aims = _aims(study, profile, counts, trait)
        found.append(Field(f"{kind} of {report.name}", kind, report, place, aims))
        if kind == "value" and report.kind == "ratings":
            later = replace(aims, alike=_alike(study, profile, report, aims))
            found.append(Field(f"later {report.name}", "later", report, place, later))
    if study.drop_out is not None:
        found.append(Field(LEAVE, "leave", None, -1, _leaving(study, profile)))
    return found


def _values(lines: Lines, report: Reported) -> Floats:
    """[10] the value of each first digit; of two digits the middle of the ten."""
    if len(lines.code(report, report.high)) == 1:
        return np.arange(10.0)
    return np.array([lines.value(report, f"{tens}5") for tens in range(10)])


def _aims(study: Study, profile: Profile, counts: Counts | None, trait: Trait) -> Aims:
    report = study.report(trait.reported)
    values = np.arange(10.0) if trait.kind == "rate" else _values(Lines(study), report)
    if counts is None or counts.table.sum() <= 0:
        shape = (len(study.parts), len(study.actions), len(values))
        return Aims(values, np.full(shape, 1 / len(values)))
    aims = Aims(values, frequencies(rebin(counts.table, counts.levels, values)))
    between, within = _variances(counts)
    if between <= 0 or within <= 0 or counts.carries.sum() <= 0:
        return aims
    n = _decisions(study, profile)
    of_part = aims.means.mean(axis=1) - aims.means.mean()
    left = within - float(of_part @ of_part) / len(of_part)
    carry = _carry(counts, n) * within - float(of_part @ np.roll(of_part, 1)) / len(of_part)
    # What is left of a budget carries by itself.
    carry = 0.0 if report.budget else float(np.clip(carry / left, -0.9, 0.9))
    # A mean of n values has noise of its own: if new people, whose traits are such means, followed
    # them fully, they would have that noise twice.
    noise = left * (1 + carry) / (1 - carry) / n
    own = float(np.sqrt(max(0.0, 1 - noise / between)))
    if report.budget:
        own *= _gain(study, counts)
    return replace(aims, own=own, carry=carry, known=True)


def _gain(study: Study, counts: Counts) -> float:
    """How much more of what is there somebody must take to have one more: what is taken is gone.

    With a share r taken at every decision and s coming before each, the same every day.
    """
    rows = counts.table.sum(axis=(0, 2))
    sent = float(rows @ np.array([a.message for a in study.actions])) / float(rows.sum())
    shares = np.linspace(0.01, 0.99, 99)
    left, taken = np.zeros_like(shares), np.zeros_like(shares)
    for _ in study.parts:
        left = left + sent
        taken, left = taken + shares * left / len(study.parts), (1 - shares) * left
    mean = float(counts.table.sum(axis=(0, 1)) @ counts.levels / counts.table.sum())
    gains = taken / shares / np.maximum(np.gradient(taken, shares), 1e-9)
    return float(np.clip(np.interp(mean, taken, gains), 1.0, 3.0))


def _variances(counts: Counts) -> tuple[float, float]:
    """Between people and within them."""
    every = counts.table.sum(axis=(0, 1)) / counts.table.sum()
    middle = float(every @ counts.levels)
    grid = np.linspace(counts.levels[0], counts.levels[-1], len(counts.means))
    people = counts.means.sum()
    between = float(counts.means @ (grid - middle) ** 2 / people) if people > 0 else 0.0
    return between, float(every @ (counts.levels - middle) ** 2) - between


def _alike(study: Study, profile: Profile, report: Reported, first: Aims) -> float:
    """How far a moment's later ratings follow its first, beyond what the past tells of both.

    Ratings are what the moment's share and a noise of their own each, of the variance that they
    have within moments; of n ratings the mean has an n-th of it.
    """
    spread = profile.measures.get(f"{report.name}.sd")
    if not first.known or spread is None or spread.table.sum() <= 0:
        return 0.0
    seen = spread.table.sum(axis=(0, 1))
    noise = float(seen @ spread.levels**2 / seen.sum())
    _, within = _variances(profile.measures[f"{report.name}.mean"])
    left = (within - float(first.means.var())) * (1 - first.carry**2)
    shared = max(left - noise * _share(study, profile, report), 0.0)
    return shared / (shared + noise) if shared > 0 else 0.0


def _share(study: Study, profile: Profile, report: Reported) -> float:
    """The mean of 1 / n over moments with n ratings, n > 0."""
    for trait in traits(study):
        counts = profile.measures.get(trait.measure)
        if counts and trait.kind == "rate" and trait.reported == report.name:
            some, n = counts.table.sum(axis=(0, 1))[1:], counts.levels[1:]
            return float(some @ (1 / n) / some.sum()) if some.sum() > 0 else 1.0
    return 1.0


def _carry(counts: Counts, n: float) -> float:
    """People's mean autocorrelation, without what makes it too small.

    Sums over pairs are divided by sums over all values, and some have no value before them; of n
    values the bias is −(1 + 3 ρ) / n (Kendall 1954).
    """
    found = float(counts.carries @ np.linspace(-1, 1, len(counts.carries)) / counts.carries.sum())
    if counts.moves.sum() > 0:
        found *= float(counts.table.sum() / counts.moves.sum())
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
    return Aims(np.arange(2.0), table)
