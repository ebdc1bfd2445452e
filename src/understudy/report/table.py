"""Tables that sort, and that scroll in a box of their own where the page is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.report.html import Element, Node, cut, el
from understudy.report.numbers import interval, is_number, number, percent


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, and the number it is sorted by."""

    shown: Node
    value: float | None = None


def share(value: float | None) -> Cell:
    """A share as a percentage."""
    return Cell(percent(value), value)


def estimate(value: float, low: float, high: float, as_share: bool = False) -> Cell:
    """A number with its interval."""
    show = percent if as_share else number
    ends = el("span", interval(low, high, as_share), class_="ends")
    return Cell([show(value), " ", ends], value)


def table(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[Cell | str | float | None]]
) -> Element:
    """A table whose headers are buttons that sort it; numbers stand to the right.

    Columns that are empty (None) in every row are left out.
    """
    kept = [i for i in range(len(headers)) if any(row[i] is not None for row in rows)]
    headers = [headers[i] for i in kept]
    cells = [[_cell(row[i]) for i in kept] for row in rows]
    numeric = [any(row[i].value is not None for row in cells) for i in range(len(headers))]
    head = [
        el("th", el("button", header, type="button"), scope="col", class_="n" if right else None)
        for header, right in zip(headers, numeric, strict=True)
    ]
    body = [el("tr", [_td(cell, i, numeric[i]) for i, cell in enumerate(row)]) for row in cells]
    return el(
        "div",
        el("p", caption, class_="caption"),
        el("div", el("table", el("thead", el("tr", head)), el("tbody", body), aria_label=caption),
           class_="scroll", tabindex=0, role="group", aria_label=caption),
        class_="table",
    )  # fmt: skip


def _td(cell: Cell, place: int, right: bool) -> Element:
    value = None if cell.value is None else repr(float(cell.value))
    if place == 0:
        return el("th", cell.shown, scope="row", data_v=value, class_="n" if right else None)
    return el("td", cell.shown, data_v=value, class_="n" if right else None)


def _cell(value: Cell | str | float | None) -> Cell:
    if isinstance(value, Cell):
        return value
    if is_number(value):
        return Cell(number(float(value)), float(value))  # pyright: ignore[reportArgumentType]
    return Cell("–" if value is None else cut(str(value)))
