"""MiniGrid's memory room: what it shows, and that the first object decides."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from understudy.envs.base import EnvError
from understudy.envs.memory.register import register
from understudy.envs.memory.room import KINDS, MemoryRoom

pytest.importorskip("minigrid")
LEFT, RIGHT, FORWARD = range(3)


def test_gymnasium_accepts_it():
    register()
    check_env(gymnasium.make("understudy/MemoryRoom-v0").unwrapped, skip_render_check=True)


def walked(env, upper):
    """The episode's reward when the agent goes to the end and to one of its sides."""
    game = env.game
    while game.agent_dir:
        env.step(RIGHT)
    for _ in range(env.game.width):
        _, reward, terminated, _, info = env.step(FORWARD)
    env.step(LEFT if upper else RIGHT)
    while not terminated:
        _, reward, terminated, _, info = env.step(FORWARD)
    assert info["success"] == (reward > 0)
    return reward > 0


def test_just_one_of_the_two_ends_is_right_and_neither_always():
    found = []
    for seed in range(20):
        ends = []
        for upper in (True, False):
            env = MemoryRoom()
            env.reset(seed=seed)
            ends.append(walked(env, upper))
        assert sum(ends) == 1
        found.append(ends[0])
    assert 0 < sum(found) < len(found)


def test_it_shows_kinds_of_cells_and_forgets_what_is_out_of_sight():
    env = MemoryRoom()
    seen, _ = env.reset(seed=0)
    shown = env.game.gen_obs()["image"][..., 0].ravel()
    assert [KINDS[kind] for kind in seen] == shown.tolist()
    again, _ = env.reset(seed=0)
    assert np.array_equal(seen, again)


def test_a_size_there_is_none_of_is_refused():
    with pytest.raises(EnvError, match="size must be one of"):
        MemoryRoom(8)
