"""Every MiniGrid level as a batch: the game is MiniGrid's own, only its observation is another."""

import json
import sys

import gymnasium as gym
import minigrid  # noqa: F401, registers the levels
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from understudy.envs.base import EnvError
from understudy.envs.grid.minigrid import MinigridMemory, MinigridVector

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date")

DOORKEY = "MiniGrid-DoorKey-5x5-v0"
# The patterns of the WFC levels are not in minigrid's wheel.
ALL = sorted(
    name for name in gym.registry
    if name.startswith(("MiniGrid-", "BabyAI-")) and not name.startswith("MiniGrid-WFC")
)  # fmt: skip
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)


def random_actions(envs: MinigridVector, seed: int, steps: int) -> np.ndarray:
    count = int(envs.single_action_space.n)
    odds = np.array([2, 2, 5, 2, 1, 3, 0.5])[:count]
    rng = np.random.default_rng(seed)
    return rng.choice(count, (steps, envs.num_envs), p=odds / odds.sum())


def same(one, two) -> bool:
    return np.array_equal(one["image"], two["image"]) and one["mission"] == two["mission"]


@pytest.mark.parametrize("level", [
    DOORKEY, "MiniGrid-LavaGapS5-v0", "MiniGrid-Dynamic-Obstacles-6x6-v0", "MiniGrid-Fetch-5x5-N2-v0",
    "MiniGrid-MemoryS7-v0", "BabyAI-GoToLocal-v0", "BabyAI-PickupDistDebug-v0",
    "BabyAI-PutNextS4N1-v0", "BabyAI-OpenRedDoor-v0",
])  # fmt: skip
def test_the_game_is_minigrids(level):
    """Rewards, ends, missions and the next episode's level: those of plain environments."""
    options = {"max_steps": 40}
    envs = MinigridVector(level, 3, **options)
    plain = [gym.make(level, **options) for _ in range(3)]
    observation, _ = envs.reset(seed=5)
    last = [env.reset(seed=5 + i)[0] for i, env in enumerate(plain)]
    total, ended = 0.0, 0
    for actions in random_actions(envs, 0, 250):
        assert observation["mission"] == tuple(o["mission"] for o in last)
        for env, map_ in zip(plain, observation["image"], strict=True):
            agent = map_[tuple(env.unwrapped.agent_pos)]
            assert agent[3] == env.unwrapped.agent_dir
            assert (map_[..., 3] < 4).sum() == 1
        observation, rewards, terminations, truncations, infos = envs.step(actions)
        for i, env in enumerate(plain):
            last[i], reward, terminated, truncated, _ = env.step(actions[i])
            assert rewards[i] == np.float32(reward)
            assert (terminations[i], truncations[i]) == (terminated, truncated)
            assert infos["_final_obs"][i] == (terminated or truncated)
            if terminated or truncated:
                assert infos["final_obs"]["mission"][i] == last[i]["mission"]
                last[i], ended = env.reset()[0], ended + 1
            total += abs(reward)
    assert rewards.dtype == np.float32
    assert ended > 10
    assert total > 0 or level in (DOORKEY, "BabyAI-PutNextS4N1-v0"), "too hard for chance"


def test_ends_show_the_last_map_and_return_the_first():
    envs, alone = MinigridVector(DOORKEY, 2, max_steps=7), MinigridMemory(DOORKEY, max_steps=7)
    envs.reset(seed=3)
    alone.reset(seed=4)
    for step, actions in enumerate(random_actions(envs, 1, 21)):
        observation, _, _, truncations, infos = envs.step(actions)
        mine, _, _, truncated, _ = alone.step(int(actions[1]))
        assert truncated == truncations[1] == (step % 7 == 6)
        final = infos["final_obs"]["image"][1]
        assert np.array_equal(final, mine["image"])
        assert (final[..., 0] > 0).sum() < final[..., 0].size or step % 7 > 1
        if truncated:
            mine, _ = alone.reset()
        assert np.array_equal(observation["image"][1], mine["image"])
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP


def test_observations_stay_as_they_were():
    envs = MinigridVector(DOORKEY, 2)
    first, _ = envs.reset(seed=0)
    kept = first["image"].copy()
    for actions in random_actions(envs, 0, 30):
        envs.step(actions)
    assert np.array_equal(first["image"], kept)
    assert envs.observation_space.contains(first)


