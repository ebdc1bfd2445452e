"""N people on their way through a study: what each has reported today, what is known of each.

`Memory` keeps what a decision may depend on and is fed by what follows from reports (the derived
variables), so that the states of people in a file and of people who are being simulated come from
the same code. `Course` adds the reports themselves and the limits that hold for the next ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from understudy.envs.study.declare import Derived, Study
from understudy.ops.cohort import Bools, Cohort, Floats, Ints

Reports = Mapping[str, Floats]
"""By reported variable: [N], or [N, K] for ratings, with NaN after the last of each row."""
Values = dict[str, Floats]


class Outcome(NamedTuple):
    """What came of one decision about N people."""

    rewards: Floats
    """[N]"""
    derived: Values
    """[N] each, as they are after the reports."""
    left: Bools
    """[N] who left for good with it."""
    done: Bools
    """[N] who left, or has come to the end of the study."""


def derive(study: Study, values: Mapping[str, Floats], received: Floats) -> Values:
    """The derived variables of a day so far.

    Args:
        study: the declaration.
        values: by reported variable, [N, M] what was reported today, NaN where nothing was (yet).
        received: [N] messages sent today.
    """
    return {d.name: _derive(d, values, received) for d in study.derived}


def _derive(derived: Derived, values: Mapping[str, Floats], received: Floats) -> Floats:
    if derived.rule == "received":
        return received.astype(np.float64)
    of = values[derived.of]
    there = ~np.isnan(of)
    n = there.sum(axis=1)
    total = np.where(there, of, 0.0).sum(axis=1)
    mean = total / np.maximum(n, 1)
    if derived.rule == "count":
        return n.astype(np.float64)
    if derived.rule == "sum":
        return total
    if derived.rule == "all":
        return ((received > 0) & (total == received)).astype(np.float64)
    if derived.rule == "between":
        inside = there & (of >= derived.start) & (of <= derived.stop)
        return inside.sum(axis=1).astype(np.float64)
    if derived.rule == "mean":
        return mean
    if derived.rule == "sd":
        return np.sqrt((np.where(there, of - mean[:, None], 0.0) ** 2).sum(1) / np.maximum(n, 1))
    ordered = np.sort(of, axis=1)  # NaN last
    last = np.maximum(n - 1, 0)
    at = {"min": (0 * n, 0 * n), "max": (last, last), "median": (last // 2, n // 2)}[derived.rule]
    rows = np.arange(len(of))
    middle = (ordered[rows, at[0]] + ordered[rows, np.minimum(at[1], last)]) / 2
    return np.where(n > 0, middle, 0.0)


def rewards(study: Study, derived: Mapping[str, Floats]) -> Floats:
    """[N] the declared reward, from the derived variables after the reports."""
    total = np.zeros(len(next(iter(derived.values()))))
    for term in study.reward:
        value = derived[term.value]
        if term.over:
            over = derived[term.over]
            value = np.divide(value, over, out=np.zeros_like(value), where=over != 0)
        total += term.weight * value
    return total


class Memory:
    """What is known of N people before their next decision."""

    def __init__(self, study: Study, n: int) -> None:
        self._study = study
        self.day: Ints = np.zeros(n, dtype=np.int64)
        self.part: Ints = np.zeros(n, dtype=np.int64)
        names = [d.name for d in study.derived]
        self.today: Values = {name: np.zeros(n) for name in names}
        self.yesterday: Values = {name: np.zeros(n) for name in names}
        self._positive = {name: np.full(n, -1, dtype=np.int64) for name in names}
        self.actions: Ints = np.full((n, study.state.last_actions), -1, dtype=np.int64)
        """[N, K] the last actions, the latest first; -1 where there was none."""

    def enter(self, rows: Ints, day: Ints, part: Ints) -> None:
        """Some people come to a decision point; a new day begins with nothing reported.

        Args:
            rows: [n] who.
            day: [n] which day, from 0. Where a day was left out, nothing is known of yesterday.
            part: [n] which part of it.
        """
        new, next_day = day != self.day[rows], day == self.day[rows] + 1
        for name, now in self.today.items():
            kept = np.where(next_day, now[rows], 0.0)
            self.yesterday[name][rows] = np.where(new, kept, self.yesterday[name][rows])
            now[rows] = np.where(new, 0.0, now[rows])
        self.day[rows], self.part[rows] = day, part

    def after(self, rows: Ints, actions: Ints, derived: Mapping[str, Floats]) -> None:
        """What was done, and what follows from the reports after it ([n] each)."""
        for name, now in self.today.items():
            now[rows] = derived[name]
            positive = self._positive[name]
            positive[rows] = np.where(derived[name] > 0, self.day[rows], positive[rows])
        if self.actions.shape[1]:
            self.actions[rows, 1:] = self.actions[rows, :-1]
            self.actions[rows, 0] = actions

    def since(self, name: str) -> Floats:
        """[N] days since a derived variable was above 0."""
        return (self.day - self._positive[name]).astype(np.float64)

    def state(self) -> Floats:
        """[N, D] the features that the study declares, in the order of `Study.features`."""
        study, kept = self._study, self._study.state
        columns: list[Floats] = [self.day.astype(np.float64)]
        columns += [(self.part == p).astype(np.float64) for p in range(len(study.parts))]
        columns += [self.today[name] for name in kept.today]
        columns += [self.yesterday[name] for name in kept.yesterday]
        columns += [self.since(name) for name in kept.since]
        for back in range(kept.last_actions):
            last = self.actions[:, back]
            columns += [(last == a).astype(np.float64) for a in range(len(study.actions))]
        return np.stack(columns, axis=1)

    def arrays(self) -> dict[str, Floats | Ints]:
        """Every array that it consists of, by name; the arrays themselves, not copies."""
        found: dict[str, Floats | Ints] = {
            "day": self.day, "part": self.part, "actions": self.actions
        }  # fmt: skip
        for kind in ("today", "yesterday", "_positive"):
            for name, array in getattr(self, kind).items():
                found[f"{kind}.{name}"] = array
        return found


def states(study: Study, cohort: Cohort) -> tuple[Floats, Floats]:
    """What was known before each decision of a cohort, from its rows before it.

    Args:
        study: the declaration.
        cohort: people with the columns of the study's day, part, action and derived variables.

    Returns:
        [R, D] before each decision, and [P, D] after each person's last.
    """
    n, names, parts = len(cohort), study.names, len(study.parts)
    memory = Memory(study, n)
    before, ends = np.zeros((cohort.rows, len(study.features()))), memory.state()
    for t in range(int(cohort.lengths.max(initial=0))):
        rows = np.flatnonzero(cohort.lengths > t)
        at = cohort.starts[rows] + t
        day, part = (cohort[c][at].astype(np.int64) for c in (names.day, names.part))
        memory.enter(rows, day, part)
        before[at] = memory.state()[rows]
        derived = {d.name: cohort[d.name][at] for d in study.derived}
        memory.after(rows, cohort[names.action][at].astype(np.int64), derived)
        over = rows[cohort.lengths[rows] == t + 1]
        evening = memory.part[over] == parts - 1
        memory.enter(over, memory.day[over] + evening, (memory.part[over] + 1) % parts)
        ends[over] = memory.state()[over]
    return before, ends


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may still be reported after an action: of one reported variable, [N]."""

    low: Floats
    high: Floats
    """Of each value."""
    most: Ints
    """Of ratings: how many more today; of others: 1."""


