"""Studies from TOML files; every mistake is one line that names the file, the key and what would do."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from understudy.envs.study.declare import (
    Action,
    Derived,
    Names,
    Reported,
    ReportedKind,
    Rule,
    StateOf,
    Study,
    StudyError,
    Term,
)

SHIPPED = {"low-mood": Path(__file__).with_name("low_mood.toml")}
MOST = 1000
"""Of days, parts, values a day and earlier actions: more is a slip of the pen."""


def load(study: str | Path) -> Study:
    """The study of that name, or of that file.

    Raises:
        StudyError: no such study, or a declaration that cannot be; names file, key, nearest name.
    """
    path = SHIPPED.get(str(study), Path(study))
    if not path.is_file():
        near = _nearest(str(study), SHIPPED)
        raise StudyError(f"{study}: no such file, nor a study{near}; there is {', '.join(SHIPPED)}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not TOML ({error})") from error
    return _study(_Table(path, "", table))


class _Table:
    """One table of the file, that says where it stands when something in it is wrong."""

    def __init__(self, file: Path, at: str, values: Any) -> None:
        self.file, self.at = file, at
        if not isinstance(values, dict):
            raise self.wrong("", f"must be a table, not {values!r}")
        self.values: dict[str, Any] = values

    def wrong(self, key: str, what: str) -> StudyError:
        where = ".".join(filter(None, (self.at, key)))
        return StudyError(f"{self.file}: {where} {what}" if where else f"{self.file}: {what}")

    def only(self, *known: str) -> None:
        for key in self.values:
            if key not in known:
                raise self.wrong(
                    key, f"is unknown{_nearest(key, known)}; known: {', '.join(known)}"
                )

    def get(self, key: str, kind: type | tuple[type, ...], words: str, default: Any = None) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise self.wrong(key, f"is missing; it must be {words}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"must be {words}, not {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        text = self.get(key, str, "a text", default)
        if not text and default is None:
            raise self.wrong(key, "must not be empty")
        return text

    def number(self, key: str, default: float | None = None) -> float:
        number = float(self.get(key, (int, float), "a number", default))
        if not math.isfinite(number):
            raise self.wrong(key, f"must be finite, not {number}")
        return number

    def count(self, key: str, least: int = 1, default: int | None = None) -> int:
        number = self.get(key, int, "a whole number", default)
        if not least <= number <= MOST:
            raise self.wrong(key, f"must be from {least} to {MOST}, not {number}")
        return number

    def choice(self, key: str, known: Iterable[str]) -> Any:
        return self.named(key, self.text(key), list(known))

    def named(self, key: str, name: Any, known: Iterable[str]) -> str:
        names = list(known)
        if name not in names:
            near = _nearest(str(name), names)
            raise self.wrong(key, f"is {name!r}{near}; it must be one of {', '.join(names)}")
        return name

    def texts(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        values = self.get(key, list, "a list of texts", default)
        for value in values:
            if not isinstance(value, str) or not value:
                raise self.wrong(key, f"must be a list of texts, not {values!r}")
        if len(set(values)) < len(values):
            raise self.wrong(key, "names something twice")
        return tuple(values)

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> _Table:
        at = f"{self.at}.{key}" if self.at else key
        return _Table(self.file, at, self.get(key, dict, "a table", default))

    def tables(self, key: str) -> list[_Table]:
        rows = self.get(key, list, f"tables ([[{key}]])")
        return [_Table(self.file, f"{key}[{i}]", row) for i, row in enumerate(rows)]


def _study(top: _Table) -> Study:
    top.only(
        "name", "words", "parts", "days", "columns", "actions", "reported", "derived", "reward",
        "state", "drop_out",
    )  # fmt: skip
    parts = top.texts("parts")
    if not 1 <= len(parts) <= MOST:
        raise top.wrong("parts", "must name at least one part of a day")
    reported = tuple(_reported(table) for table in _each(top, "reported"))
    derived = tuple(_derived(table, reported) for table in _each(top, "derived"))
    columns = top.table("columns", {})
    columns.only("person", "day", "part", "action", "reward")
    study = Study(
        name=top.text("name"),
        words=top.text("words"),
        parts=parts,
        days=top.count("days"),
        actions=tuple(_action(table) for table in top.tables("actions")),
        reported=reported,
        derived=derived,
        reward=tuple(_term(table, derived) for table in top.tables("reward")),
        state=_state(top.table("state"), derived),
        names=Names(**{key: columns.text(key) for key in columns.values}),
        drop_out=top.table("drop_out").text("words") if "drop_out" in top.values else None,
    )
    _check(top, study)
    return study


def _each(top: _Table, key: str) -> list[_Table]:
    whole = top.table(key)
    return [whole.table(name) for name in whole.values]


def _action(table: _Table) -> Action:
    table.only("name", "words", "message")
    sends = table.get("message", bool, "true or false")
    return Action(table.text("name"), table.text("words"), sends)


def _reported(table: _Table) -> Reported:
    kind: ReportedKind = table.choice("kind", get_args(ReportedKind))
    special = {"ratings": ("per_day",), "whole": ("budget",), "number": ()}[kind]
    table.only("kind", "low", "high", "words", *special)
    low, high = table.number("low"), table.number("high")
    if not low < high:
        raise table.wrong("high", f"is {high:g}; it must be above low, which is {low:g}")
    if kind != "number" and not (low.is_integer() and high.is_integer()):
        raise table.wrong("low", f"and high must be whole numbers for {kind}")
    per_day = table.count("per_day") if kind == "ratings" else 0
    name = table.at.rpartition(".")[2]
    budget = table.text("budget", "") if kind == "whole" else ""
    return Reported(name, kind, low, high, table.text("words"), per_day, budget)


def _derived(table: _Table, reported: tuple[Reported, ...]) -> Derived:
    rule: Rule = table.choice("rule", get_args(Rule))
    own = ("from", "to") if rule == "between" else ()
    table.only("rule", "words", *(() if rule == "received" else ("of",)), *own)
    of = "" if rule == "received" else table.choice("of", [r.name for r in reported])
    start, stop = (table.number("from"), table.number("to")) if own else (0.0, 0.0)
    if start > stop:
        raise table.wrong("to", f"is {stop:g}; it must be at least from, which is {start:g}")
    return Derived(table.at.rpartition(".")[2], rule, of, table.text("words"), start, stop)


def _term(table: _Table, derived: tuple[Derived, ...]) -> Term:
    table.only("weight", "value", "over")
    known = [d.name for d in derived]
    over = table.choice("over", known) if "over" in table.values else ""
    return Term(table.number("weight"), table.choice("value", known), over)


def _state(table: _Table, derived: tuple[Derived, ...]) -> StateOf:
    table.only("today", "yesterday", "since", "last_actions")
    known = [d.name for d in derived]
    lists = {key: table.texts(key, []) for key in ("today", "yesterday", "since")}
    for key, names in lists.items():
        for name in names:
            table.named(key, name, known)
    return StateOf(**lists, last_actions=table.count("last_actions", 0, 0))


def _check(top: _Table, study: Study) -> None:
    """What no table can see alone: numbers of things, budgets, names that clash."""
    if len(study.actions) < 2:
        raise top.wrong("actions", f"are {len(study.actions)}; a study needs at least 2")
    if not study.reported or not study.derived:
        raise top.wrong("", "a study needs a [reported.X] and a [derived.Y]")
    received = [d.name for d in study.derived if d.rule == "received"]
    for report in study.reported:
        if report.budget:
            table = top.table("reported").table(report.name)
            if report.low != 0:
                raise table.wrong("low", f"is {report.low:g}; what has a budget begins at 0")
            table.named(
                "budget", report.budget, received or ["(a derived variable, rule received)"]
            )
    _distinct(top, "actions", [a.name for a in study.actions])
    names = study.names
    taken = [names.person, names.day, names.part, names.action, names.reward]
    _distinct(top, "columns", [*taken, *(v.name for v in (*study.reported, *study.derived))])


def _distinct(top: _Table, key: str, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise top.wrong(key, f"name {twice!r} twice")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