def test_a_key_a_door_and_a_goal():
    """One episode by hand: what is seen, taken, carried, dropped, opened, walked through."""
    env = MinigridMemory(DOORKEY, agent_view_size=3)
    env.reset(seed=0)
    game = env.unwrapped_env
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import Door, Goal, Key, Wall

    key, door, goal, wall = (5, 4, 0, 4), (4, 4, 2, 4), (8, 1, 0, 4), (2, 5, 0, 4)
    unseen, empty = (0, 0, 0, 4), (1, 0, 0, 4)

    def lay_out(width, height):
        game.grid = Grid(width, height)
        game.grid.wall_rect(0, 0, 5, 5)
        game.grid.set(2, 1, Key("yellow"))
        game.grid.set(3, 1, Door("yellow", is_locked=True))
        game.grid.set(3, 2, Wall())
        game.grid.set(3, 3, Goal())
        game.agent_pos, game.agent_dir, game.mission = (1, 1), 0, "go"

    game._gen_grid = lay_out

    def after(action):
        map_ = env.step(action)[0]["image"]
        return lambda x, y: tuple(map_[x, y].tolist())

    at = env.reset()[0]["image"]
    assert at[1, 1].tolist() == [1, 0, 0, 0]
    assert tuple(at[2, 1]) == key
    assert tuple(at[3, 1]) == door
    assert tuple(at[1, 2]) == tuple(at[2, 2]) == empty
    assert tuple(at[3, 2]) == wall
    assert tuple(at[3, 3]) == tuple(at[1, 3]) == tuple(at[4, 1]) == unseen
    cell = after(PICKUP)
    assert cell(1, 1) == (5, 4, 0, 0)
    assert cell(2, 1) == empty
    cell = after(DROP)
    assert (cell(1, 1), cell(2, 1)) == ((1, 0, 0, 0), key)
    after(PICKUP)
    cell = after(FORWARD)
    assert (cell(1, 1), cell(2, 1), cell(3, 1)) == (empty, (5, 4, 0, 0), door)
    cell = after(TOGGLE)
    assert (cell(3, 1), cell(4, 1)) == ((4, 4, 0, 4), wall)
    cell = after(FORWARD)
    assert (cell(3, 1), cell(2, 1)) == ((5, 4, 0, 0), empty)
    after(LEFT)
    after(LEFT)
    cell = after(FORWARD)
    assert cell(3, 1) == (4, 4, 0, 4), "the open door is remembered behind the agent"
    assert cell(2, 1) == (5, 4, 0, 2)
    after(LEFT)
    cell = after(FORWARD)
    assert (cell(1, 3), cell(2, 2), cell(3, 3)) == (empty, (5, 4, 0, 1), goal)


@pytest.mark.parametrize("part", range(4))
def test_resume_is_exact_for_every_level(part):
    for level in ALL[part::4]:
        one, two = MinigridVector(level, 2), MinigridVector(level, 2)
        one.reset(seed=1)
        actions = random_actions(one, 7, 60)
        for a in actions[:30]:
            before = one.step(a)[0]
        assert same(two.set_state(one.get_state()), before), level
        for a in actions[30:]:
            mine, other = one.step(a), two.step(a)
            assert same(mine[0], other[0]), level
            assert all(np.array_equal(m, o) for m, o in zip(mine[1:4], other[1:4], strict=True))


def test_resume_in_the_middle_of_a_later_episode():
    one = MinigridVector("BabyAI-GoToLocal-v0", 3, max_steps=20)
    one.reset()
    actions = random_actions(one, 2, 130)
    for a in actions[:50]:
        before = one.step(a)[0]
    state = one.get_state()
    packed = json.loads(json.dumps({k: v for k, v in state.items() if not hasattr(v, "dtype")}))
    packed |= {"actions": state["actions"].copy(), "lengths": state["lengths"].copy()}
    run = [one.step(a) for a in actions[50:]]
    two = MinigridVector("BabyAI-GoToLocal-v0", 3, max_steps=20)
    assert same(two.set_state(packed), before)
    for a, expected in zip(actions[50:], run, strict=True):
        found = two.step(a)
        assert same(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])
    assert same(one.set_state(packed), before)
    assert len({m for step in run for m in step[0]["mission"]}) > 3


