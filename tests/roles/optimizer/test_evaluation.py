"""Racing spends exactly, and the winner is not whoever was luckiest."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from understudy.envs.control.vector import Arena, Played
from understudy.envs.search.policies import make_policy
from understudy.envs.search.task import Task, measure
from understudy.roles.optimizer.budget import Budget, BudgetConfig
from understudy.roles.optimizer.evaluation import choose, held_out, noisy, race
from understudy.roles.optimizer.proposers import Proposal
from understudy.roles.optimizer.trials import Trial, Trials


class Noisy:
    """A task whose point (i,) is worth i, give or take `noise`, the same for all in an episode or not."""

    def __init__(self, noise: float, *, common: bool = False) -> None:
        self.noise, self.common = noise, common
        self.played: list[tuple[list[tuple[int, ...]], list[int]]] = []

    def score(self, points: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> Any:
        self.played.append((list(points), list(seeds)))
        returns = np.array([[p[0] + self._noise(p[0], seed) for seed in seeds] for p in points])
        return Played(returns, np.ones_like(returns, np.int64)), [() for _ in points]

    def _noise(self, point: int, seed: int) -> float:
        key = [seed] if self.common else [point, seed]
        return self.noise * float(np.random.default_rng(key).standard_normal())

    @property
    def episodes(self) -> int:
        return sum(len(points) * len(seeds) for points, seeds in self.played)


def proposals(n: int) -> list[Proposal]:
    return [Proposal((i,), "test", f"because {i}") for i in range(n)]


def seed(i: int) -> int:
    return 1000 + i


def _from(start: int, i: int) -> int:
    return 10_000 * start + i


def budget(episodes: int, evaluations: int = 0) -> Budget:
    return Budget(BudgetConfig(episodes=episodes, evaluations=evaluations))


def test_the_better_half_plays_on_from_the_same_seeds() -> None:
    task: Any = Noisy(0.0)
    account = budget(100)
    found = race(task, proposals(8), seed, account, generation=3, first=2, rounds=3)
    assert [trial.point for trial in found] == [(i,) for i in range(8)]
    assert [trial.n for trial in found] == [2, 2, 2, 2, 4, 4, 8, 8]
    assert all(trial.seeds == tuple(seed(i) for i in range(trial.n)) for trial in found)
    assert {trial.reason for trial in found} == {f"because {i}" for i in range(8)}
    assert account.spent()["episodes"] == task.episodes == 8 * 2 + 4 * 2 + 2 * 4
    assert account.spent()["evaluations"] == 8


@pytest.mark.parametrize("episodes", range(1, 60))
def test_a_race_never_passes_its_budget(episodes: int) -> None:
    task: Any = Noisy(1.0)
    account = budget(episodes)
    found = race(task, proposals(8), seed, account, generation=0, first=3, rounds=3)
    assert task.episodes == account.spent()["episodes"] <= episodes
    assert len(found) == min(8, episodes)
    assert min(trial.n for trial in found) >= 1


def test_a_race_leaves_the_reserve_and_counts_evaluations() -> None:
    task: Any = Noisy(1.0)
    account = budget(30, evaluations=5)
    race(task, proposals(8), seed, account, generation=0, first=1, rounds=2, reserve=20)
    assert account.spent()["evaluations"] == 5
    assert account.left("episodes") >= 20
    assert account.left("evaluations") == 0


def lucky(n: int) -> Trials:
    """Trials in which the worst point had the luckiest episode."""
    trials = Trials()
    trials.extend([Trial(0, "t", (i,), (10.0 * (i == 0) + i,), (1,), (0,)) for i in range(n)])
    return trials


def test_the_choice_is_not_fooled_by_luck() -> None:
    task: Any = Noisy(1.0)
    account = budget(300)
    trials = lucky(8)
    assert trials.best(1) == [(0,)]
    point, decided = choose(task, trials, [], seed, account)
    assert point == (7,)
    assert account.spent()["episodes"] == task.episodes == sum(t.n for t in decided)
    assert 270 <= task.episodes <= 300
    assert {t.proposer for t in decided} == {"choice"}


@pytest.mark.parametrize(("noise", "winner"), [(40.0, 5), (0.3, 7)])
def test_the_recommended_stays_unless_it_is_clearly_beaten(noise: float, winner: int) -> None:
    wins = []
    for start in range(20):
        task: Any = Noisy(noise)
        trials = lucky(8)
        shifted = partial(_from, start)
        wins.append(choose(task, trials, [(5,)], shifted, budget(120))[0][0])
    assert np.mean(np.array(wins) == winner) >= 0.8


@pytest.mark.parametrize(("noise", "expected"), [(0.0, False), (0.05, False), (1.0, True)])
def test_noise_is_judged_against_the_differences_between_points(
    noise: float, expected: bool
) -> None:
    task: Any = Noisy(noise)
    assert noisy([])  # nobody knows yet
    found = race(task, proposals(8), seed, budget(100), generation=0, first=1, rounds=2)
    assert noisy(found) == expected
    single = [replace(trial, returns=trial.returns[:1]) for trial in found]
    assert noisy(single)
    assert noisy([replace(trial, returns=(1.0, 1.0)) for trial in found])  # no difference at all


@pytest.mark.parametrize("episodes", range(8, 60, 3))
def test_a_small_choice_spends_what_it_has(episodes: int) -> None:
    task: Any = Noisy(0.0)
    point, decided = choose(task, lucky(8), [], seed, budget(episodes))
    assert point == (7,)
    assert episodes - 7 <= task.episodes <= episodes
    assert len(decided) == 8


def test_a_choice_without_episodes_is_the_incumbent() -> None:
    task: Any = Noisy(1.0)
    account = budget(1)
    account.spend(episodes=1)
    assert choose(task, lucky(3), [(2,)], seed, account) == ((2,), [])
    with pytest.raises(ValueError, match="nothing was tried"):
        choose(task, Trials(), [], seed, budget(5))


def test_the_held_out_figure_has_an_interval_that_holds() -> None:
    inside = 0
    for start in range(40):
        task: Any = Noisy(2.0)
        shifted = partial(_from, start)
        found = held_out(task, (3,), shifted, 100, np.random.default_rng(start))
        assert found.low < found.mean < found.high
        assert math.isclose(found.std, 2.0, rel_tol=0.35)
        inside += found.low <= 3.0 <= found.high
    assert inside >= 34


def test_scaled_observations_have_the_spread_they_are_said_to_have() -> None:
    with Arena("MountainCar-v0") as arena:
        scale = measure(arena, list(range(8)), np.random.default_rng(0)).scale()
        assert -0.6 < scale.mean[0] < -0.4
        assert 0.02 < scale.std[0] < 0.2
        assert 0.002 < scale.std[1] < 0.02
        again = measure(arena, list(range(8)), np.random.default_rng(0)).scale()
        assert np.array_equal(again.std, scale.std)


def test_a_table_notes_where_it_went() -> None:
    with Arena("understudy/Maze-v0") as arena:
        task = Task(arena, make_policy("table", arena.observation_space, arena.action_space))
        # Down, right, down, right leads through cells 3, 4 and 7 to the goal.
        point = task.space.point([2, 0, 0, 1, 2, 0, 0, 1, 0])
        played, moves = task.score([point, (0,) * 9], [0, 1])
    assert played.returns.round(10).tolist() == [[0.97, 0.97], [-1.0, -1.0]]
    assert moves[0] == (
        (0, 2, 3, -0.01, False, 2), (3, 1, 4, -0.01, False, 2),
        (4, 2, 7, -0.01, False, 2), (7, 1, 8, 1.0, True, 2),
    )  # fmt: skip
    assert moves[1] == ((0, 0, 0, -0.01, False, 200),)
