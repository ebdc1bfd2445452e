"""Ratings from a day's totals: files often keep how many there were, not which.

The count, extremes, median, standard deviation and so on of a day so far leave few lists of
ratings possible, mostly one; and a later list of a day must contain the earlier. `recover` finds
a chain of lists through each day that fits everything.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from understudy.envs.study.course import derive
from understudy.envs.study.declare import Reported, Study
from understudy.envs.study.table import follows
from understudy.ops.cohort import Cohort, Floats

MOST = 200_000
"""Lists of ratings of one day; where more are possible, nothing is recovered."""
CLOSE = 2e-3
"""Derived values that agree to this agree; files are rounded."""
Counts = tuple[int, ...]
"""How often each level is in a list."""
Lists = dict[tuple[int, ...], list[tuple[Floats, Counts]]]
"""Lists with their derived values, by these rounded to whole numbers downwards and upwards."""


def recover(study: Study, cohort: Cohort) -> tuple[Cohort, dict[str, float]]:
    """Adds the lists of ratings that a cohort lacks, as far as its totals say.

    Args:
        study: the declaration.
        cohort: people with the study's derived variables.

    Returns:
        The cohort with a column for each list it lacked, where that is possible, and by its name
        the share of rows where only one list was. Rows of a day that contradicts itself are empty.
    """
    shares: dict[str, float] = {}
    for reported in study.reported:
        if reported.name in cohort.columns or reported.kind != "ratings":
            continue
        lists = _lists(study, reported)
        if lists is None:
            continue
        column, shares[reported.name] = _column(study, cohort, reported, lists)
        cohort = cohort.with_columns(**{reported.name: column})
    return cohort, shares


def _names(study: Study, reported: Reported) -> list[str]:
    return [d.name for d in study.derived if d.of == reported.name]


def _keys(values: Floats) -> set[tuple[int, ...]]:
    """The whole numbers next to which values may lie; two where rounding could decide."""
    near = [sorted({math.floor(v - CLOSE), math.floor(v + CLOSE)}) for v in values.tolist()]
    return set(itertools.product(*near))


def _fitting(lists: Lists, values: Floats) -> list[Counts]:
    """The lists whose derived values are these."""
    key = tuple(math.floor(v + CLOSE) for v in values.tolist())
    return [c for own, c in lists.get(key, []) if np.abs(own - values).max() <= CLOSE]


def _lists(study: Study, reported: Reported) -> Lists | None:
    """Every possible list of a day, by its derived values; None where there are too many."""
    levels = np.arange(reported.low, reported.high + 1)
    most = reported.per_day
    rules = {d.rule for d in study.derived if d.of == reported.name}
    if "count" not in rules or math.comb(most + len(levels), most) > MOST:
        return None
    counts = [
        np.bincount(np.array(chosen, dtype=np.int64), minlength=len(levels))
        for n in range(most + 1)
        for chosen in itertools.combinations_with_replacement(range(len(levels)), n)
    ]
    values = np.full((len(counts), most), np.nan)
    for row, count in enumerate(counts):
        values[row, : count.sum()] = np.repeat(levels, count)
    empty = {r.name: np.full((len(counts), 1), np.nan) for r in study.reported}
    derived = derive(study, {**empty, reported.name: values}, np.zeros(len(counts)))
    table = np.stack([derived[name] for name in _names(study, reported)], axis=1)
    found: Lists = {}
    for row, count in zip(table, counts, strict=True):
        for key in _keys(row):
            found.setdefault(key, []).append((row, tuple(count.tolist())))
    return found


def _column(study: Study, cohort: Cohort, reported: Reported, lists: Lists) -> tuple[Floats, float]:
    table = np.stack([cohort[name] for name in _names(study, reported)], axis=1)
    levels = np.arange(reported.low, reported.high + 1)
    column = np.full((cohort.rows, reported.per_day), np.nan)
    begins = np.flatnonzero(~follows(study, cohort)).tolist()
    alone = 0
    for begin, end in itertools.pairwise([*begins, cohort.rows]):
        options = [_fitting(lists, table[row]) for row in range(begin, end)]
        chains = _chains(options, (0,) * len(levels))
        before = (0,) * len(levels)
        for row, now in zip(range(begin, end), chains[0] if chains else (), strict=False):
            new = np.repeat(levels, np.subtract(now, before))
            column[row, : len(new)] = new
            before = now
        alone += sum(len({c[i] for c in chains}) == 1 for i in range(end - begin))
    return column, alone / max(cohort.rows, 1)


def _chains(options: list[list[Counts]], before: Counts, most: int = 20) -> list[list[Counts]]:
    """Up to `most` ways through a day in which each list contains the one before."""
    if not options:
        return [[]]
    found: list[list[Counts]] = []
    for now in options[0]:
        if all(n >= b for n, b in zip(now, before, strict=True)):
            found += [[now, *rest] for rest in _chains(options[1:], now, most)]
            if len(found) >= most:
                break
    return found[:most]
