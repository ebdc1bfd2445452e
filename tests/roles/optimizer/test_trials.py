"""Trials at rest, the account of a budget, and which trial is the best."""

import json
from pathlib import Path

import numpy as np
import pytest

from understudy.data.jsonl import DataError
from understudy.roles.optimizer.budget import Budget, BudgetConfig
from understudy.roles.optimizer.trials import Trial, Trials, lower_bounds, read_trials, summed


def trial(point: tuple[int, ...], *returns: float, generation: int = 0) -> Trial:
    n = len(returns)
    return Trial(generation, "cma", point, returns, (3,) * n, tuple(range(n)))


def test_trials_come_back_to_the_bit(tmp_path: Path) -> None:
    rows = [
        trial((1, -2), 0.1 + 0.2, -1e-300),
        Trial(3, "lm", (0, 5), (1.0,), (7,), (2**62,), "ängstlich\n", ((0, 1, 2, -0.5, True, 9),)),
    ]
    trials = Trials(tmp_path / "trials.jsonl")
    trials.extend(rows[:1])
    trials.extend(rows[1:])
    assert read_trials(tmp_path / "trials.jsonl") == rows
    assert list(trials) == rows
    assert trials.points == {(1, -2): [0.1 + 0.2, -1e-300], (0, 5): [1.0]}


def test_restoring_cuts_off_what_came_later(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    first = Trials(file)
    first.extend([trial((i,), float(i)) for i in range(5)])
    with file.open("a") as out:
        out.write('{"point": [9], "retu')  # as a kill leaves it
    second = Trials(file)
    second.restore(3)
    second.extend([trial((7,), 7.0)])
    assert [t.point for t in read_trials(file)] == [(0,), (1,), (2,), (7,)]
    with pytest.raises(DataError, match="has 4 trials; the checkpoint needs 6"):
        Trials(file).restore(6)


def test_a_line_that_is_no_trial_is_named(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    file.write_text(json.dumps({"point": [1], "returns": [1.0]}) + "\n")
    with pytest.raises(DataError, match=r"trials.jsonl:1: not a trial"):
        read_trials(file)


def test_one_lucky_episode_is_no_record() -> None:
    trials = Trials()
    trials.extend([trial((0,), 80.0), trial((1,), *[70.0, 80.0] * 10), trial((2,), 10.0, 60.0)])
    assert trials.best(3) == [(1,), (0,), (2,)]
    # All episodes of a point count together, whichever trial they are of.
    trials.extend([trial((0,), *[90.0] * 20)])
    assert trials.best(1) == [(0,)]


def test_lower_bounds_by_hand() -> None:
    # Common variance: squares 8 + 0 over 3 + 1 degrees of freedom − as many means: 8 / 2 = 4.
    found = lower_bounds([summed([1.0, 5.0]), summed([3.0, 3.0])], z=2.0)
    spread = [np.sqrt((3 * 4 + 8) / 4), np.sqrt(12 / 4)]
    assert np.allclose(found, [3 - 2 * spread[0] / np.sqrt(2), 3 - 2 * spread[1] / np.sqrt(2)])
    assert lower_bounds([summed([4.0]), summed([2.0])]).tolist() == [4.0, 2.0]


def test_a_budget_is_spent_and_never_passed() -> None:
    budget = Budget(BudgetConfig(episodes=10, tokens=50))
    budget.spend(episodes=4, evaluations=2, tokens=60, usd=0.5)
    assert budget.left("episodes") == 6
    assert budget.left("usd") == float("inf")
    assert budget.left("tokens") == 0
    with pytest.raises(ValueError, match="7 episodes cannot be spent: 6 are left"):
        budget.spend(episodes=7)
    with pytest.raises(ValueError, match="cannot be spent"):
        budget.spend(episodes=-1)
    other = Budget(budget.limits)
    other.load(json.loads(json.dumps(budget.spent())))
    assert other == budget
    with pytest.raises(ValueError, match="2 calls cannot be spent: 1 are left"):
        Budget(BudgetConfig(calls=1)).spend(calls=2)
