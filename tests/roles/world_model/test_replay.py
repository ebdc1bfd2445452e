"""What is remembered and drawn: laws of the ring, and records as the environment made them."""

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st

from tests.roles.world_model.parts import played, settings
from understudy.envs.base import EnvError
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.replay import Replay
from understudy.roles.world_model.spaces import Key, actions_of, keys_of
from understudy.run.errors import RunError

KEY = Key("observation", "vector", (1,), "float32")


def ring(steps, *, envs=2, capacity=40, length=4, **options):
    """The observation of environment e at its step t is 1000 e + t; an episode begins every 7 steps."""
    replay = Replay([KEY], 1, envs=envs, capacity=capacity, length=length, **options)
    for t in range(steps):
        rows = np.arange(envs, dtype=np.float32)
        record = {
            "observation": (1000 * rows + t)[:, None], "action": np.zeros((envs, 1), np.float32),
            "reward": np.full(envs, t, np.float32), "is_first": np.full(envs, t % 7 == 0),
            "is_last": np.full(envs, t % 7 == 6), "is_terminal": np.zeros(envs, bool),
        }  # fmt: skip
        if "context" in options:
            record["context"] = np.full((envs, options["context"]), t, np.float32)
        replay.add(record)
    return replay


@given(st.integers(4, 70), st.integers(0, 2**32 - 1))
@hypothesis_settings(deadline=None, max_examples=40)
def test_a_sequence_is_consecutive_steps_of_one_environment_that_are_still_kept(steps, seed):
    replay = ring(steps, online=False)
    batch, drawn = replay.draw(8, np.random.default_rng(seed))
    seen = batch["observation"][..., 0].numpy()
    assert (np.diff(seen, axis=1) == 1).all()
    assert (seen[:, 0] == 1000 * drawn.rows + drawn.starts).all()
    assert (seen % 1000 >= steps - replay.kept).all()
    assert (batch["is_first"].numpy() == (seen % 1000 % 7 == 0)).all()


def test_starts_are_uniform_over_all_kept_steps_and_environments():
    replay = ring(50, online=False)
    _, drawn = replay.draw(34_000, np.random.default_rng(0))
    found = np.unique(drawn.starts + 1000 * drawn.rows, return_counts=True)
    # 17 starts (30 … 46) in each of 2 environments, 1000 draws each: four deviations are 126.
    assert found[0].tolist() == [*range(30, 47), *range(1030, 1047)]
    assert np.abs(found[1] - 1000).max() < 126


def test_every_new_sequence_is_drawn_once_first():
    replay = ring(12, online=True)
    rng = np.random.default_rng(0)
    _, first = replay.draw(4, rng)
    _, second = replay.draw(4, rng)
    assert list(zip(first.starts, first.rows, strict=True)) == [(0, 0), (0, 1), (4, 0), (4, 1)]
    assert list(zip(second.starts, second.rows, strict=True))[:2] == [(8, 0), (8, 1)]
    assert not replay.queue


def test_a_queued_sequence_that_was_overwritten_is_not_drawn():
    replay = ring(60, online=True)
    _, drawn = replay.draw(1, np.random.default_rng(0))
    assert drawn.starts[0] == 40


def test_context_belongs_to_the_first_step_and_is_refreshed():
    replay = ring(30, context=3, online=False)
    batch, drawn = replay.draw(5, np.random.default_rng(1))
    assert torch.equal(batch["context"][:, 0], torch.from_numpy(drawn.starts).float())
    newer = torch.arange(5 * 4 * 3.0).reshape(5, 4, 3) + 1e4
    replay.refresh(drawn, newer)
    for i in range(5):
        for t in range(4):
            step, row = drawn.starts[i] + 1 + t, drawn.rows[i]
            written = [
                newer[j, step - drawn.starts[j] - 1]
                for j in range(5)
                if drawn.rows[j] == row and 0 < step - drawn.starts[j] <= 4
            ]
            if step < replay.count:
                assert replay.data["context"][step % 20, row].tolist() in [
                    w.tolist() for w in written
                ]


def test_steps_before_the_oldest_are_an_empty_past():
    replay = ring(4, before=3, online=False)
    batch, _ = replay.draw(2, np.random.default_rng(0))
    assert batch["reward"].tolist() == [[0, 0, 0, 0, 1, 2, 3]] * 2
    assert batch["is_first"].tolist() == [[True] * 4 + [False] * 3] * 2
    late = ring(30, before=3, online=False)
    batch, drawn = late.draw(50, np.random.default_rng(0))
    assert torch.equal(batch["reward"][:, 3], torch.from_numpy(drawn.starts).float())


def test_too_little_is_told():
    with pytest.raises(RunError, match="3 steps hold no sequence of 4"):
        ring(3).draw(1, np.random.default_rng(0))


