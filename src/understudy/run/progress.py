"""What a person sees while a run goes on: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn


def significant(value: float, digits: int, sign: str = "") -> str:
    """A number in so many significant digits, its whole part never as a power of ten.

    Args:
        value: the number.
        digits: how many; the whole part has all of its own.
        sign: "+" for a sign before numbers above 0 too.
    """
    return f"{value:{sign}.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:{sign}.{digits}g}"


def with_interval(value: float, low: float, high: float, digits: int, sign: str = "") -> str:
    """A figure and the ends of its interval, each as `significant` has it."""
    figure, *ends = (significant(x, digits, sign) for x in (value, low, high))
    return f"{figure} [{', '.join(ends)}]"


class Progress:
    """Steps done of a known total, steps/s, time left, and the numbers that matter."""

    def __init__(
        self,
        total: int,
        description: str,
        *,
        start: int = 0,
        enabled: bool = True,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Counts from `start` (a resumed run's) to `total`; plain lines come every `interval` s."""
        self.total, self.description, self.start = total, description, start
        self.enabled, self.interval, self.clock = enabled, interval, clock
        self.console = console or Console(stderr=True)
        self._began = self._printed = clock()
        self._bar: Bar | None = None
        if enabled and self.console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=self.console,
            )
            self._task = self._bar.add_task(description, total=total, completed=start, numbers="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, **numbers: float) -> None:
        """Shows that `step` steps are done."""
        if not self.enabled:
            return
        now = self.clock()
        text = self._text(step, now - self._began, numbers)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, numbers=text)
        elif now - self._printed >= self.interval or step >= self.total:
            self._printed = now
            self.console.print(f"{self.description} {step}/{self.total}  {text}", soft_wrap=True)

    def _text(self, step: int, seconds: float, numbers: dict[str, float]) -> str:
        parts: list[str] = []
        if seconds > 0 and step > self.start:
            rate = (step - self.start) / seconds
            # A last batch may go past the total.
            left = timedelta(seconds=max(0, round((self.total - step) / rate)))
            parts.append(f"{significant(rate, 3)} steps/s  {left} left")
        parts += [f"{name} {significant(value, 4)}" for name, value in numbers.items()]
        return "  ".join(parts)
