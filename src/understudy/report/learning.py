"""Learning curves: of one run, of several beside each other, of a comparison's seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.report.chart import Axes, Charts, Line
from understudy.report.html import Element, Node, el
from understudy.report.numbers import number, over_seeds, percent
from understudy.report.outcome import estimated, estimates, is_share, titled
from understudy.report.read import ComparisonRecord, RunRecord, columns
from understudy.report.table import Cell, estimate, table

AXIS = {
    "policy": ("step", "updates"),
    "optimizer": ("episodes", "episodes"),
    "simulator": ("step", "moments of the people"),
}
"""What is spent, by role: the metric and its name."""
STEPS = ("step", "environment steps")
DRAWN = {
    "policy": ("reward",),
    "optimizer": ("best", "generation_mean"),
    "world_model": ("return",),
}
"""Metrics without interval that are drawn large, by role."""
MOST_SMALL = 60
"""Small charts of a run."""
GRID = 100
"""Places at which seeds are averaged."""


def axis(run: RunRecord) -> tuple[str, str]:
    """The metric along x, and what it is called."""
    key, name = AXIS.get(run.info.role, STEPS)
    return (key, name) if any(key in row for row in run.metrics) else ("step", "step")


def headlines(run: RunRecord) -> dict[str, list[str]]:
    """What is drawn large: the last part of a name → the metrics that share a chart."""
    sure = estimated(run.metrics)
    groups: dict[str, list[str]] = {}
    for name in sure:
        groups.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    names = columns(run.metrics, axis(run)[0])
    for name in DRAWN.get(run.info.role, ()):
        if len(names.get(name, ())) > 1:
            groups.setdefault(name, []).append(name)
    if not groups and len(names.get("loss", ())) > 1:
        groups["loss"] = ["loss"]
    if "best" in groups and "generation_mean" in groups:
        groups["best"] += groups.pop("generation_mean")
    return groups


def lines_of(run: RunRecord, name: str, title: str) -> Line | None:
    """A metric as a line, with its band where it has one."""
    found = columns(run.metrics, axis(run)[0])
    points = found.get(name, [])
    low, high = dict(found.get(f"{name}_low", [])), dict(found.get(f"{name}_high", []))
    if not points:
        return None
    whole = all(x in low and x in high for x, _ in points)
    return Line(
        title,
        points,
        [low[x] for x, _ in points] if whole else (),
        [high[x] for x, _ in points] if whole else (),
    )


def curves(run: RunRecord, charts: Charts) -> Element | None:
    """A run's headline charts."""
    drawn: list[Node] = []
    for last, names in headlines(run).items():
        lines = [line for name in names if (line := lines_of(run, name, titled(name)))]
        if not any(len(line.points) > 1 for line in lines):
            continue
        share = is_share(last)
        banded = any(line.low for line in lines)
        note = "shaded: 95 % interval of each evaluation" if banded else ""
        title = lines[0].name if len(lines) == 1 else titled(last)
        drawn.append(charts.draw(lines, Axes(title, axis(run)[1], share=share, note=note)))
    return el("div", drawn, class_="charts") if drawn else None


def everything(run: RunRecord, charts: Charts) -> Element | None:
    """Every other metric of two points or more, small."""
    large = {name for names in headlines(run).values() for name in names}
    x, xlabel = axis(run)
    found = {
        name: pairs
        for name, pairs in columns(run.metrics, x).items()
        if len(pairs) > 1 and name not in large and not name.endswith(("_low", "_high"))
    }
    if not found:
        return None
    drawn = [
        charts.draw([Line(name, pairs)], Axes(name, xlabel, height=130))
        for name, pairs in list(found.items())[:MOST_SMALL]
    ]
    left = len(found) - len(drawn)
    return el(
        "details",
        el("summary", f"All metrics ({len(found)})"),
        el("div", drawn, class_="small-charts"),
        el("p", f"{left} more are in metrics.jsonl.") if left else None,
    )


# ---- several runs -------------------------------------------------------------------------------


