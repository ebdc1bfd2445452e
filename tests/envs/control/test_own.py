"""Nim, the maze and Pong keep Gymnasium's rules and their own."""

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from understudy.envs.control.nim import Nim
from understudy.envs.control.pong import BALLS, Pong
from understudy.envs.control.register import OWN, limit_of, make


@pytest.mark.parametrize("env_id", OWN)
def test_gymnasium_accepts_it(env_id: str) -> None:
    env = make(env_id)
    check_env(env.unwrapped, skip_render_check=True)
    assert limit_of(env) == OWN[env_id][1]


def test_nim_is_lost_by_greed_and_won_by_fours() -> None:
    env = Nim()
    assert env.P[2][2] == [(1.0, 0, -1.0, True)]
    assert env.P[3][2] == [(1.0, 0, 1.0, True)]
    # Two left after our move: the opponent takes one of them, or both and wins.
    assert env.P[3][0] == [(0.5, 1, 0.0, False), (0.5, 0, -1.0, True)]
    for seed in range(30):
        left, _ = env.reset(seed=seed)
        assert left == 10
        over, reward = False, 0.0
        while not over:
            left, reward, over, _, _ = env.step((left % 4 or 1) - 1)
        assert reward == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        Nim(0)


def test_every_table_is_a_distribution() -> None:
    for env_id in ("understudy/Nim-v0", "understudy/Maze-v0"):
        table: Any = make(env_id).unwrapped
        for row in table.P.values():
            for outcomes in row.values():
                assert np.isclose(sum(o[0] for o in outcomes), 1.0)
        assert table.initial_state_distrib.sum() == 1.0


def rally(env: Any, seed: int, follow: bool) -> tuple[float, int, list[Any]]:
    seen, _ = env.reset(seed=seed)
    total, steps, balls = 0.0, 0, []
    over = cut = False
    while not (over or cut):
        gap = seen[1] - seen[4]
        action = (1 if gap > 0.02 else 2 if gap < -0.02 else 0) if follow else 1
        seen, reward, over, cut, _ = env.step(action)
        assert env.observation_space.contains(seen)
        assert reward in (0.0, 1.0, -1.0)
        balls += [reward] * (reward != 0)
        total, steps = total + reward, steps + 1
    return total, steps, balls


def test_pong_rewards_a_paddle_that_follows_the_ball() -> None:
    env = make("understudy/Pong-v0")
    assert isinstance(env.unwrapped, Pong)
    following = [rally(env, seed, True) for seed in range(60)]
    corner = [rally(env, seed, False) for seed in range(60)]
    assert all(len(balls) == BALLS for _, _, balls in following + corner)
    assert {r[0] for r in following} == {3.0}
    assert np.mean([r[0] for r in corner]) < -1.5