@pytest.mark.parametrize("steps", [5, 33])
def test_it_comes_back_whole(steps):
    replay, other = ring(steps, context=2), ring(0, context=2)
    replay.draw(3, np.random.default_rng(0))
    other.set_state(*replay.get_state())
    for _ in range(3):
        one, _ = replay.draw(6, np.random.default_rng(3))
        two, _ = other.draw(6, np.random.default_rng(3))
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert replay.get_state()[1] == other.get_state()[1]


# ---- records --------------------------------------------------------------------------------------


class Count(gymnasium.Env):
    """Shows its step; ends by itself at the third (even seeds) or is cut off there (odd ones)."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        self.time, self.ends = 0, seed % 2 == 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in (1, 2)
        self.time += 1
        over = self.time == 3
        shown = np.full(1, self.time, np.float32)
        return shown, float(action), over and self.ends, over and not self.ends, {"success": over}


def test_the_last_observation_of_an_episode_is_a_record_of_its_own():
    envs = Envs([Count(), Count()], lambda i, n: i + n)
    second = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    rows = [envs.advance(None)] + [envs.advance(second) for _ in range(5)]
    assert [row["observation"][0, 0] for row in rows] == [0, 1, 2, 3, 0, 1]
    assert [row["reward"][0] for row in rows] == [0, 2, 2, 2, 0, 2]
    assert [bool(row["is_first"][0]) for row in rows] == [True, False, False, False, True, False]
    assert [bool(row["is_last"][0]) for row in rows] == [False, False, False, True, False, False]
    assert [row["is_terminal"].tolist() for row in rows][3] == [True, False]
    assert envs.steps == 8
    assert [tuple(ended) for ended in envs.finished] == [(0, 6.0, 3, 1.0), (1, 6.0, 3, 1.0)]


def test_without_restart_an_environment_stays_at_its_end():
    envs = Envs([Count()], lambda i, n: 0)
    action = np.array([[1.0, 0.0]], np.float32)
    envs.advance(None)
    shown = [envs.advance(action, restart=False)["observation"][0, 0] for _ in range(5)]
    assert shown == [1, 2, 3, 3, 3]
    assert envs.steps == 3
    assert len(envs.finished) == 1


def test_cartpole_keeps_its_fallen_poles():
    _, _, replay = played(settings(), 200)
    kept = {name: values[: replay.kept, 0] for name, values in replay.data.items()}
    assert kept["is_terminal"].sum() > 3
    ends = np.flatnonzero(kept["is_last"])
    assert (np.abs(kept["observation"][ends, 2]) > 0.2095).all()
    assert not kept["action"][ends].any()
    assert (kept["reward"][ends] == 1).all()
    firsts = np.flatnonzero(kept["is_first"])
    assert (firsts[1:] == ends[: len(firsts) - 1] + 1).all()
    assert not kept["reward"][firsts].any()
    assert (kept["action"][~kept["is_last"]].sum(-1) == 1).all()


def test_environments_come_back_where_they_were():
    _, envs, _ = played(settings("--envs", "2"), 45)
    _, other, _ = played(settings("--envs", "2"), 3)
    other.set_state(envs.get_state(), envs.records)
    action = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    for _ in range(30):
        one, two = envs.advance(action), other.advance(action)
        assert all(np.array_equal(one[name], two[name]) for name in one)


def test_an_environment_that_does_not_repeat_itself_is_told(caplog):
    class Moody(Count):
        moods = 0

        def reset(self, *, seed=None, options=None):
            Moody.moods += 1
            return np.full(1, Moody.moods, np.float32), super().reset(seed=seed)[1]

    envs = Envs([Moody()], lambda i, n: 0)
    envs.advance(None)
    envs.set_state(envs.get_state(), envs.records)
    assert "does not repeat" in caplog.text


# ---- spaces ---------------------------------------------------------------------------------------


def test_kinds_of_observations():
    box, discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
    space = gymnasium.spaces.Dict(
        {
            "view": box(0, 255, (32, 48, 3), np.uint8), "token": discrete(9),
            "place": discrete(4), "speed": box(-1, 1, (2, 3), np.float64),
        }
    )  # fmt: skip
    found = [(key.name, key.kind, key.shape, key.classes) for key in keys_of(space)]
    assert found == [
        ("place", "discrete", (1,), 4), ("speed", "vector", (6,), 0),
        ("token", "token", (1,), 9), ("view", "image", (32, 48, 3), 0),
    ]  # fmt: skip
    with pytest.raises(EnvError, match="Text"):
        keys_of(gymnasium.spaces.Text(3))


def test_actions_reach_the_environment_in_its_own_range():
    box = gymnasium.spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float64)
    actions = actions_of(box)
    assert actions.to_env(np.array([0.5, -9.0])).tolist() == [1.0, 0.0]
    assert actions_of(gymnasium.spaces.Discrete(3, start=5)).to_env(np.array([0, 0, 1])) == 7
    with pytest.raises(EnvError, match="MultiBinary"):
        actions_of(gymnasium.spaces.MultiBinary(2))