def beside(runs: Sequence[RunRecord], charts: Charts) -> Element | None:
    """Runs of one role in one chart per headline, a line each."""
    drawn: list[Node] = []
    for role in dict.fromkeys(run.info.role for run in runs):
        mine = [run for run in runs if run.info.role == role]
        names = dict.fromkeys(
            name for run in mine for each in headlines(run).values() for name in each
        )
        for name in names:
            lines = [
                line
                for run in mine
                if (line := lines_of(run, name, f"{run.info.env} · {run.info.name}"))
            ]
            if sum(len(line.points) > 1 for line in lines) > 1:
                axes = Axes(titled(name), axis(mine[0])[1], share=is_share(name))
                drawn.append(charts.draw(lines, axes))
    return el("div", drawn, class_="charts") if drawn else None


def compared(found: ComparisonRecord, charts: Charts) -> Element | None:
    """A comparison's curves: the mean over the seeds, and least to greatest around it."""
    by_label = _by_label(found)
    colours = {label: place for place, label in enumerate(by_label)}
    names = dict.fromkeys(
        name for _, _, run in found.members for each in headlines(run).values() for name in each
    )
    drawn: list[Node] = []
    for name in names:
        lines = [
            line
            for label, runs in by_label.items()
            if (line := _seeds(runs, name, label, colours[label]))
        ]
        if any(len(line.points) > 1 for line in lines):
            drawn.append(_compared_chart(found, name, lines, charts))
    return el("div", drawn, class_="charts") if drawn else None


def _by_label(found: ComparisonRecord) -> dict[str, list[RunRecord]]:
    by_label: dict[str, list[RunRecord]] = {}
    for label, _, run in found.members:
        by_label.setdefault(label, []).append(run)
    return by_label


def _compared_chart(
    found: ComparisonRecord, name: str, lines: Sequence[Line], charts: Charts
) -> Element:
    single = [line for line in lines if len(line.points) == 1]
    levels = [(line.name, line.points[0][1]) for line in single]
    if name == "best" and "value" in found.optimum:
        levels.append(("exact optimum", found.optimum["value"]))
    xlabel = axis(found.members[0][2])[1]
    banded = any(line.low for line in lines)
    note = "line: mean of the seeds; shaded: least to greatest" if banded else ""
    axes = Axes(titled(name), xlabel, share=is_share(name), levels=levels, note=note, height=260)
    return charts.draw([line for line in lines if len(line.points) > 1], axes)


def _seeds(runs: Sequence[RunRecord], name: str, label: str, colour: int) -> Line | None:
    """The mean over seeds where all of them are known, with least to greatest around it."""
    series = [found[name] for run in runs if name in (found := columns(run.metrics, axis(run)[0]))]
    title = f"{label} ({len(series)} seeds)" if len(series) > 1 else label
    if not series:
        return None
    if all(len(each) == 1 for each in series):
        return Line(title, [(0.0, float(np.mean([each[0][1] for each in series])))], colour=colour)
    series = [each for each in series if len(each) > 1]
    start, end = max(each[0][0] for each in series), min(each[-1][0] for each in series)
    if end < start:
        return None
    known = sorted({x for each in series for x, _ in each if start <= x <= end})
    grid = known if len(known) <= GRID else [float(x) for x in np.linspace(start, end, GRID)]
    values = np.array([np.interp(grid, *np.array(each).T) for each in series])
    middle = list(zip(grid, map(float, values.mean(0)), strict=True))
    if len(series) == 1:
        return Line(title, middle, colour=colour)
    low, high = [float(v) for v in values.min(0)], [float(v) for v in values.max(0)]
    return Line(title, middle, low, high, colour=colour)


def last_values(found: ComparisonRecord) -> Element | None:
    """A comparison's table: every seed's last evaluation, their mean and its interval."""
    rows: list[list[Cell | str | float | None]] = []
    for label, runs in _by_label(found).items():
        known = [estimates(run) for run in runs]
        for name in dict.fromkeys(name for each in known for name in each):
            last = [each[name][-1] for each in known if name in each]
            values, share = [each.value for each in last], is_share(name)
            mean, show = float(np.mean(values)), percent if share else number
            ends = over_seeds(values)
            rows.append(
                [label, titled(name),
                 estimate(mean, *ends, share) if ends else Cell(show(mean), mean),
                 Cell(show(min(values)), min(values)), len(values), ", ".join(map(show, values))]
            )  # fmt: skip
    if not rows:
        return None
    headers = ["what", "measured", "mean", "least", "seeds", "each seed"]
    caption = "Each seed's last evaluation; 95 % intervals over the seeds (bootstrap; few seeds make them narrow)"
    return table(caption, headers, rows)