class Course:
    """N people of whom each is at a decision point of its own."""

    def __init__(self, study: Study, n: int) -> None:
        self.study = study
        self._sends = np.array([a.message for a in study.actions])
        self._begin(n)

    def _begin(self, n: int) -> None:
        self.memory = Memory(self.study, n)
        self._values = {
            r.name: np.full((n, self.study.capacity(r)), np.nan) for r in self.study.reported
        }
        self._received = np.zeros(n)

    def __len__(self) -> int:
        return len(self._received)

    def reset(self, rows: Bools) -> None:
        """Those people are replaced by others at the start of the study."""
        fresh = Course(self.study, int(rows.sum()))
        for name, array in self.arrays().items():
            array[rows] = fresh.arrays()[name]

    def caps(self, actions: Ints) -> dict[str, Caps]:
        """What reports are possible now, if these actions are taken ([N])."""
        received = self._received + self._sends[actions]
        return {r.name: self._caps(r.name, received) for r in self.study.reported}

    def _caps(self, name: str, received: Floats) -> Caps:
        report, n = self.study.report(name), len(self)
        values = self._values[name]
        there = ~np.isnan(values)
        low, high = np.full(n, report.low), np.full(n, report.high)
        if report.budget:
            high = np.minimum(high, received - np.where(there, values, 0.0).sum(axis=1))
        if report.kind == "ratings":
            return Caps(low, high, self.study.capacity(report) - there.sum(axis=1))
        return Caps(low, high, np.ones(n, dtype=np.int64))

    def step(self, actions: Ints, reports: Reports, leaving: Bools) -> Outcome:
        """One decision about everybody, and what they report after it.

        Args:
            actions: [N]
            reports: within `caps(actions)`.
            leaving: [N] who would leave; people leave at the end of a day only.

        Raises:
            ValueError: a report that the caps do not allow; it is named.
        """
        caps = self.caps(actions)
        self._received = self._received + self._sends[actions]
        for name, cap in caps.items():
            self._add(name, np.asarray(reports[name], dtype=np.float64), cap)
        derived = derive(self.study, self._values, self._received)
        everybody = np.arange(len(self))
        self.memory.after(everybody, actions, derived)
        memory, parts = self.memory, len(self.study.parts)
        evening = memory.part == parts - 1
        left = leaving & evening if self.study.drop_out is not None else np.zeros_like(evening)
        day = memory.day + evening
        memory.enter(everybody, day, (memory.part + 1) % parts)
        self._received = np.where(evening, 0.0, self._received)
        for values in self._values.values():
            values[evening] = np.nan
        return Outcome(rewards(self.study, derived), derived, left, left | (day >= self.study.days))

    def _add(self, name: str, new: Floats, cap: Caps) -> None:
        values = self._values[name]
        new = new[:, None] if new.ndim == 1 else new
        there = ~np.isnan(new)
        outside = there & ((new < cap.low[:, None]) | (new > cap.high[:, None]))
        whole = self.study.report(name).kind != "number"
        broken = there & (np.floor(new) != new) if whole else outside
        ratings = self.study.report(name).kind == "ratings"
        count = there.sum(axis=1)
        wrong = outside.any(1) | broken.any(1) | (count > cap.most if ratings else count != 1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            allowed = f"{cap.most[row]} of {cap.low[row]:g} to {cap.high[row]:g}"
            raise ValueError(f"{name} of row {row} is {new[row].tolist()}; allowed: {allowed}")
        filled = (~np.isnan(values)).sum(axis=1)
        # Each row's new values follow those it has; the order of a row's values never matters.
        rows, columns = np.nonzero(there)
        rank = there.cumsum(axis=1)[rows, columns] - 1
        values[rows, filled[rows] + rank] = new[rows, columns]

    def arrays(self) -> dict[str, Floats | Ints]:
        """Every array that it consists of, by name, for saving; the arrays themselves."""
        found = {f"memory.{name}": array for name, array in self.memory.arrays().items()}
        found["received"] = self._received
        return {**found, **{f"values.{name}": array for name, array in self._values.items()}}

    def restore(self, arrays: Mapping[str, Floats | Ints]) -> None:
        """Puts back what `arrays` gave."""
        self._begin(len(arrays["received"]))
        for name, array in self.arrays().items():
            array[...] = arrays[name]
