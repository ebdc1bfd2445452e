"""What is seen while the demo goes on: a table that fills, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from understudy.compare.statistics import Interval
from understudy.compare.summary import interval
from understudy.demo.parts import Part
from understudy.demo.verdict import Shown
from understudy.run.outcome import Curve
from understudy.run.progress import significant

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 16


def sparkline(curve: Curve, width: int = WIDTH) -> str:
    """A learning curve in one line of text; the newest value is the last sign.

    Args:
        curve: (spent, value) pairs.
        width: most signs.
    """
    values = np.array([value for _, value in curve if np.isfinite(value)])
    if not len(values):
        return ""
    chosen = values[np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)]
    low, high = chosen.min(), chosen.max()
    places = (chosen - low) / (high - low) if high > low else np.zeros(len(chosen))
    return "".join(BLOCKS[round(float(place) * (len(BLOCKS) - 1))] for place in places)


class Board:
    """The parts, how far they are, and what came out."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        enabled: bool,
        console: Console | None = None,
        every: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Plain lines come when a part begins or ends, and every `every` seconds."""
        self.parts, self.enabled, self.every, self.clock = parts, enabled, every, clock
        self.console = console or Console(stderr=True)
        self.results: dict[str, Shown] = {}
        self._live: Live | None = None
        self._began: dict[str, tuple[float, float]] = {}
        self._said: dict[str, str] = {}
        self._printed = clock()

    def __enter__(self) -> Self:
        if self.enabled and self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self) -> None:
        """Shows how things are now."""
        if not self.enabled:
            return
        rows = [self._row(part) for part in self.parts]
        if self._live is not None:
            self._live.update(self._table(rows), refresh=True)
            return
        due = self.clock() - self._printed >= self.every
        for part, row in zip(self.parts, rows, strict=True):
            if part.state != self._said.get(part.role, "waiting") or (
                due and part.state == "running"
            ):
                self.console.print("  ".join(cell for cell in row if cell), soft_wrap=True)
            self._said[part.role] = part.state
        if due:
            self._printed = self.clock()

    def _table(self, rows: Sequence[Sequence[str]]) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("role", "", "done", "left", "curve", "figure and baseline"):
            table.add_column(name, no_wrap=True)
        for row in rows:
            table.add_row(*row)
        return table

    def _row(self, part: Part) -> list[str]:
        share, state = part.share(), part.state
        now = self.clock()
        began, at = self._began.setdefault(part.role, (now, share))
        if state != "running":
            del self._began[part.role]
        left = ""
        if state == "running" and share > at and now > began:
            left = str(timedelta(seconds=round((now - began) / (share - at) * (1 - share))))
        found = self.results.get(part.role)
        figure = ""
        if found is not None:
            name, best = next(iter(found.baselines.items()))
            figure = f"{_shown(found.figure)}, {name} {_shown(best)}: {found.verdict}"
        points = part.learning().points
        curve = f"{sparkline(points)} {significant(points[-1][1], 3)}" if points else ""
        return [part.role, state, f"{share:4.0%}", left, curve, figure]


def _shown(figure: Interval) -> str:
    return interval(asdict(figure))
