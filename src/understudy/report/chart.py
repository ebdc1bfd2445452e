"""Line charts and interval bars as SVG that needs no program; a program adds the numbers under a pointer.

Places along x are percentages and places along y are pixels, so a chart is as wide as its box while
its letters and strokes stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.report.html import Element, Node, cut, el
from understudy.report.numbers import number, percent

POINTS = 400
"""Most points of a line; longer ones are thinned evenly, ends kept."""
COLOURS = 8
LEFT, RIGHT = 8.0, 98.5
"""Where the first and the last x stand, in percent of the width."""
SMALL = 160
"""Charts of less height have fewer numbers beside them."""
Pairs = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with a band if it has one."""

    name: str
    points: Pairs
    """(x, y), x rising."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: Pairs = ()
    """Points beside the line."""
    colour: int | None = None
    """By default its place among the lines."""


@dataclass(frozen=True, slots=True)
class Axes:
    """What stands around the lines."""

    title: str
    xlabel: str
    share: bool = False
    """Whether y is a share: 0 to 1, in percent."""
    height: int = 220
    mark: float | None = None
    """An x with a dotted line."""
    levels: Sequence[tuple[str, float]] = ()
    """Named heights, dashed."""
    note: str = ""


@dataclass(slots=True)
class Charts:
    """Draws charts and keeps the numbers that the page's program shows."""

    data: dict[str, Any] = field(default_factory=dict[str, Any])

    def draw(self, lines: Sequence[Line], axes: Axes) -> Element:
        """A figure of the lines that have points."""
        lines = [_thin(line) for line in lines if len(line.points) or len(line.dots)]
        xs = _xlimits(lines)
        least, most, step = _ylimits(lines, axes)
        place = _Place(xs, (least, most), step, axes.height)
        name = f"c{len(self.data)}"
        self.data[name] = {
            "x": [xs[0], xs[1]],
            "pad": [LEFT, RIGHT],
            "xlabel": axes.xlabel,
            "share": axes.share,
            "lines": [_numbers(line, number) for number, line in enumerate(lines)],
        }
        described = "; ".join(_describe(line, axes) for line in lines)
        picture = el(
            "svg",
            _grid(place, axes),
            [_line(line, _colour(line, number), place) for number, line in enumerate(lines)],
            el("line", class_="cursor", x1=0, x2=0, y1=place.top, y2=place.bottom, hidden=True),
            width="100%",
            height=axes.height,
            role="img",
            aria_label=f"{axes.title} by {axes.xlabel}. {described}",
        )
        return el(
            "figure",
            el("figcaption", el("strong", cut(axes.title, 120)), _legend(lines)),
            el("div", picture, class_="plot", data_chart=name, tabindex=0, role="group",
               aria_label=f"{axes.title}: arrow keys show the numbers"),
            el("small", axes.xlabel, f" · {axes.note}" if axes.note else None, class_="axis"),
            class_="chart",
        )  # fmt: skip


def interval_bar(
    value: float, low: float, high: float, limits: tuple[float, float], mark: float | None = None
) -> Element:
    """A point with its interval on a line from `limits[0]` to `limits[1]`, and a second mark."""
    least, most = limits

    def at(x: float) -> str:
        share = 0.5 if most == least else (min(max(x, least), most) - least) / (most - least)
        return f"{3 + 94 * share:.2f}%"

    return el(
        "svg",
        el("line", class_="rail", x1="3%", x2="97%", y1=9, y2=9),
        el("line", class_="range", x1=at(low), x2=at(high), y1=9, y2=9)
        if math.isfinite(low) and math.isfinite(high)
        else None,
        el("circle", class_="value", cx=at(value), cy=9, r=4),
        el("line", class_="mark", x1=at(mark), x2=at(mark), y1=2, y2=16)
        if mark is not None
        else None,
        class_="bar", width="100%", height=18, aria_hidden="true",
    )  # fmt: skip


# ---- places -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    xs: tuple[float, float]
    ys: tuple[float, float]
    ystep: float
    """Between lines of the grid."""
    height: int

    @property
    def top(self) -> int:
        return 12

    @property
    def bottom(self) -> int:
        return self.height - 24

    def x(self, value: float) -> float:
        """Percent of the width."""
        least, most = self.xs
        share = 0.5 if most == least else (value - least) / (most - least)
        return LEFT + (RIGHT - LEFT) * share

    def y(self, value: float) -> float:
        """Pixels from above."""
        least, most = self.ys
        return self.bottom - (self.bottom - self.top) * (value - least) / (most - least)


def spacing(least: float, most: float, count: int) -> float:
    """The distance of about `count` round numbers in between: 1, 2 or 5 times a power of ten."""
    rough = (most - least) / count
    scale = 10.0 ** math.floor(math.log10(rough))
    return next(m * scale for m in (1, 2, 5, 10) if m * scale >= rough * 0.999)


def ticks(least: float, most: float, step: float) -> list[float]:
    """The multiples of `step` from `least` to `most`."""
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def _xlimits(lines: Sequence[Line]) -> tuple[float, float]:
    values = [x for line in lines for x, _ in (*line.points, *line.dots)] or [0.0]
    return min(values), max(values)


