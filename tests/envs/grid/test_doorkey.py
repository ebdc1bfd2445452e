"""The batch is MiniGrid's game: held against MiniGrid's own classes step by step, and its bookkeeping."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from minigrid.core.grid import Grid
from minigrid.core.world_object import Wall

from understudy.envs.base import EnvError
from understudy.envs.grid import expert
from understudy.envs.grid.codes import FORWARD, LAVA, WAIT
from understudy.envs.grid.doorkey import MAX_STEPS, DoorKeyVector
from understudy.envs.grid.doorkey_single import DoorKeyRoom
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.minigrid import MinigridMemory
from understudy.envs.grid.register import IDS, register
from understudy.envs.grid.scene import Scene, describe
from understudy.envs.grid.skills import actions as follow
from understudy.envs.grid.vision import VISIBLE

ODDS = [0.12, 0.12, 0.36, 0.15, 0.05, 0.15, 0.05]


class Reference:
    """One MiniGrid room, and the map remembered from its own slow view."""

    def __init__(self, task: str, seed: int) -> None:
        self.room = DoorKeyRoom(task)
        self.room.gen_obs = dict  # `image` looks instead, once per step
        self.begin(seed)

    def begin(self, seed: int | None = None) -> None:
        self.room.reset(seed=seed)
        self.map = np.zeros((self.room.width, self.room.height, 4), np.uint8)
        self.map[..., 3] = 4

    def image(self) -> np.ndarray:
        room = self.room
        _, visible = room.gen_obs_grid(3)
        left, top, right, bottom = room.get_view_exts(3)
        for x in range(max(0, left), min(room.width, right)):
            for y in range(max(0, top), min(room.height, bottom)):
                if visible[room.relative_coords(x, y)]:
                    thing = room.grid.get(x, y)
                    self.map[x, y, :3] = (1, 0, 0) if thing is None else thing.encode()
        shown = self.map.copy()
        held = (1, 0, 0) if room.carrying is None else room.carrying.encode()
        shown[tuple(room.agent_pos)] = (*held, room.agent_dir)
        return shown


def test_sight_is_minigrids_in_every_case() -> None:
    for case in range(512):
        view = Grid(3, 3)
        for bit in range(9):
            if case >> bit & 1:
                view.set(bit % 3, 2 - bit // 3, Wall())
        mask = view.process_vis((1, 2))
        assert VISIBLE[case].tolist() == mask.T[::-1].ravel().tolist()


def by_expert(observation: dict) -> np.ndarray:
    """The expert's actions, so that more happens than by chance."""
    scene, missions = Scene.of(observation["image"]), observation["mission"]
    words = describe(scene, missions)
    return follow(scene, [expert.plan(m, w) for m, w in zip(missions, words, strict=True)])


@pytest.mark.parametrize("task", RULES)
def test_the_game_is_minigrids(task: str) -> None:
    """10,000 steps; two of the rooms are played at random, two half by the expert."""
    envs, rng = DoorKeyVector(task, 4), np.random.default_rng(0)
    observation, _ = envs.reset(seed=5)
    rooms = [Reference(task, 5 + i) for i in range(4)]
    assert all(
        np.array_equal(room.image(), image)
        for room, image in zip(rooms, observation["image"], strict=True)
    )
    paid = late = dead = 0
    for _ in range(2500):
        actions = rng.choice(7, 4, p=ODDS)
        actions[2:] = np.where(rng.random(2) < 0.5, by_expert(observation)[2:], actions[2:])
        observation, rewards, terminated, truncated, infos = envs.step(actions)
        for i, room in enumerate(rooms):
            _, reward, ended, out_of_time, _ = room.room.step(actions[i])
            assert rewards[i] == np.float32(reward)
            assert (terminated[i], truncated[i]) == (ended, out_of_time)
            over = ended or out_of_time
            if infos:
                assert infos["_final_obs"][i] == over
            if over:
                assert np.array_equal(room.image(), infos["final_obs"]["image"][i])
                paid, late, dead = paid + (reward > 0), late + out_of_time, dead + (not reward)
                room.begin()
            assert np.array_equal(room.image(), observation["image"][i])
    assert paid >= 20
    assert late >= 10
    assert dead - late >= 10 or not RULES[task].lava


