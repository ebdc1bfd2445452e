"""Cohorts at rest: CSV in and out, Minari out. A file that cannot be read says why in one line."""

from __future__ import annotations

import csv
import datetime
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.jsonl import DataError
from understudy.ops.cohort import Cohort, Column, Floats, Ints


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file's rows are people in time."""

    person: str
    """The column of ids."""
    order: tuple[str, ...]
    """The columns, day first, that put a person's rows in time; no two rows have the same."""
    columns: tuple[Column, ...]
    least_people: int = 2
    """Fewer cannot be told apart from chance."""


def read_cohort(path: Path, layout: Layout) -> Cohort:
    """The cohort of a CSV file with a header; columns that the layout does not know are left.

    A day may be a number or a date (2026-11-21); a person's dates become days since their first.
    A category may be its name or its number. A list may be in brackets or between spaces.

    Raises:
        DataError: what cannot be read, or makes no sense; one line: file, row, column, what, and
            the nearest thing that would do.
    """
    header, rows = _rows(path)
    at = _positions(path, header, layout)
    if not rows:
        raise DataError(f"{path}: has a header and no rows")
    people: dict[str, int] = {}
    person = np.empty(len(rows), dtype=np.int64)
    found: dict[str, list[Any]] = {c.name: [] for c in layout.columns if c.name in at}
    dated = _is_dated(rows, at[layout.order[0]])
    for index, (line, cells) in enumerate(rows):
        name = cells[at[layout.person]].strip()
        if not name:
            raise DataError(f"{path}:{line}: {layout.person} is empty")
        person[index] = people.setdefault(name, len(people))
        for column in layout.columns:
            if column.name in found:
                day = dated and column.name == layout.order[0]
                where = f"{path}:{line}: {column.name}"
                cell = cells[at[column.name]].strip()
                found[column.name].append(
                    _date(where, cell) if day else _value(where, cell, column)
                )
    values = {name: np.asarray(column, dtype=np.float64) for name, column in found.items()}
    if dated:
        values[layout.order[0]] = _days(path, rows, layout, person, values[layout.order[0]])
    cohort = _sorted(path, rows, layout, list(people), person, values)
    if len(people) < layout.least_people:
        raise DataError(
            f"{path}: has {len(people)} person ({next(iter(people))}); at least "
            f"{layout.least_people} are needed to tell people from chance"
        )
    return cohort


def write_cohort(path: Path, cohort: Cohort, layout: Layout) -> None:
    """Writes a cohort as CSV that `read_cohort` reads back the same, replacing the file whole.

    Raises:
        DataError: the file cannot be written.
    """
    known = [c for c in layout.columns if c.name in cohort.columns]
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([layout.person, *(c.name for c in known)])
            for row, person in enumerate(cohort.person.tolist()):
                cells = [_cell(cohort[c.name][row], c) for c in known]
                writer.writerow([cohort.people[person], *cells])
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write ({error.strerror})") from error


