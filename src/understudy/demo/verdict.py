"""What each part of the demo shows: the language model's figure, its baselines', and whether they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.compare.rows import Row, read_rows
from understudy.compare.statistics import Interval, Verdict, aggregate, differences, disjoint
from understudy.run.errors import RunError
from understudy.run.outcome import Cost


@dataclass(frozen=True)
class Shown:
    """One part's result."""

    role: str
    env: str
    unit: str
    higher_is_better: bool
    contender: str
    figure: Interval
    baselines: dict[str, Interval]
    """The best of them first."""
    verdict: Verdict
    """Against the best of them."""
    because: str
    of: str
    """What the intervals are over."""
    cost: Cost
    """Of the contender's runs together."""


def shown(folder: Path, contender: str) -> Shown:
    """The result of a part whose runs are below a directory.

    Args:
        folder: where they are.
        contender: whose result it is; everybody else there is a baseline.

    Raises:
        RunError: it has no finished run there, or nobody to compare with.
    """
    rows, _ = read_rows(folder)
    names = {row.contender for row in rows}
    if contender not in names or len(names) < 2:
        raise RunError(f"{folder}: no finished runs of {contender} and of a baseline")
    return compared(rows, contender)


def compared(rows: Sequence[Row], contender: str) -> Shown:
    """The result of some runs of one role in one environment; see `shown`."""
    names = dict.fromkeys(row.contender for row in rows)
    by_name = {name: [row for row in rows if row.contender == name] for name in names}
    mine = by_name[contender]
    score = mine[0].score
    figures = {name: _figure(them) for name, them in by_name.items() if name != contender}
    order = sorted(figures, key=lambda name: figures[name].value, reverse=score.higher_is_better)
    verdict, because = _verdict(by_name, contender, order[0])
    one = len(mine) == 1
    return Shown(
        mine[0].role, mine[0].env, score.unit, score.higher_is_better, contender, _figure(mine),
        {name: figures[name] for name in order}, verdict, because,
        f"{score.n} held out, one seed" if one else f"{len(mine)} seeds", _together(mine),
    )  # fmt: skip


def _figure(rows: Sequence[Row]) -> Interval:
    """Of one run the interval of its own episodes, of several that of the seeds."""
    if len(rows) > 1:
        return aggregate([[row.score.value for row in rows]])
    score = rows[0].score
    return Interval(score.value, score.low, score.high)


def _verdict(by_name: Mapping[str, Sequence[Row]], mine: str, best: str) -> tuple[Verdict, str]:
    """As the part's table has it, corrected over all pairs; of single runs by their intervals."""
    higher = by_name[mine][0].score.higher_is_better
    if len(by_name[mine]) == len(by_name[best]) == 1:
        first, second = _figure(by_name[mine]), _figure(by_name[best])
        return disjoint(first, second, higher_is_better=higher), ""
    order = [mine, *(name for name in by_name if name != mine)]
    scores = {name: [[row.score.value for row in by_name[name]]] for name in order}
    found = next(
        pair
        for pair in differences(scores, higher_is_better=higher)
        if (pair.first, pair.second) == (mine, best)
    )
    return found.verdict, found.because


def _together(rows: Sequence[Row]) -> Cost:
    costs = [row.cost for row in rows]
    return Cost(
        *(
            sum(getattr(cost, name) for cost in costs)
            for name in ("calls", "tokens", "usd", "seconds", "cpu")
        )
    )
