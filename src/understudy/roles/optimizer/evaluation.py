"""Honest evaluation: racing during the search, a fair choice at its end, a held-out figure.

All points of a race play the same seeds (common random numbers). The greatest of many noisy means
is mostly noise: the winner is chosen on episodes that no search saw, and its figure comes from
episodes that no choice saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.envs.search.space import Floats, Point
from understudy.envs.search.task import Move, Task
from understudy.ops.stats import bootstrap_ci
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.proposers import Proposal
from understudy.roles.optimizer.trials import Trial, Trials, summed

Seed = Callable[[int], int]
"""The seed of the i-th episode, the same for all points."""
CANDIDATES = 8
"""Points of the last choice besides those the proposer recommends."""
RECOMMENDED = 4
NOISE = 0.01
"""Variance within points from which on they are raced, as a share of that between them."""
RECENT = 16
"""Points by whose episodes that is judged."""
PROBE = 4
"""Every so many generations are raced in any case, so that noise which comes later is noticed."""
CLEARLY = 2.0
"""Standard errors by which a point must beat the incumbent."""


class _Runner:
    """One point's episodes so far."""

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.moves: dict[tuple[int, int, int, float, bool], int] = {}

    @property
    def mean(self) -> float:
        return math.fsum(self.returns) / len(self.returns)

    def add(self, returns: Floats, lengths: Floats, moves: Sequence[Move]) -> None:
        self.returns += returns.tolist()
        self.lengths += [int(n) for n in lengths]
        for state, action, following, reward, ended, times in moves:
            key = (state, action, following, reward, ended)
            self.moves[key] = self.moves.get(key, 0) + times

    def trial(self, generation: int, seed: Seed) -> Trial:
        return Trial(
            generation=generation,
            proposer=self.proposal.proposer,
            point=self.proposal.point,
            returns=tuple(self.returns),
            lengths=tuple(self.lengths),
            seeds=tuple(seed(i) for i in range(len(self.returns))),
            reason=self.proposal.reason,
            moves=tuple((*move, times) for move, times in self.moves.items()),
        )


def _play(task: Task, runners: Sequence[_Runner], seed: Seed, episodes: int) -> None:
    """Everyone's next episodes; all have played equally many."""
    done = len(runners[0].returns)
    seeds = [seed(i) for i in range(done, done + episodes)]
    played, moves = task.score([runner.proposal.point for runner in runners], seeds)
    for runner, returns, lengths, seen in zip(
        runners, played.returns, played.lengths, moves, strict=True
    ):
        runner.add(returns, lengths, seen)


def race(
    task: Task,
    proposals: Sequence[Proposal],
    seed: Seed,
    budget: Budget,
    *,
    generation: int,
    first: int,
    rounds: int,
    reserve: int = 0,
) -> list[Trial]:
    """Successive halving (Jamieson & Talwalkar 2016): a few episodes for all, more for the best.

    Args:
        task: where.
        proposals: what is tried; as many of them, from the first, as the budget pays for.
        seed: of this race's episodes.
        budget: pays; what is left of it is never passed.
        generation: noted in the trials.
        first: episodes of everyone.
        rounds: 1 stops there; in every further one the better half play as many again as so far.
        reserve: episodes of the budget that are not for races.
    """
    left = int(min(budget.left("episodes"), 2**31)) - reserve
    first = max(1, min(first, left // max(1, len(proposals))))
    count = int(min(len(proposals), left // first, budget.left("evaluations")))
    runners = [_Runner(proposal) for proposal in proposals[: max(0, count)]]
    racing, episodes = runners, first
    for _ in range(rounds):
        episodes = min(episodes, left // max(1, len(racing)))
        if not racing or episodes < 1:
            break
        _play(task, racing, seed, episodes)
        budget.spend(episodes=episodes * len(racing))
        left -= episodes * len(racing)
        better = sorted(racing, key=lambda runner: -runner.mean)
        # Halving ends with one runner; its further episodes would decide nothing.
        racing = better[: len(racing) // 2]
        episodes = len(better[0].returns)
        if len(racing) < 2:
            break
    budget.spend(evaluations=len(runners))
    return [runner.trial(generation, seed) for runner in runners]


def noisy(trials: Sequence[Trial]) -> bool:
    """Whether one episode says little: points differ hardly more than a point's own episodes.

    Where it says enough, racing and a long choice would only spend episodes. It is judged by the
    latest points that played more than once; while all returns are the same, nobody knows.
    """
    between = float(np.var([trial.returns[0] for trial in trials])) if trials else 0.0
    repeated = [summed(trial.returns) for trial in trials if trial.n > 1][-RECENT:]
    if between == 0.0 or not repeated:
        return True
    within = sum(s.squares for s in repeated) / sum(s.n - 1 for s in repeated)
    return within > NOISE * between


def choose(
    task: Task, trials: Trials, recommended: Sequence[Point], seed: Seed, budget: Budget
) -> tuple[Point, list[Trial]]:
    """The search's winner, by all the episodes that are left, and the trials that decided.

    The proposer's first recommendation, or else the best trial by `lower_bounds`, is the incumbent.
    Candidates are halved on fresh episodes; the best of them replaces the incumbent if it is ahead
    by `CLEARLY` standard errors of the paired differences.

    Raises:
        ValueError: there is nothing to choose from.
    """
    points = list(dict.fromkeys([*recommended[:RECOMMENDED], *trials.best(CANDIDATES)]))
    if not points:
        raise ValueError("nothing was tried")
    left = int(budget.left("episodes"))
    points = points[: max(1, left)]
    incumbent, *others = [_Runner(Proposal(point, "choice")) for point in points]
    runners = [incumbent, *others]
    rounds = max(1, math.ceil(math.log2(len(points))))
    for number in range(rounds):
        episodes = max(1, left // (rounds - number) // (1 + len(others)))
        if not others or episodes * (1 + len(others)) > left:
            break
        _play(task, [incumbent, *others], seed, episodes)
        budget.spend(episodes=episodes * (1 + len(others)))
        left -= episodes * (1 + len(others))
        others = sorted(others, key=lambda runner: -runner.mean)
        if number < rounds - 1:
            others = others[: max(1, len(others) // 2)]
    played = [r.trial(-1, seed) for r in runners if r.returns]
    if others and played and _clearly_better(others[0].returns, incumbent.returns):
        return others[0].proposal.point, played
    return incumbent.proposal.point, played


def _clearly_better(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    differences = np.array(ours) - np.array(theirs)
    if len(differences) < 2:
        return bool(differences[0] > 0)
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return bool(differences.mean() > CLEARLY * error)


@dataclass(frozen=True)
class HeldOut:
    """What a policy is worth, on episodes that nothing else was decided on."""

    mean: float
    low: float
    """Of the 95 % bootstrap interval of the mean."""
    high: float
    std: float
    episodes: int
    length: float
    """Mean steps of an episode."""


def held_out(
    task: Task, point: Point, seed: Seed, episodes: int, rng: np.random.Generator
) -> HeldOut:
    """One policy's mean return on fresh episodes, with an interval."""
    played, _ = task.score([point], [seed(i) for i in range(episodes)])
    returns = played.returns[0]
    low, high = bootstrap_ci(returns, lambda sample: float(sample.mean()), rng)
    return HeldOut(
        mean=float(returns.mean()),
        low=low,
        high=high,
        std=float(returns.std(ddof=1)) if episodes > 1 else 0.0,
        episodes=episodes,
        length=float(played.lengths.mean()),
    )
