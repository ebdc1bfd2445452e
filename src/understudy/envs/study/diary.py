"""What people reported, as it is told again: everybody's own history, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from understudy.envs.study.course import Reports
from understudy.envs.study.declare import Study
from understudy.ops.cohort import Bools, Ints

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision about one person, and what they reported after it."""

    day: int
    part: int
    action: int
    reports: Mapping[str, Values]
    """By reported variable: the ratings, or one value."""


class Diary:
    """N people's entries, the oldest first."""

    def __init__(self, study: Study, n: int) -> None:
        self.study = study
        self.people: list[list[Entry]] = [[] for _ in range(n)]

    def add(self, day: Ints, part: Ints, actions: Ints, reports: Reports, rows: Bools) -> None:
        """One decision about some of them; all arguments are [N]."""
        for i in np.flatnonzero(rows).tolist():
            said = {name: _values(column[i]) for name, column in reports.items()}
            self.people[i].append(Entry(int(day[i]), int(part[i]), int(actions[i]), said))

    def forget(self, rows: Bools) -> None:
        """Others take the places of those people."""
        for i in np.flatnonzero(rows).tolist():
            self.people[i] = []


def _values(cell: np.ndarray | np.float64) -> Values:
    there = np.atleast_1d(cell)
    return tuple(there[~np.isnan(there)].tolist())
