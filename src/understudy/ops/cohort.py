"""People over time in memory: named columns of ragged rows, person after person, in time order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Kind = Literal["category", "whole", "number", "values"]


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of a cohort may hold."""

    name: str
    kind: Kind
    """category: one of `levels`, kept as its index; whole and number: one value a row; values: a
    list of whole numbers a row, kept as a row of `most` numbers with NaN after the last."""
    low: float = -math.inf
    high: float = math.inf
    levels: tuple[str, ...] = ()
    most: int = 0
    """The greatest number of values in one row."""
    required: bool = True
    """Whether a file without it cannot be read."""


@dataclass(frozen=True)
class Cohort:
    """P people with R rows in all."""

    people: tuple[str, ...]
    """[P] their ids, all different."""
    lengths: Ints
    """[P] how many rows each has."""
    columns: Mapping[str, Floats]
    """Each [R], or [R, M] where a row holds a list; person after person, each in time order."""
    starts: Ints = field(init=False)
    """[P] the first row of each."""

    def __post_init__(self) -> None:
        rows = int(self.lengths.sum())
        if len(self.people) != len(self.lengths) or len(set(self.people)) != len(self.people):
            raise ValueError("a cohort needs one length for each of its people, and distinct ids")
        for name, column in self.columns.items():
            if len(column) != rows:
                raise ValueError(f"{name} has {len(column)} rows; the lengths sum to {rows}")
        object.__setattr__(self, "starts", np.cumsum(self.lengths) - self.lengths)

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return int(self.lengths.sum())

    @property
    def person(self) -> Ints:
        """[R] whose row each is, as an index into `people`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def first(self) -> Bools:
        """[R] whether a row is its person's first; what came before it is somebody else's."""
        first = np.zeros(self.rows, dtype=bool)
        first[self.starts[self.lengths > 0]] = True
        return first

    def spans(self) -> Iterator[slice]:
        """The rows of each person."""
        for start, length in zip(self.starts, self.lengths, strict=True):
            yield slice(int(start), int(start + length))

    def take(self, chosen: Sequence[int] | Ints) -> Cohort:
        """Some of the people; one who is taken twice becomes two, the second with a new id.

        Resampling people must never join two copies of one person into one series.

        Args:
            chosen: indices into `people`, with repeats or without.
        """
        picked = np.asarray(chosen, dtype=np.int64)
        times: dict[int, int] = {}
        names: list[str] = []
        for index in picked.tolist():
            times[index] = times.get(index, 0) + 1
            copy = f"#{times[index]}" if times[index] > 1 else ""
            names.append(self.people[index] + copy)
        spans = list(self.spans())
        rows = np.concatenate(
            [np.arange(spans[i].start, spans[i].stop) for i in picked.tolist()]
            or [np.zeros(0, dtype=np.int64)]
        )
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Cohort(tuple(names), self.lengths[picked], columns)

    def select(self, keep: Bools) -> Cohort:
        """Only some rows ([R]); people who have none left are left out."""
        lengths = np.bincount(self.person[keep], minlength=len(self))
        there = np.flatnonzero(lengths)
        columns = {name: column[keep] for name, column in self.columns.items()}
        return Cohort(tuple(self.people[i] for i in there.tolist()), lengths[there], columns)

    def with_columns(self, **added: Floats) -> Cohort:
        """The same people with more (or other) columns."""
        return Cohort(self.people, self.lengths, {**self.columns, **added})