def test_an_end_gives_way_to_the_next_start() -> None:
    envs = DoorKeyVector("SimpleDoorKey", 2)
    envs.reset(seed=0)
    still = np.full(2, WAIT)
    for _ in range(MAX_STEPS - 1):
        _, rewards, terminated, truncated, infos = envs.step(still)
        assert not (terminated | truncated).any()
        assert not infos
    observation, rewards, terminated, truncated, infos = envs.step(still)
    assert truncated.all()
    assert not terminated.any()
    assert rewards.tolist() == [0, 0]
    assert rewards.dtype == np.float32
    assert envs.observation_space.contains(infos["final_obs"])
    assert envs.observation_space.contains(observation)
    assert not np.array_equal(infos["final_obs"]["image"], observation["image"])
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert not envs.step(still)[3].any(), "the clock begins anew"


def test_only_the_rows_that_ended_begin_anew() -> None:
    envs = DoorKeyVector("LavaDoorKey", 64)
    observation, _ = envs.reset(seed=0)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(60):
        before = observation["image"]
        observation, rewards, terminated, _, infos = envs.step(rng.integers(0, 3, 64))
        if terminated.any():
            ends += terminated.sum()
            assert (rewards[terminated] == 0).all(), "lava earns nothing"
            last = infos["final_obs"]["image"]
            assert np.array_equal(last[~terminated], observation["image"][~terminated])
            # The agent stands where lava was remembered, or on what it had never seen.
            for row in np.flatnonzero(terminated):
                spot = tuple(np.argwhere(last[row, ..., 3] != 4)[0])
                assert before[(row, *spot)][0] == LAVA
    assert ends > 10


@pytest.mark.parametrize("task", RULES)
def test_a_rooms_future_is_its_own(task: str) -> None:
    many, few = DoorKeyVector(task, 7), DoorKeyVector(task, 2)
    rng = np.random.default_rng(3)
    one, _ = many.reset(seed=11)
    two, _ = few.reset(seed=14)
    for _ in range(320):
        assert np.array_equal(one["image"][3:5], two["image"])
        actions = rng.choice(7, 7, p=ODDS)
        one, rewards, *ends, _ = many.step(actions)
        two, same, *others, _ = few.step(actions[3:5])
        assert np.array_equal(rewards[3:5], same)
        assert np.array_equal(ends[1][3:5], others[1])
    again, _ = many.reset()
    assert not np.array_equal(again["image"], many.reset(seed=11)[0]["image"])


@pytest.mark.parametrize("task", RULES)
def test_a_state_is_all_of_it(task: str) -> None:
    one, two = DoorKeyVector(task, 3), DoorKeyVector(task, 3)
    one.reset(seed=1)
    two.reset(seed=99)
    actions = np.random.default_rng(0).choice(7, (400, 3), p=ODDS)
    for a in actions[:100]:
        before = one.step(a)[0]
    state = one.get_state()
    runs = []
    for env in (one, two, two):
        # What is done with the state leaves it as it was.
        if env is two:
            assert np.array_equal(two.set_state(state)["image"], before["image"])
        runs.append([env.step(a) for a in actions[100:]])
    for first, *others in zip(*runs, strict=True):
        for other in others:
            assert np.array_equal(first[0]["image"], other[0]["image"])
            assert all(np.array_equal(a, b) for a, b in zip(first[1:4], other[1:4], strict=True))
    assert sum(step[3].sum() for step in runs[0]) > 0, "rooms drawn after the state are the same"


