"""The T-maze: worked episodes, what is shown when, and that memory is what it takes."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from understudy.envs.base import EnvError
from understudy.envs.memory.register import IDS, register
from understudy.envs.memory.tmaze import FORWARD, LEFT, RIGHT, SENTENCES, VOCABULARY, TMaze


def played(env, turn, seed):
    seen, _ = env.reset(seed=seed)
    shown = [seen]
    for _ in range(env.length):
        seen, reward, terminated, *_ = env.step(FORWARD)
        shown.append(seen)
        assert (reward, terminated) == (0.0, False)
    _, reward, terminated, truncated, info = env.step(turn)
    assert terminated
    assert not truncated
    assert info["success"] == (reward > 0)
    return shown, reward


@pytest.mark.parametrize("cue", ["vector", "sentence"])
def test_gymnasium_accepts_it(cue):
    register()
    env = gymnasium.make(next(iter(IDS)), cue=cue)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    steps = 0
    over = False
    while not over:
        *_, terminated, over, info = env.step(LEFT)
        assert not terminated
        assert info["success"] is False
        steps += 1
    assert steps == 40


@pytest.mark.parametrize("seed", range(4))
def test_the_cue_is_seen_once_and_decides(seed):
    env = TMaze()
    shown, left = played(env, LEFT, seed)
    _, right = played(env, RIGHT, seed)
    assert shown[0][:2].sum() == 1
    assert left == (4.0 if shown[0][0] else -0.1)
    assert {left, right} == {4.0, -0.1}
    assert not np.array(shown)[1:, :2].any()
    assert np.array(shown)[:, 3].tolist() == [0.0] * 10 + [1.0]


def test_both_sides_and_all_sentences_occur_and_are_over_at_the_junction():
    env, heard = TMaze(cue="sentence"), set()
    for seed in range(200):
        shown, _ = played(env, LEFT, seed)
        words = [VOCABULARY[int(seen["token"])] for seen in shown]
        assert words[-1] == VOCABULARY[0]
        line = " ".join(word for word in words if word != VOCABULARY[0])
        assert line in SENTENCES[env.side]
        heard.add(line)
    assert heard == {line for lines in SENTENCES.values() for line in lines}


def test_a_turn_in_the_corridor_and_a_step_at_the_junction_are_bumps():
    env = TMaze(length=2)
    env.reset(seed=0)
    rewards = []
    for action in (RIGHT, FORWARD, LEFT, FORWARD, FORWARD):
        _, reward, terminated, *_ = env.step(action)
        assert not terminated
        rewards.append(reward)
    assert rewards == [-0.1, 0.0, -0.1, 0.0, -0.1]
    assert env.place == 2
    assert env.step(env.side)[1:3] == (4.0, True)


def test_bad_options_are_told():
    with pytest.raises(EnvError, match="at least 6"):
        TMaze(length=3, cue="sentence")
    with pytest.raises(EnvError, match="'smell'"):
        TMaze(cue="smell")
