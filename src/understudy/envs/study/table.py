"""What a cohort of a study looks like as a table, whether it keeps the study's rules, what it says.

The running totals of a day are good for a state and bad for statistics: an effect on the morning
would be counted again in the evening. `measures` has what each decision added instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from understudy.envs.study.course import rewards
from understudy.envs.study.declare import RUNNING, Derived, Study
from understudy.ops.cohort import Bools, Cohort, Column, Floats

MOST_LEVELS = 40
"""A measure with more whole numbers than these is counted in twenty steps."""
CLOSE = 1e-4
"""Rewards and standard deviations in files may be rounded to this."""


def columns(study: Study) -> tuple[Column, ...]:
    """The columns of a cohort's file, in order, but for the person; raw reports may be missing."""
    names = study.names
    found = [
        Column(names.day, "whole", 0, study.days - 1),
        Column(names.part, "category", levels=study.parts),
        Column(names.action, "category", levels=tuple(a.name for a in study.actions)),
    ]
    for derived in study.derived:
        kind = "whole" if study.whole(derived.name) else "number"
        found.append(Column(derived.name, kind, *study.range_of(derived.name)))
    found.append(Column(names.reward, "number"))
    for report in study.reported:
        kind = "values" if report.kind == "ratings" else report.kind
        most = study.capacity(report) if report.kind == "ratings" else 0
        found.append(Column(report.name, kind, report.low, report.high, (), most, required=False))
    found.append(Column("propensity", "number", 0, 1, required=False))
    return tuple(found)


def follows(study: Study, cohort: Cohort) -> Bools:
    """[R] whether a row is of the same person's same day as the row before it."""
    day = cohort[study.names.day]
    same = np.zeros(cohort.rows, dtype=np.bool_)
    same[1:] = day[1:] == day[:-1]
    return same & ~cohort.first


def added(study: Study, cohort: Cohort, name: str) -> Floats:
    """[R] what a decision added to a running total of its day."""
    now = cohort[name]
    before = np.zeros_like(now)
    before[1:] = now[:-1]
    return now - np.where(follows(study, cohort), before, 0.0)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that is told of every decision, and compared between cohorts."""

    name: str
    source: str
    """The column it comes from."""
    low: float
    high: float
    step: float
    """Between the levels at which it is counted; its own where it has one."""
    kind: Literal["as it is", "added", "mean", "sd"]

    @property
    def levels(self) -> Floats:
        """[L] from `low` to `high`."""
        return np.linspace(self.low, self.high, round((self.high - self.low) / self.step) + 1)


def measures(study: Study) -> tuple[Measure, ...]:
    """What is told of each decision.

    Running totals become what was added (`X.new`), other derived variables are as they are, scalar
    reports are as they are, a list of ratings becomes its mean (`X.mean`, NaN where it is empty) and
    its standard deviation (`X.sd`, of the sample; NaN below two). Messages sent are the action
    itself, and left out.
    """
    return tuple(_measures(study))


def _measures(study: Study) -> Iterator[Measure]:
    for derived in study.derived:
        name, (low, high) = derived.name, study.range_of(derived.name)
        if derived.rule == "received":
            continue
        step = _step(study, derived)
        if derived.rule in RUNNING:
            if derived.rule == "sum" and not study.report(derived.of).budget:
                low, high = study.report(derived.of).low, study.report(derived.of).high
                step = _coarse(low, high, study.report(derived.of).kind != "number")
            yield Measure(f"{name}.new", name, low, high, step, "added")
        else:
            yield Measure(name, name, low, high, step, "as it is")
    for report in study.reported:
        low, high = report.low, report.high
        if report.kind == "ratings":
            step = 0.5 if high - low <= MOST_LEVELS / 2 else _coarse(low, high, False)
            yield Measure(f"{report.name}.mean", report.name, low, high, step, "mean")
            most = (high - low) / 2**0.5
            yield Measure(f"{report.name}.sd", report.name, 0.0, most, most / 20, "sd")
        elif not any(d.rule == "sum" and d.of == report.name for d in study.derived):
            step = _coarse(low, high, report.kind == "whole")
            yield Measure(report.name, report.name, low, high, step, "as it is")
    name, (low, high) = study.names.reward, study.reward_range()
    yield Measure(name, name, low, high, _coarse(low, high, False), "as it is")


def _step(study: Study, derived: Derived) -> float:
    low, high = study.range_of(derived.name)
    if derived.rule == "median" and study.report(derived.of).kind != "number":
        return 0.5 if high - low <= MOST_LEVELS / 2 else _coarse(low, high, False)
    return _coarse(low, high, study.whole(derived.name))


def _coarse(low: float, high: float, whole: bool) -> float:
    if whole and high - low <= MOST_LEVELS:
        return 1.0
    return max((high - low) / 20, 1e-9)


def measured(study: Study, cohort: Cohort) -> dict[str, Floats]:
    """[R] each: the measures of a cohort that it has the columns for."""
    found: dict[str, Floats] = {}
    for measure in measures(study):
        if measure.source not in cohort.columns:
            continue
        values = cohort[measure.source]
        if measure.kind == "added":
            values = added(study, cohort, measure.source)
        elif measure.kind != "as it is":
            n, mean, square = _moments(values)
            values = mean if measure.kind == "mean" else np.sqrt(_over(square, n - 1))
        found[measure.name] = values
    return found


def _moments(lists: Floats) -> tuple[Floats, Floats, Floats]:
    """[R] each, of lists [R, K] that end in NaN: lengths, means, sums of squares around them."""
    there = ~np.isnan(lists)
    n = there.sum(axis=1).astype(np.float64)
    mean = _over(np.where(there, lists, 0.0).sum(axis=1), n)
    off = np.where(there, lists - mean[:, None], 0.0)
    return n, mean, (off**2).sum(axis=1)


def _over(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)


def variables(study: Study) -> tuple[Column, ...]:
    """The derived variables, whose distributions are compared between cohorts."""
    wanted = {d.name for d in study.derived}
    return tuple(c for c in columns(study) if c.name in wanted)


def left(study: Study, cohort: Cohort) -> Bools:
    """[P] whose rows end before the last day of the study."""
    last = cohort.starts + np.maximum(cohort.lengths, 1) - 1
    return (cohort.lengths == 0) | (cohort[study.names.day][last] < study.days - 1)


def rules(study: Study, cohort: Cohort) -> dict[str, Bools]:
    """[R] each: which rows keep each of the study's rules, by the rule in words."""
    return dict(_rules(study, cohort))


