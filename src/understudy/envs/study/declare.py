"""A study, declared: when decisions are made, what may be done, what people report, what it is worth.

A study is a TOML file; `low_mood.toml` beside this file is one, and another study is another file.
`load` (in `load.py`) reads it into the records below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from understudy.envs.base import EnvError

ReportedKind = Literal["ratings", "whole", "number"]
Rule = Literal["count", "sum", "min", "max", "median", "mean", "sd", "between", "received", "all"]
RUNNING: tuple[Rule, ...] = ("count", "sum", "between", "received")
"""Rules whose value only grows during a day, so that differences within it mean something."""


class StudyError(EnvError):
    """A study, or data of one, that contradicts itself; file, place and nearest valid name."""


@dataclass(frozen=True, slots=True)
class Action:
    """What may be done at a decision point."""

    name: str
    words: str
    message: bool
    """Whether the person receives something; rules `received` and `all` count these."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a person reports after each decision."""

    name: str
    kind: ReportedKind
    """ratings: a list of whole numbers, perhaps empty; whole, number: one value."""
    low: float
    high: float
    words: str
    per_day: int = 0
    """ratings: at most so many values a day."""
    budget: str = ""
    """whole: the day's sum is at most this derived variable (rule `received`)."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from a day's reports so far; 0 where there is nothing to derive it from.

    Rules, of the values that `of` reported today: count, sum, min, max, median, mean, sd (of the
    population, 0 of one value), between (how many lie in [start, stop]), received (messages sent
    today; `of` is empty), all (1 if the sum equals the messages sent today and any were sent).
    """

    name: str
    rule: Rule
    of: str
    words: str
    start: float = 0.0
    stop: float = 0.0


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the reward: weight × value, or weight × value / over (0 where over is 0)."""

    weight: float
    value: str
    over: str = ""


@dataclass(frozen=True, slots=True)
class StateOf:
    """What a decision may depend on, beside the day and its part; all of it known beforehand."""

    today: tuple[str, ...]
    yesterday: tuple[str, ...]
    """Derived variables as they were when yesterday ended; 0 on the first day."""
    since: tuple[str, ...]
    """Days since a derived variable last was above 0; never is one more than the days so far."""
    last_actions: int
    """How many earlier actions."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the columns are called that every study has."""

    person: str = "person"
    day: str = "day"
    part: str = "part"
    action: str = "action"
    reward: str = "reward"


@dataclass(frozen=True, slots=True)
class Study:
    """A whole declaration; P parts of a day, A actions, D state features."""

    name: str
    words: str
    parts: tuple[str, ...]
    """[P] the decision points of a day."""
    days: int
    actions: tuple[Action, ...]
    """[A]"""
    reported: tuple[Reported, ...]
    derived: tuple[Derived, ...]
    reward: tuple[Term, ...]
    state: StateOf
    names: Names
    drop_out: str | None
    """How leaving for good at the end of a day is said in words; None where nobody can leave."""

    @property
    def steps(self) -> int:
        """Decisions of somebody who stays to the end."""
        return self.days * len(self.parts)

    def report(self, name: str) -> Reported:
        """A reported variable by its name."""
        return next(r for r in self.reported if r.name == name)

    def derivation(self, name: str) -> Derived:
        """A derived variable by its name."""
        return next(d for d in self.derived if d.name == name)

    def capacity(self, reported: Reported) -> int:
        """How many values of a reported variable a day can hold."""
        return reported.per_day if reported.kind == "ratings" else len(self.parts)

    def range_of(self, name: str) -> tuple[float, float]:
        """The least and greatest value of a derived variable."""
        derived = self.derivation(name)
        if derived.rule == "all":
            return 0.0, 1.0
        if derived.rule == "received":
            return 0.0, float(len(self.parts) if any(a.message for a in self.actions) else 0)
        of = self.report(derived.of)
        most = self.capacity(of)
        if derived.rule in ("count", "between"):
            return 0.0, float(most)
        if derived.rule == "sd":
            return 0.0, (of.high - of.low) / 2
        if derived.rule == "sum":
            high = self.range_of(of.budget)[1] if of.budget else most * max(of.high, 0.0)
            return min(0.0, most * of.low), high
        return min(0.0, of.low), max(0.0, of.high)

    def reward_range(self) -> tuple[float, float]:
        """The least and greatest reward; a value over another counts as a share of it."""
        low = high = 0.0
        for term in self.reward:
            edges = (0.0, 1.0) if term.over else self.range_of(term.value)
            low += min(term.weight * edge for edge in edges)
            high += max(term.weight * edge for edge in edges)
        return low, high

    def whole(self, name: str) -> bool:
        """Whether a derived variable takes whole numbers only."""
        derived = self.derivation(name)
        if derived.rule in ("count", "between", "received", "all"):
            return True
        return derived.rule in ("min", "max", "sum") and self.report(derived.of).kind != "number"

    def features(self) -> tuple[tuple[str, float, float], ...]:
        """[D] name, least and greatest value of each number of the state."""
        return tuple(self._features())

    def _features(self) -> Iterator[tuple[str, float, float]]:
        yield "day", 0.0, float(self.days)
        for part in self.parts:
            yield f"part={part}", 0.0, 1.0
        for name in self.state.today:
            yield name, *self.range_of(name)
        for name in self.state.yesterday:
            yield f"yesterday.{name}", *self.range_of(name)
        for name in self.state.since:
            yield f"since.{name}", 0.0, float(self.days + 1)
        for back in range(1, self.state.last_actions + 1):
            for action in self.actions:
                yield f"action-{back}={action.name}", 0.0, 1.0