def write_minari(
    name: str,
    cohort: Cohort,
    states: Floats,
    ends: Floats,
    action: str,
    reward: str,
    **about: Any,
) -> Any:
    """The cohort as a Minari dataset, one episode a person.

    Args:
        name: the dataset's id, as `study/low-mood-v0`.
        cohort: the people.
        states: [R, D] what was known before each decision.
        ends: [P, D] what was known after each person's last.
        action: the column of actions.
        reward: the column of rewards.
        about: what Minari's `create_dataset_from_buffers` takes besides, spaces for instance.

    Raises:
        DataError: Minari is not installed.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise DataError("Minari datasets need a package: pip install understudy[minari]") from error
    episodes = episodes_of(cohort, states, ends, action, reward)
    buffers = [EpisodeBuffer(id=index, **episode) for index, episode in enumerate(episodes)]
    return minari.create_dataset_from_buffers(dataset_id=name, buffer=buffers, **about)


def episodes_of(
    cohort: Cohort, states: Floats, ends: Floats, action: str, reward: str
) -> list[dict[str, Any]]:
    """One episode a person, as Minari names its arrays: T steps, T + 1 observations.

    See `write_minari` for the arguments.
    """
    found: list[dict[str, Any]] = []
    for person, span in enumerate(cohort.spans()):
        steps = span.stop - span.start
        if not steps:
            continue
        seen = np.concatenate([states[span], ends[person : person + 1]])
        found.append(
            {
                "observations": seen.astype(np.float32),
                "actions": cohort[action][span].astype(np.int64),
                "rewards": cohort[reward][span],
                "terminations": np.arange(steps) == steps - 1,
                "truncations": np.zeros(steps, dtype=np.bool_),
            }
        )
    return found


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with the number of its line."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    rows: list[tuple[int, list[str]]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                if len(cells) != len(header):
                    has = f"{len(cells)} cells; the header has {len(header)}"
                    raise DataError(f"{path}:{reader.line_num}: has {has}")
                rows.append((reader.line_num, cells))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason})") from error
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not CSV ({error})") from error
    if not header:
        raise DataError(f"{path}: is empty; a header of column names is needed")
    divided = next((mark for mark in ";\t|" if mark in header[0]), None)
    if len(header) == 1 and divided:
        raise DataError(f"{path}:1: its columns are divided by {divided!r}; commas are needed")
    return header, rows


def _positions(path: Path, header: list[str], layout: Layout) -> dict[str, int]:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}:1: column {twice!r} is there twice")
    wanted = [layout.person, *(c.name for c in layout.columns if c.required)]
    for name in wanted:
        if name not in header:
            others = [other for other in header if all(other != c.name for c in layout.columns)]
            close = difflib.get_close_matches(name, others, n=1)
            hint = f"the nearest is {close[0]!r}" if close else f"it has {', '.join(header)}"
            raise DataError(f"{path}:1: no column {name!r}; {hint}")
    return {name: index for index, name in enumerate(header)}


def _value(where: str, cell: str, column: Column) -> Any:
    if column.kind == "category":
        return _level(where, cell, column)
    if column.kind == "values":
        inside = cell.removeprefix("[").removesuffix("]").replace(",", " ").split()
        if len(inside) > column.most:
            raise DataError(f"{where} has {len(inside)} values; at most {column.most} are possible")
        values = [_number(where, text, column) for text in inside]
        return values + [math.nan] * (column.most - len(values))
    return _number(where, cell, column)


def _number(where: str, cell: str, column: Column) -> float:
    if not cell:
        raise DataError(f"{where} is empty; a number is needed")
    try:
        number = float(cell)
    except ValueError as error:
        raise DataError(f"{where} is {cell!r}, which is no number") from error
    if not math.isfinite(number):
        raise DataError(f"{where} is {cell}; a finite number is needed")
    if column.kind != "number" and not number.is_integer():
        raise DataError(f"{where} is {cell}; a whole number is needed")
    if not column.low <= number <= column.high:
        raise DataError(f"{where} is {cell}; it must be from {column.low:g} to {column.high:g}")
    return number


def _level(where: str, cell: str, column: Column) -> float:
    """The index of a category, from its name or from the index itself (perhaps written 1.0)."""
    if cell in column.levels:
        return float(column.levels.index(cell))
    numbers = {f"{i}{end}": i for i in range(len(column.levels)) for end in ("", ".0")}
    if cell in numbers:
        return float(numbers[cell])
    close = difflib.get_close_matches(cell, column.levels, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise DataError(f"{where} is {cell!r}; {hint}it must be one of {', '.join(column.levels)}")


def _is_dated(rows: list[tuple[int, list[str]]], at: int) -> bool:
    return "-" in rows[0][1][at].strip()[1:]


def _date(where: str, cell: str) -> float:
    try:
        return float(datetime.date.fromisoformat(cell[:10]).toordinal())
    except ValueError as error:
        raise DataError(f"{where} is {cell!r}; a date as 2026-11-21 is needed") from error


def _days(
    path: Path, rows: Sequence[tuple[int, Any]], layout: Layout, person: Ints, dates: Floats
) -> Floats:
    """Dates as days since each person's first."""
    first = np.full(int(person.max()) + 1, np.inf)
    np.minimum.at(first, person, dates)
    days = dates - first[person]
    high = next(c.high for c in layout.columns if c.name == layout.order[0])
    if (days > high).any():
        row = int(np.flatnonzero(days > high)[0])
        raise DataError(
            f"{path}:{rows[row][0]}: {layout.order[0]} is {days[row]:g} days after the person's "
            f"first; the study's last day is {high:g}"
        )
    return days


def _sorted(
    path: Path,
    rows: Sequence[tuple[int, Any]],
    layout: Layout,
    people: list[str],
    person: Ints,
    values: dict[str, Floats],
) -> Cohort:
    """Rows of one person after the other, each person's in time; people as they first appear."""
    keys = [person, *(values[name] for name in layout.order)]
    order = np.lexsort(keys[::-1])
    ordered = np.stack(keys)[:, order]
    same = (ordered[:, 1:] == ordered[:, :-1]).all(axis=0)
    if same.any():
        at = int(np.flatnonzero(same)[0])
        first, second = sorted(rows[order[i]][0] for i in (at, at + 1))
        raise DataError(
            f"{path}:{second}: {layout.person} {people[person[order[at]]]} has this "
            f"{' and '.join(layout.order)} already in line {first}"
        )
    columns = {name: column[order] for name, column in values.items()}
    return Cohort(tuple(people), np.bincount(person, minlength=len(people)), columns)


def _cell(value: Any, column: Column) -> str:
    if column.kind == "category":
        return column.levels[int(value)]
    if column.kind == "values":
        return "[" + ", ".join(str(int(v)) for v in value if not math.isnan(v)) + "]"
    return repr(int(value)) if column.kind == "whole" else repr(float(value))
