"""Lines stand where their numbers say."""

import math
import re
from typing import Any

import numpy as np
import pytest

from tests.report.test_html import Parsed
from understudy.ops.stats import bootstrap_ci
from understudy.report.chart import (
    LEFT,
    POINTS,
    RIGHT,
    Axes,
    Charts,
    Line,
    interval_bar,
    spacing,
    ticks,
)
from understudy.report.html import render
from understudy.report.numbers import interval, number, over_seeds, percent


def drawn(*lines: Line, **axes: Any) -> tuple[str, dict[str, Any]]:
    charts = Charts()
    markup = render(charts.draw(lines, Axes("title", "steps", **axes)))
    return markup, charts.data["c0"]


def places(markup: str) -> list[tuple[float, float]]:
    points = re.search(r'points="([^"]*)"', markup)[1].split(" ")
    values = [float(value) for value in points]
    return list(zip(values[::2], values[1::2], strict=True))


def test_more_is_higher_and_later_is_to_the_right():
    markup, _ = drawn(Line("a", [(0, 1.0), (5, 3.0), (10, 2.0)]))
    (x0, y0), (x1, y1), (x2, y2) = places(markup)
    assert (x0, x2) == (10 * LEFT, 10 * RIGHT)
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.01)
    assert y1 < y2 < y0
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.01)


def test_a_share_reaches_from_nothing_to_all():
    markup, data = drawn(Line("a", [(0, 0.0), (1, 1.0)]), share=True, height=220)
    assert [y for _, y in places(markup)] == [220 - 24, 12]
    assert "100 %" in markup
    assert data["share"]


def test_a_band_lies_around_its_line_and_is_left_out_where_it_is_unknown():
    low, high = [0.0, 1.0], [2.0, 3.0]
    markup, data = drawn(Line("a", [(0, 1.0), (1, 2.0)], low, high))
    edge = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", markup)]
    line = [y for _, y in places(markup)]
    assert all(up < y < down for up, y, down in zip(edge[:2], line, edge[:1:-1], strict=True))
    assert (data["lines"][0]["l"], data["lines"][0]["h"]) == (low, high)
    markup, data = drawn(Line("a", [(0, 1.0), (1, 2.0)], [math.nan, 1.0], high))
    assert "band" not in markup
    assert "l" not in data["lines"][0]


def test_long_lines_are_thinned_and_keep_their_ends():
    markup, data = drawn(Line("a", [(x, float(x)) for x in range(10_001)]))
    kept = data["lines"][0]["x"]
    assert len(kept) == len(places(markup)) == POINTS
    assert (kept[0], kept[-1]) == (0, 10_000)
    assert np.ptp(np.diff(kept)) <= 1


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-12, 1e200])
def test_a_constant_and_a_single_point_are_drawn(value: float):
    assert "NaN" not in drawn(Line("a", [(0, value), (1, value)]))[0]
    single, _ = drawn(Line("a", [(5, value)], [value - 1], [value + 1]))
    assert single.count("<circle") == 1
    assert "whisker" in single


def test_names_are_escaped_in_the_picture_and_its_description():
    name = '"><script>x</script>'
    seen = Parsed(drawn(Line(name, [(0, 1.0), (1, 2.0)]), Line("b", [(0, 1.0)]))[0])
    assert "script" not in {tag for tag, _ in seen.tags}
    labels = [dict(attributes)["aria-label"] for tag, attributes in seen.tags if tag == "svg" and dict(attributes).get("role")]  # fmt: skip
    assert labels == [f"title by steps. {name}: from 1 to 2; b: 1"]


def test_ticks_are_round_and_inside():
    assert spacing(0, 1, 4) == 0.5
    assert spacing(0, 60_000, 5) == 20_000
    assert ticks(0, 1, 0.25) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(3, 47, 10) == [10, 20, 30, 40]


def test_an_interval_bar_is_to_scale():
    def at(markup: str, name: str, key: str) -> float:
        found = next(dict(a) for _, a in Parsed(markup).tags if dict(a).get("class") == name)
        return float(found[key].rstrip("%"))

    markup = render(interval_bar(5.0, 2.5, 7.5, (0.0, 10.0), mark=10.0))
    assert at(markup, "value", "cx") == 50
    assert (at(markup, "range", "x1"), at(markup, "range", "x2")) == (26.5, 73.5)
    assert at(markup, "mark", "x1") == 97


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.1235"), (-0.5, "−0.5"), (12.3456, "12.35"), (1234.56, "1,235"),
     (60000.0, "60,000"), (1e-7, "1e−07"), (2.5e12, "2.5e+12"), (math.nan, "–"), (-math.inf, "−∞"),
     (99999.96, "100,000")],
)  # fmt: skip
def test_numbers_are_readable(value: float, text: str):
    assert number(value) == text


def test_shares_and_intervals_are_readable():
    assert percent(0.1234) == "12.3 %"
    assert interval(0.1, 0.25, share=True) == "[10.0 %, 25.0 %]"


def test_the_interval_over_seeds_is_that_of_the_other_reports():
    values = [1.0, 5.0, 2.0, 8.0, 3.0]
    known = bootstrap_ci(values, lambda x: float(np.mean(x)), np.random.default_rng(0))
    assert over_seeds(values) == pytest.approx(known)
    assert over_seeds([1.0]) is None