def test_observations_stay_as_they_were() -> None:
    envs = DoorKeyVector("TwoDoor", 2)
    first, _ = envs.reset(seed=0)
    kept = first["image"].copy()
    for a in np.random.default_rng(0).choice(7, (30, 2), p=ODDS):
        envs.step(a)
    assert np.array_equal(first["image"], kept)
    assert envs.observation_space.contains(first)
    assert envs.single_observation_space.contains(
        {"image": first["image"][0], "mission": first["mission"][0]}
    )


def test_bad_input_is_one_line_and_moves_nothing() -> None:
    with pytest.raises(EnvError, match="no door-key task 'simpledoorkey'; did you mean"):
        DoorKeyVector("simpledoorkey")
    with pytest.raises(EnvError, match="no door-key task 'x'; there are SimpleDoorKey"):
        DoorKeyRoom("x")
    with pytest.raises(EnvError, match="num_envs is at least 1, not 0"):
        DoorKeyVector("TwoDoor", 0)
    envs = DoorKeyVector("TwoDoor", 2)
    with pytest.raises(EnvError, match="step before reset"):
        envs.step([0, 0])
    first, _ = envs.reset(seed=0)
    state = envs.get_state()
    for actions, words in (
        ([0, 7], "0 to 6, not 7"),
        ([-1, 0], "not -1"),
        ([0], r"2 integers, not int64 \(1,\)"),
        ([0.0, 1.0], "not float64"),
    ):
        with pytest.raises(EnvError, match=words):
            envs.step(actions)
    assert np.array_equal(envs.set_state(state)["image"], first["image"])
    with pytest.raises(EnvError, match=r"TwoDoor: state of rooms \(2, 20, 20\) for \(3, 20, 20\)"):
        DoorKeyVector("TwoDoor", 3).set_state(state)


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_makes_them(name: str) -> None:
    register()
    env = gym.make(name, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    envs = gym.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point")
    assert isinstance(envs.unwrapped, DoorKeyVector)
    assert envs.single_observation_space["image"] == env.observation_space["image"]
    assert envs.single_action_space == env.action_space
    one, _ = env.reset(seed=8)
    many, _ = envs.reset(seed=6)
    rng = np.random.default_rng(0)
    assert np.array_equal(one["image"], many["image"][2])
    for action in rng.choice(7, 170, p=ODDS):
        one, reward, terminated, truncated, _ = env.step(int(action))
        many, rewards, *ends, infos = envs.step(np.full(3, action))
        assert (reward, terminated, truncated) == (rewards[2], ends[0][2], ends[1][2])
        assert one["mission"] == many["mission"][2]
        if terminated or truncated:
            assert np.array_equal(one["image"], infos["final_obs"]["image"][2])
            one, _ = env.reset()
        assert np.array_equal(one["image"], many["image"][2])
    env.close()
    envs.close()


def test_pictures_show_the_room() -> None:
    env = gym.make("understudy/LavaDoorKey-v0", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (320, 320, 3)
    assert frame.dtype == np.uint8
    orange = (frame == (255, 128, 0)).all(axis=2)
    x, y = np.argwhere(env.unwrapped.unwrapped_env.grid.encode()[..., 0] == LAVA)[0]
    there = orange[32 * y : 32 * y + 32, 32 * x : 32 * x + 32]
    assert there.sum() == orange.sum() > 300
    env.step(1)
    assert not np.array_equal(env.render(), frame)
    quiet = gym.make("understudy/LavaDoorKey-v0")
    assert quiet.render_mode is None


def test_a_game_made_already_takes_no_options() -> None:
    with pytest.raises(EnvError, match="DoorKeyRoom is made already; it takes no max_steps"):
        MinigridMemory(DoorKeyRoom(), max_steps=3)
    env = MinigridMemory(DoorKeyRoom("TwoDoor"))
    with pytest.raises(EnvError, match="DoorKeyRoom: step before reset"):
        env.step(FORWARD)
