"""What a cohort of a study looks like as a table, whether it keeps the study's rules, what it says.

The running totals of a day are good for a state and bad for statistics: an effect on the morning
would be counted again in the evening. `measures` has what each decision added instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.envs.study.course import rewards
from understudy.envs.study.declare import RUNNING, Derived, Study
from understudy.ops.cohort import Bools, Cohort, Column, Floats

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


def measures(study: Study, cohort: Cohort) -> dict[str, Floats]:
    """[R] each: what happened after each decision, as numbers that can be compared between cohorts.

    Running totals become what was added (`X.new`), other derived variables are as they are, scalar
    reports are as they are, a list of ratings becomes its mean (`X.mean`, NaN where it is empty).
    Messages sent are the action itself, and left out.
    """
    found: dict[str, Floats] = {}
    for derived in study.derived:
        if derived.rule == "received":
            continue
        if derived.rule in RUNNING:
            found[f"{derived.name}.new"] = added(study, cohort, derived.name)
        else:
            found[derived.name] = cohort[derived.name]
    for report in study.reported:
        if report.name not in cohort.columns or _is_told(study, report.name):
            continue
        values = cohort[report.name]
        if values.ndim == 2:
            there = ~np.isnan(values)
            total = np.where(there, values, 0.0).sum(axis=1)
            n = there.sum(axis=1)
            mean = np.full(len(values), np.nan)
            found[f"{report.name}.mean"] = np.divide(total, n, out=mean, where=n > 0)
        else:
            found[report.name] = values
    found[study.names.reward] = cohort[study.names.reward]
    return found


def _is_told(study: Study, name: str) -> bool:
    """Whether a report is nothing but what is added to the sum derived from it."""
    return any(d.rule == "sum" and d.of == name for d in study.derived)


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