def test_seeds_go_up_by_one_and_episodes_differ():
    together, shifted = MinigridVector(DOORKEY, 4), MinigridVector(DOORKEY, 4)
    one, two = together.reset(seed=0)[0]["image"], shifted.reset(seed=2)[0]["image"]
    assert np.array_equal(one[2:], two[:2])
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, together.reset()[0]["image"])
    assert np.array_equal(one, together.reset(seed=0)[0]["image"])


@pytest.mark.parametrize("level", [DOORKEY, "MiniGrid-Dynamic-Obstacles-6x6-v0", "BabyAI-GoTo-v0"])
def test_gymnasium_finds_no_fault(level):
    check_env(MinigridMemory(level, render_mode="rgb_array"), skip_render_check=True)


def test_pictures_are_minigrids():
    env = MinigridMemory(DOORKEY, render_mode="rgb_array", tile_size=8)
    env.reset(seed=0)
    plain = gym.make(DOORKEY, render_mode="rgb_array", tile_size=8)
    plain.reset(seed=0)
    assert env.unwrapped_env.gen_obs().keys() == plain.unwrapped.gen_obs().keys()
    env.step(RIGHT)
    plain.step(RIGHT)
    assert np.array_equal(env.render(), plain.render())
    assert np.array_equal(env.unwrapped_env.gen_obs()["image"], plain.unwrapped.gen_obs()["image"])
    envs = MinigridVector(DOORKEY, 2, render_mode="rgb_array")
    envs.reset(seed=0)
    assert [frame.shape for frame in envs.render()] == [(160, 160, 3)] * 2
    assert MinigridVector(DOORKEY, 1).render() is None
    envs.close()


@pytest.mark.parametrize(("level", "options", "words"), [
    ("MiniGrid-DoorKey-5x5", {}, "the nearest are MiniGrid-DoorKey-5x5-v0, "),
    ("", {}, "no MiniGrid level ''"),
    ("CartPole-v1", {}, "CartPole-v1 is not a MiniGrid level"),
    (DOORKEY, {"agent_view_size": 4}, "an odd number from 3, not 4"),
    (DOORKEY, {"max_episode_steps": 4}, "say max_steps"),
    (DOORKEY, {"render_mode": "ascii"}, "not 'ascii'"),
    (DOORKEY, {"sise": 4}, "unexpected keyword argument 'sise'"),
    (DOORKEY, {"size": 2}, "cannot be made with {'size': 2}: its AssertionError"),
    (DOORKEY, {"size": 3}, "no level can be made: low >= high"),
    (DOORKEY, {"num_envs": 0}, "num_envs is at least 1, not 0"),
])  # fmt: skip
def test_what_cannot_be_made_is_said_in_a_line(level, options, words):
    options = dict(options)
    with pytest.raises(EnvError) as error:
        MinigridVector(level, options.pop("num_envs", 1), **options).reset(seed=0)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("actions", "words"), [
    ([0, 7], "actions are 0 to 6, not [0, 7]"),
    ([0, -1], "not [0, -1]"),
    ([0], "actions are 2 integers, not int64 (1,)"),
    ([0.0, 1.0], "not float64 (2,)"),
])  # fmt: skip
def test_wrong_actions_move_nothing(actions, words):
    envs = MinigridVector(DOORKEY, 2)
    with pytest.raises(EnvError, match="step before reset"):
        envs.step([0, 0])
    with pytest.raises(EnvError, match="before the first reset"):
        envs.get_state()
    envs.reset(seed=0)
    with pytest.raises(EnvError) as error:
        envs.step(actions)
    assert words in str(error.value)
    assert envs.get_state()["lengths"].tolist() == [0, 0]


def test_wrong_action_of_one():
    env = MinigridMemory(DOORKEY)
    env.reset(seed=0)
    for action in (7, -1, 1.0, "left"):
        with pytest.raises(EnvError, match=f"{DOORKEY}: "):
            env.step(action)


def test_state_of_another_batch():
    envs = MinigridVector(DOORKEY, 2)
    envs.reset(seed=0)
    with pytest.raises(EnvError, match=f"state of 2 × {DOORKEY} for 3 × {DOORKEY}"):
        MinigridVector(DOORKEY, 3).set_state(envs.get_state())


def test_without_minigrid(monkeypatch):
    monkeypatch.setitem(sys.modules, "minigrid.minigrid_env", None)
    with pytest.raises(EnvError, match=r"needs minigrid; pip install understudy\[grid\]"):
        MinigridVector(DOORKEY, 1)