def _ylimits(lines: Sequence[Line], axes: Axes) -> tuple[float, float, float]:
    """Round numbers below and above everything, and the distance of those in between."""
    if axes.share:
        return 0.0, 1.0, 0.5 if axes.height < SMALL else 0.25
    values = [y for line in lines for _, y in (*line.points, *line.dots)]
    values += [v for line in lines for v in (*line.low, *line.high) if math.isfinite(v)]
    values += [level for _, level in axes.levels]
    least, most = min(values, default=0.0), max(values, default=1.0)
    if not most - least > 1e-9 * max(1e-9, abs(least), abs(most)):
        least, most = min(0.0, 2 * least), max(0.0, 2 * most) or float(least == 0)
    step = spacing(least, most, 2 if axes.height < SMALL else 4)
    return math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step, step


def _thin(line: Line) -> Line:
    """At most POINTS of its points, and finite bands."""
    n = len(line.points)
    kept = range(n) if n <= POINTS else [round(i * (n - 1) / (POINTS - 1)) for i in range(POINTS)]
    banded = len(line.low) == n == len(line.high) and all(
        map(math.isfinite, (*line.low, *line.high))
    )
    return Line(
        cut(line.name, 120),
        [line.points[i] for i in kept],
        [line.low[i] for i in kept] if banded else (),
        [line.high[i] for i in kept] if banded else (),
        line.dots,
        line.colour,
    )


# ---- strokes ------------------------------------------------------------------------------------


def _grid(place: _Place, axes: Axes) -> Node:
    show = percent if axes.share else number
    parts: list[Node] = []
    for value in ticks(*place.ys, place.ystep):
        y = place.y(value)
        text = f"{value:.0%}".replace("%", " %") if axes.share else number(value)
        parts += [
            el("line", class_="grid", x1=0, x2="100%", y1=y, y2=y),
            el("text", text, class_="tick", x=0, y=y - 3),
        ]
    start, end = place.xs
    apart = spacing(start, end, 3 if axes.height < SMALL else 5) if end > start else 1.0
    for value in ticks(start, end, apart) if end > start else [start]:
        x = place.x(value)
        anchor = "end" if x > 92 else "start" if x < LEFT + 0.5 else "middle"
        parts.append(
            el("text", number(value), class_="tick", x=f"{x:.2f}%", y=place.height - 6,
               text_anchor=anchor)
        )  # fmt: skip
    for name, level in axes.levels:
        y = place.y(level)
        parts += [
            el("line", class_="level", x1=0, x2="100%", y1=y, y2=y),
            el("text", f"{name} {show(level)}", class_="tick", x="100%", y=y - 3, text_anchor="end"),
        ]  # fmt: skip
    if axes.mark is not None:
        x = f"{place.x(axes.mark):.2f}%"
        parts.append(el("line", class_="level", x1=x, x2=x, y1=place.top, y2=place.bottom))
    return parts


def _line(line: Line, colour: int, place: _Place) -> Node:
    """The stretched part is drawn on 1000 units of width; dots are not stretched."""

    def along(values: Sequence[float], points: Pairs) -> list[str]:
        return [
            f"{10 * place.x(x):.2f} {place.y(y):.2f}"
            for (x, _), y in zip(points, values, strict=True)
        ]

    middle = along([y for _, y in line.points], line.points)
    band = None
    if line.low:
        edge = along(line.high, line.points) + along(line.low, line.points)[::-1]
        band = el("path", d=f"M{'L'.join(edge)}Z", class_="band")
    alone = line.points if len(line.points) == 1 else ()
    whiskers: list[Node] = []
    if alone and line.low:
        x = f"{place.x(alone[0][0]):.2f}%"
        y1, y2 = place.y(line.low[0]), place.y(line.high[0])
        whiskers = [el("line", class_="whisker", x1=x, x2=x, y1=y1, y2=y2)]
    return el(
        "g",
        el(
            "svg",
            band,
            el("polyline", points=" ".join(middle), class_="line") if len(middle) > 1 else None,
            width="100%", height=place.height, viewBox=f"0 0 1000 {place.height}",
            preserveAspectRatio="none",
        ),
        whiskers,
        [
            el("circle", cx=f"{place.x(x):.2f}%", cy=place.y(y), r=3.5, class_="dot")
            for x, y in (*alone, *line.dots)
        ],
        class_=f"k{colour}",
    )  # fmt: skip


def _colour(line: Line, number: int) -> int:
    return (number if line.colour is None else line.colour) % COLOURS


def _legend(lines: Sequence[Line]) -> Node:
    if len(lines) < 2:
        return None
    return el(
        "span",
        [
            el("span", el("span", class_=f"swatch k{_colour(line, number)}"), line.name, class_="key")
            for number, line in enumerate(lines)
        ],
        class_="legend",
    )  # fmt: skip


def _describe(line: Line, axes: Axes) -> str:
    show = percent if axes.share else number
    if not line.points:
        return f"{line.name}: {len(line.dots)} points"
    first, last = line.points[0][1], line.points[-1][1]
    if len(line.points) == 1:
        return f"{line.name}: {show(last)}"
    return f"{line.name}: from {show(first)} to {show(last)}"


def _numbers(line: Line, place: int) -> dict[str, Any]:
    def short(values: Sequence[float]) -> list[float]:
        return [float(f"{value:.6g}") for value in values]

    found: dict[str, Any] = {"n": line.name, "k": _colour(line, place)}
    points = line.points or line.dots
    found["x"], found["y"] = short([x for x, _ in points]), short([y for _, y in points])
    if line.low:
        found["l"], found["h"] = short(line.low), short(line.high)
    return found