def _rules(study: Study, cohort: Cohort) -> Iterator[tuple[str, Bools]]:
    same = follows(study, cohort)
    for column in columns(study):
        values = cohort.columns.get(column.name)
        if values is None or column.kind in ("values", "category"):
            continue
        inside = (values >= column.low - CLOSE) & (values <= column.high + CLOSE)
        whole = np.floor(values) == values if column.kind == "whole" else True
        yield f"{column.name} is in its range", inside & whole
    sends = np.array([a.message for a in study.actions])
    sent = sends[cohort[study.names.action].astype(np.int64)]
    for derived in study.derived:
        change = added(study, cohort, derived.name)
        if derived.rule == "received":
            yield f"{derived.name} counts the messages", change == sent
        elif derived.rule in ("count", "between"):
            yield f"{derived.name} only grows during a day", change >= 0
        yield from _budget(study, cohort, derived)
        if derived.rule in ("max", "min"):
            yield from _extreme(cohort, derived, same)
    derived = {d.name: cohort[d.name] for d in study.derived}
    expected = rewards(study, derived)
    paid = cohort[study.names.reward]
    yield "the reward is what the study says", np.abs(paid - expected) <= CLOSE
    part = cohort[study.names.part]
    later = np.zeros(cohort.rows, dtype=np.bool_)
    later[1:] = part[1:] > part[:-1]
    yield "the parts of a day are in order", ~same | later


def _budget(study: Study, cohort: Cohort, derived: Derived) -> Iterator[tuple[str, Bools]]:
    if derived.rule != "sum":
        return
    budget = study.report(derived.of).budget
    if budget:
        yield f"{derived.name} is at most {budget}", cohort[derived.name] <= cohort[budget]


def _extreme(cohort: Cohort, derived: Derived, same: Bools) -> Iterator[tuple[str, Bools]]:
    """A day's greatest value cannot fall, nor its least rise, once there is one."""
    now = cohort[derived.name]
    before = np.zeros_like(now)
    before[1:] = now[:-1]
    sign = 1.0 if derived.rule == "max" else -1.0
    word = "fall" if derived.rule == "max" else "rise"
    kept = sign * now >= sign * before
    yield f"{derived.name} does not {word} during a day", ~same | (before == 0) | kept
