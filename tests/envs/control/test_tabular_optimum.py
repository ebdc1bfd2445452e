"""Dynamic programming against brute force, published values and simulation."""

import itertools
import time

import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.control.tabular_optimum import (
    best_stationary,
    blackjack,
    discounted,
    optimum,
    optimum_of,
    policy_value,
)
from understudy.envs.control.vector import Arena, Table
from understudy.envs.search.policies import make_policy


def random_table(seed: int, limit: int = 6) -> Table:
    """3 states, 2 actions, 2 outcomes; some of them end the episode."""
    rng, shape = np.random.default_rng(seed), (3, 2, 2)
    probability = rng.dirichlet(np.ones(2), size=shape[:2])
    return Table(
        probability, rng.integers(3, size=shape), rng.normal(size=shape),
        rng.random(shape) < 0.2, rng.dirichlet(np.ones(3)), limit,
    )  # fmt: skip


def by_paths(table: Table, choose: dict[tuple[int, int], int], state: int, step: int) -> float:
    """Expected return by walking every path; `choose` gives the action of (step, state)."""
    if step == table.limit:
        return 0.0
    at = (state, choose[step, state])
    total = 0.0
    for k in range(2):
        after = (
            0.0
            if table.ended[at][k]
            else by_paths(table, choose, int(table.following[at][k]), step + 1)
        )
        total += table.probabilities[at][k] * (table.rewards[at][k] + after)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_values_against_every_path_and_every_policy(seed: int) -> None:
    table = random_table(seed, limit=3)
    for actions in itertools.product(range(2), repeat=3):
        choose = {(t, s): actions[s] for t in range(3) for s in range(3)}
        expected = sum(table.start[s] * by_paths(table, choose, s, 0) for s in range(3))
        assert np.isclose(policy_value(table, np.array(actions)), expected)
    counted = [
        sum(
            table.start[s] * by_paths(table, dict(zip(keys, plan, strict=True)), s, 0)
            for s in range(3)
        )
        for keys in [list(itertools.product(range(3), range(3)))]
        for plan in itertools.product(range(2), repeat=9)
    ]
    assert np.isclose(optimum(table), max(counted))


@pytest.mark.parametrize("seed", range(30))
def test_the_best_stationary_policy_is_hardly_beaten_by_brute_force(seed: int) -> None:
    table = random_table(seed, limit=60)
    actions, value = best_stationary(table)
    every = [policy_value(table, np.array(a)) for a in itertools.product(range(2), repeat=3)]
    assert value == policy_value(table, actions)
    assert value >= max(every) - 0.02 * (max(every) - min(every))
    assert max(every) <= optimum(table) + 1e-9


@pytest.mark.parametrize(
    ("env", "value", "stationary"),
    [
        ("FrozenLake-v1", 0.744, 0.740),
        ("CliffWalking-v1", -13.0, -13.0),
        ("CliffWalkingSlippery-v1", -63.013, -63.022),
        ("understudy/Nim-v0", 1.0, 1.0),
        ("understudy/Maze-v0", 0.97, 0.97),
        ("Taxi-v4", 7.93, 7.93),
        # Sutton & Barto's basic strategy against an infinite deck loses 4.3 cents a game.
        ("Blackjack-v1", -0.0431, -0.0431),
    ],
)
def test_known_optima(env: str, value: float, stationary: float) -> None:
    found = optimum_of(env)
    assert np.isclose(found.value, value, atol=6e-4)
    assert np.isclose(found.stationary, stationary, atol=6e-4)
    assert found.stationary <= found.value + 1e-9


@pytest.mark.parametrize(
    "env", ["FrozenLake-v1", "CliffWalkingSlippery-v1", "understudy/Nim-v0", "Blackjack-v1"]
)
def test_exact_values_are_what_playing_gives(env: str) -> None:
    table = blackjack() if env == "Blackjack-v1" else Arena(env).table
    assert table is not None
    with Arena(env) as arena:
        policy = make_policy("table", arena.observation_space, arena.action_space)
        states = len(policy.space)
        rng = np.random.default_rng(0)
        points = np.stack([discounted(table, 0.99)[:states], rng.integers(2, size=states)])
        episodes = 3000 if arena.vectorised else 4000
        returns = arena.play(policy.bind(points), list(range(episodes))).returns
    for point, mine in zip(points, returns, strict=True):
        # Blackjack's naturals, states of their own in its table, look like any other 21.
        natural = point[[(21 * 11 + d) * 2 + 1 for d in range(11)]] if states == 704 else []
        exact = policy_value(
            table, np.concatenate([point, np.array(natural, np.int64)]).astype(int)
        )
        error = mine.std() / np.sqrt(episodes)
        assert abs(mine.mean() - exact) <= 3.5 * error + 1e-9, (mine.mean(), exact)


def test_ties_are_broken_by_the_first_or_at_random() -> None:
    table = Table(
        np.ones((1, 3, 1)), np.zeros((1, 3, 1), int), np.array([[[0.0], [1.0], [1.0]]]),
        np.ones((1, 3, 1), bool), np.ones(1), 5,
    )  # fmt: skip
    assert discounted(table, 0.9).tolist() == [1]
    drawn = {int(discounted(table, 0.9, rng=np.random.default_rng(s))[0]) for s in range(20)}
    assert drawn == {1, 2}


def test_unknown_dynamics_are_told() -> None:
    with pytest.raises(EnvError, match="no transition table"):
        optimum_of("CartPole-v1")
    with pytest.raises(EnvError, match="not known"):
        optimum_of("Blackjack-v1", {"natural": True, "sab": False})


def test_it_is_quick() -> None:
    started = time.process_time()
    optimum_of("Taxi-v4")
    assert time.process_time() - started < 5
