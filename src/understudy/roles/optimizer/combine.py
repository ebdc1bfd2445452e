"""Proposers made of others: one after the other, and a bandit that feeds whoever earns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from understudy.envs.search.space import Floats, Point, Space
from understudy.roles.optimizer.proposers import Proposal, Proposer
from understudy.roles.optimizer.trials import Trial, Trials

ELITE = 0.25
"""The share of points, best first, that a warm start is made from."""
NARROW, WIDE = 1 / 24, 1 / 3
"""Bounds of its standard deviation, as shares of half a box's width."""
FORGET = 0.9
"""What an older batch counts, against the one after it."""


@runtime_checkable
class WarmStart(Protocol):
    """A proposer that can begin where others have been."""

    def warm_start(self, point: Point, spread: Floats) -> None:
        """Around a point, with a standard deviation [D] for each parameter."""
        ...


class Hybrid:
    """One proposer for the first trials, then another, started from the elite of all trials."""

    def __init__(self, first: Proposer, then: Proposer, space: Space, *, trials: int) -> None:
        """`first` proposes the first `trials` points."""
        self.name = "hybrid"
        self._first, self._then, self._space, self._trials = first, then, space, trials
        self._told, self._started = 0, False

    @property
    def batch(self) -> int:
        """That of whose turn it is."""
        return self._then.batch if self._over else self._first.batch

    @property
    def _over(self) -> bool:
        return self._told >= self._trials

    def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """Of whose turn it is; the second takes over early where the first has nothing more."""
        if not self._over:
            found = self._first.ask(min(n, self._trials - self._told), trials, rng)
            if found:
                return found
            self._told = self._trials
        if not self._started:
            self._started = True
            if isinstance(self._then, WarmStart) and len(trials.points) > 1:
                self._then.warm_start(*elite(trials, self._space))
        return self._then.ask(n, trials, rng)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Both learn from everything."""
        self._told += len(trials)
        self._first.tell(trials)
        self._then.tell(trials)

    def recommend(self, trials: Trials) -> list[Point]:
        """Of the second; the first is heard until then."""
        return self._then.recommend(trials) or self._first.recommend(trials)

    def state(self) -> dict[str, Any]:
        """Both states."""
        return {
            "first": self._first.state(),
            "then": self._then.state(),
            "told": self._told,
            "started": self._started,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        self._first.load(state["first"])
        self._then.load(state["then"])
        self._told, self._started = state["told"], state["started"]


def elite(trials: Trials, space: Space) -> tuple[Point, Floats]:
    """Where the best quarter of the points lies: a point and a standard deviation [D].

    The centre of numbers is their mean over the elite, that of a choice the best point's.
    """
    best = np.array(trials.best(max(2, int(np.ceil(ELITE * len(trials.points))))))
    centre = np.where(space.categorical, best[0], np.rint(best.mean(axis=0)))
    radius = (space.high - space.low) * space.step / 2
    spread = np.clip(space.values(best).std(axis=0), NARROW * radius, WIDE * radius)
    return space.point(centre), spread


class Portfolio:
    """Whole batches to one of several proposers, drawn by how its latest batches did.

    A trial is a success if it is among the best quarter of all trials so far. Each member has a Beta
    distribution over its share of successes; the member with the greatest draw is asked (Thompson
    1933), older batches fade by `FORGET`, so that the budget moves when the earnings do.
    """

    def __init__(self, members: Sequence[Proposer]) -> None:
        """At least two members with names of their own."""
        assert len({member.name for member in members}) == len(members) >= 2
        self.name, self._members = "portfolio", tuple(members)
        self._wins, self._losses = np.zeros(len(members)), np.zeros(len(members))
        self._means: Floats = np.zeros(0)
        self._turn = 0

    @property
    def batch(self) -> int:
        """The largest of the members' batches; each gives what it likes."""
        return max(member.batch for member in self._members)

    def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """Of the member that drew the most and has proposals; each has its first turn first."""
        draws = rng.beta(self._wins + 1.0, self._losses + 1.0)
        draws[self._wins + self._losses == 0] = 1.0
        for turn in np.argsort(-draws, kind="stable").tolist():
            self._turn, member = turn, self._members[turn]
            if found := member.ask(min(n, member.batch), trials, rng):
                return found
        return []

    def tell(self, trials: Sequence[Trial]) -> None:
        """All members learn from everything; whose turn it was is credited."""
        for member in self._members:
            member.tell(trials)
        self._wins *= FORGET
        self._losses *= FORGET
        good = sum(trial.mean >= self._bar for trial in trials)
        self._wins[self._turn] += good
        self._losses[self._turn] += len(trials) - good
        self._means = np.append(self._means, [trial.mean for trial in trials])

    @property
    def _bar(self) -> float:
        """What a trial has to reach to be among the best quarter so far."""
        return float(np.quantile(self._means, 1.0 - ELITE)) if len(self._means) else -np.inf

    def recommend(self, trials: Trials) -> list[Point]:
        """Of all members, whoever did best of late first."""
        order = np.argsort(-(self._wins + 1.0) / (self._wins + self._losses + 2.0), kind="stable")
        return [point for i in order for point in self._members[i].recommend(trials)]

    def state(self) -> dict[str, Any]:
        """Earnings and members."""
        return {
            "members": [member.state() for member in self._members],
            "wins": self._wins.tolist(),
            "losses": self._losses.tolist(),
            "means": self._means.tolist(),
            "turn": self._turn,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        for member, packed in zip(self._members, state["members"], strict=True):
            member.load(packed)
        self._wins, self._losses = np.array(state["wins"]), np.array(state["losses"])
        self._means, self._turn = np.array(state["means"]), state["turn"]
