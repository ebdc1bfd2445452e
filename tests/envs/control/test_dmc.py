"""The DeepMind Control Suite as Gymnasium environments, and what is said where it is not installed."""

import sys
from importlib.metadata import version

import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.control.register import limit_of, make

TASK = "dmc/cartpole_swingup_sparse"


@pytest.fixture
def suite():
    pytest.importorskip("dm_control")
    if int(version("mujoco").partition(".")[0]) >= 4:
        pytest.skip("dm_control needs mujoco below 4")


def test_what_is_said_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(EnvError, match=r"dmc/cartpole_balance needs dm_control; pip install"):
        make("dmc/cartpole_balance")


def test_an_episode_is_the_suite_s_own(suite):
    from dm_control import suite as original

    env = make(TASK)
    theirs = original.load("cartpole", "swingup_sparse", task_kwargs={"random": 7})
    seen, _ = env.reset(seed=7)
    now = theirs.reset()
    rng, steps, over = np.random.default_rng(0), 0, False
    while not over:
        wanted = np.concatenate([np.ravel(x) for x in now.observation.values()])
        assert np.allclose(seen, wanted, atol=1e-6)
        action = rng.uniform(-1, 1, 1).astype(np.float32)
        seen, reward, terminated, over, _ = env.step(action)
        now = theirs.step(action)
        assert not terminated
        assert reward == now.reward
        steps += 1
    assert steps == limit_of(env) == 1000
    assert now.last()
    assert np.array_equal(env.reset(seed=7)[0], make(TASK).reset(seed=7)[0])


def test_a_repeated_action_adds_rewards(suite):
    once, twice = make("dmc/walker_stand"), make("dmc/walker_stand", {"repeat": 2})
    once.reset(seed=1)
    twice.reset(seed=1)
    action = np.full(once.action_space.shape, 0.3, np.float32)
    total = sum(float(once.step(action)[1]) for _ in range(2))
    seen, reward, *_ = twice.step(action)
    assert reward == pytest.approx(total)
    assert reward > 0
    assert seen.shape == twice.observation_space.shape


def test_a_task_that_is_none(suite):
    with pytest.raises(EnvError, match="did you mean dmc/cartpole_swingup"):
        make("dmc/cartpole_swing")
    with pytest.raises(EnvError, match="repeat must be at least 1"):
        make(TASK, {"repeat": 0})
