"""What a finished run came to, in words that every role shares: who did it, how well, at what cost.

A role's `summary` answers with these from a run's directory alone:

- `contender(run)`: the method, and the language model if one was asked;
- `score(run)`: its held-out figure; None before there is one;
- `beside(run)`: figures that the run itself measured without the method (by name), e.g. before training;
- `learning(run)`: the course of a figure over what was spent;
- `cost(run)`: calls, tokens, money, seconds;
- `share_done(run)`: how much of the run is done, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from understudy.run.cell import Contender
from understudy.run.metrics import read
from understudy.types import Usage

Curve = Sequence[tuple[float, float]]
"""(spent, value) pairs, what was spent rising."""


@dataclass(frozen=True, slots=True)
class Score:
    """A held-out figure with the interval that its own episodes give."""

    value: float
    low: float
    high: float
    n: int
    """Episodes, problems or people that it is of."""
    unit: str
    """What it is: success, return, …"""
    higher_is_better: bool = True
    share: bool = False
    """Whether it lies between 0 and 1 and means the same in every environment."""


def tested(row: Mapping[str, float], name: str) -> Score:
    """The figure `test/NAME` of a line of metrics, with its interval and episodes."""
    value, low, high = (row[f"test/{name}{end}"] for end in ("", "_low", "_high"))
    n = round(row["test/episodes"])
    return Score(value, low, high, n, name, share=name == "success")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has spent."""

    calls: float = 0.0
    tokens: float = 0.0
    usd: float = 0.0
    seconds: float = 0.0
    """Of the clock, up to the last line of the log; what a kill threw away is not in it."""
    cpu: float = 0.0
    """Processor seconds of the same."""


class Learning(NamedTuple):
    """A learning curve."""

    spent: str
    """What of: environment steps, episodes, …"""
    points: Curve


class Summary(Protocol):
    """What a role's module `summary` has; see above."""

    def contender(self, run: Path) -> Contender:
        """Who it was."""
        ...

    def score(self, run: Path) -> Score | None:
        """How well, on what was held out."""
        ...

    def beside(self, run: Path) -> Mapping[str, Score]:
        """What the run measured beside, by name."""
        ...

    def learning(self, run: Path) -> Learning:
        """How it got there."""
        ...

    def cost(self, run: Path) -> Cost:
        """What it took."""
        ...

    def share_done(self, run: Path) -> float:
        """How much of it is done."""
        ...


def priced(run: Path, usage: Usage) -> Cost:
    """`usage` with the seconds of a run's log."""
    rows = read(run / "timing.jsonl")
    clocks = (sum(row.get(f"run/{name}", 0.0) for row in rows) for name in ("seconds", "cpu"))
    tokens = usage.prompt_tokens + usage.completion_tokens
    return Cost(usage.calls, tokens, usage.usd, *clocks)
