"""What came out of the demo, as the first thing its page shows."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.compare.statistics import Interval
from understudy.demo.summary import DID
from understudy.demo.verdict import Shown
from understudy.report.html import Node, el
from understudy.report.table import Cell, table
from understudy.run.progress import significant

HEADERS = ("role", "verdict", "figure", "language model", "best baseline", "calls", "seconds")


def lead(results: Mapping[str, Shown]) -> Node:
    """A row for each role against the best of its baselines, and what the model did in each."""
    rows = [_row(role, shown) for role, shown in results.items()]
    told = [el("li", el("strong", f"{role.replace('_', ' ')}: "), DID[role]) for role in results]
    caption = "The language model and the best of its baselines, with intervals of 95 %"
    return [table(caption, HEADERS, rows), el("ul", told)]


def _row(role: str, shown: Shown) -> list[Cell | str | float | None]:
    best, figure = next(iter(shown.baselines.items()))
    less = "" if shown.higher_is_better else ", less is better"
    plain = shown.verdict == "no difference"
    return [
        role.replace("_", " "),
        Cell(shown.verdict if plain else el("strong", shown.verdict)),
        Cell(_under(f"{shown.unit}{less}", shown.env)),
        _with(shown.figure, shown.contender),
        _with(figure, best),
        shown.cost.calls,
        round(shown.cost.seconds),
    ]


def _with(figure: Interval, name: str) -> Cell:
    value, low, high = (significant(x, 3) for x in (figure.value, figure.low, figure.high))
    ends = el("span", f"[{low}, {high}]", class_="ends")
    return Cell(_under([value, " ", ends], name), figure.value)


def _under(first: Node, second: str) -> Node:
    return [first, el("div", el("small", second))]
