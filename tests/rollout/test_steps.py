"""Stepping worlds with a small network, and worlds as rows of actors."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.minigrid import MinigridVector
from understudy.envs.mpe.vector import MpeVector
from understudy.rollout.steps import Stage, collect_steps, play_episodes, sample
from understudy.rollout.world import MISSION_BUCKETS, GridWorld, MpeWorld, Turn

LENGTHS = (3, 5)
"""Row 0 ends by itself after 3 steps, row 1 is cut after 5."""


class Clocks:
    """Observations count the steps of the episode; a row's reward is the step's number."""

    rows, agents, actions = 2, 1, 2

    def reset(self, seed):
        self.t = np.zeros(2, np.int64)
        self.taken = []
        return {"t": self.t.copy()}

    def step(self, actions):
        self.taken.append(actions)
        self.t += 1
        terminated, truncated = self.t == [LENGTHS[0], 0], self.t == [0, LENGTHS[1]]
        final = {"t": self.t.copy()} if (terminated | truncated).any() else None
        rewards = self.t.astype(np.float32)
        self.t[terminated | truncated] = 0
        return Turn({"t": self.t.copy()}, rewards, terminated, truncated, final)

    def features(self, observation):
        return {"t": torch.from_numpy(observation["t"]).float()}

    def get_state(self):
        return {"t": self.t.copy()}

    def set_state(self, state):
        self.t = state["t"]
        return {"t": self.t.copy()}


@dataclass
class Look:
    logits: torch.Tensor
    values: torch.Tensor
    hidden: torch.Tensor


def counter(features, hidden, starts):
    """Values are 10 · t + the steps it remembers; always the second action."""
    hidden = torch.where(starts[:, None], 0.0, hidden) + 1
    logits = torch.tensor([[-40.0, 40.0]]).repeat(len(starts), 1)
    return Look(logits, 10 * features["t"] + hidden[:, 0], hidden)


def test_a_segment_by_hand():
    stage = Stage.begin(Clocks(), 0, torch.full((2, 1), 7.0))
    advice = np.float32([[0.25, 0.75], [1.0, 0.0]])
    first = collect_steps(stage, counter, 4, np.random.default_rng(0), lambda _: advice)
    # Row 0: steps 0 1 2 | 0; row 1: 0 1 2 3 (cut after 5). The memory counts the episode's looks.
    assert first.features["t"].T.tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert first.starts.T.tolist() == [[True, False, False, True], [True, False, False, False]]
    assert first.values.T.tolist() == [[1, 12, 23, 1], [1, 12, 23, 34]]
    assert first.rewards.T.tolist() == [[1, 2, 3, 1], [1, 2, 3, 4]]
    assert first.actions.tolist() == [[1, 1]] * 4
    assert first.terminated.T.tolist() == [[False, False, True, False], [False] * 4]
    assert torch.equal(first.ended, first.terminated)
    # After row 0's end nothing follows; both rows' last values are of the states they stopped in.
    following = first.next_values.T
    assert following[1].tolist() == [12, 23, 34, 45]
    assert following[0, [0, 1, 3]].tolist() == [12, 23, 12]
    assert first.returns == [6.0]
    assert first.hidden.tolist() == [[7.0], [7.0]]
    assert torch.equal(first.teacher, torch.from_numpy(advice).expand(4, 2, 2))

    second = collect_steps(stage, counter, 2, np.random.default_rng(1))
    assert second.teacher is None
    assert second.features["t"].T.tolist() == [[1, 2], [4, 0]]
    assert second.hidden.tolist() == [[1.0], [4.0]]
    # Row 1 was cut at t = 5 with five looks behind it: the sixth is worth 56, and counts.
    assert second.ended.T.tolist() == [[False, True], [True, False]]
    assert second.terminated.T.tolist() == [[False, True], [False, False]]
    assert second.next_values[0, 1] == 56
    assert second.next_values[1, 1] == 12
    assert second.returns == [15.0, 6.0]
    assert stage.returns.tolist() == [0.0, 1.0]


def test_two_segments_are_one():
    def make():
        world = GridWorld(DoorKeyVector("LavaDoorKey", 4), raw=True)
        return Stage.begin(world, 3, torch.zeros(4, 1))

    def look(features, hidden, starts):
        flat = features["image"].flatten(1).float()
        logits = torch.stack([flat[:, i::7].sum(1) % 5 for i in range(7)], 1) / 3
        return Look(logits, flat.sum(1), hidden)

    rng = np.random.default_rng(5)
    whole = collect_steps(make(), look, 30, np.random.default_rng(5))
    stage = make()
    parts = [collect_steps(stage, look, n, rng) for n in (13, 17)]
    for name in ("actions", "rewards", "values", "next_values", "starts", "ended"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name)), name
    assert parts[0].returns + parts[1].returns == whole.returns


def test_actions_are_drawn_from_the_softmax():
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().repeat(20_000, 1)
    shares = np.bincount(sample(logits, np.random.default_rng(0)), minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.015)
    masked = torch.tensor([[0.0, -1e9, 0.0, -1e9]]).repeat(5_000, 1)
    assert set(sample(masked, np.random.default_rng(1)).tolist()) == {0, 2}


def test_an_episode_counts_up_to_its_first_end():
    world = Clocks()
    starts = []
    played = play_episodes(world, 0, lambda _, s: starts.append(s.tolist()) or np.zeros(2, int))
    assert played.lengths.tolist() == list(LENGTHS)
    assert played.rewards.T.tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert played.returns.tolist() == [6, 15]
    assert played.successes == 2
    assert starts == [[True, True], [False, False], [False, False], [True, False], [False, False]]


def test_a_success_is_a_return_above_nothing():
    played = play_episodes(
        GridWorld(DoorKeyVector("SimpleDoorKey", 3)), 0, lambda *_: np.full(3, 6)
    )
    assert played.successes == 0
    assert played.lengths.tolist() == [150] * 3


# ---- worlds ----------------------------------------------------------------------------------------


WORLDS = {
    "door-key": lambda n: GridWorld(DoorKeyVector("ColoredDoorKey", n)),
    "minigrid": lambda n: GridWorld(MinigridVector("BabyAI-GoToLocal-v0", n), missions_vary=True),
    "spread": lambda n: MpeWorld(MpeVector("simple_spread", n)),
    "speaker": lambda n: MpeWorld(MpeVector("simple_speaker_listener", n)),
    "tag": lambda n: MpeWorld(MpeVector("simple_tag", n)),
}


def legal(world, observation, rng):
    u = rng.random((world.rows, world.actions))
    illegal = world.features(observation).get("illegal")
    return np.where(illegal, -1.0, u).argmax(1) if illegal is not None else u.argmax(1)


@pytest.mark.parametrize("name", WORLDS)
def test_rows_features_and_states_of_a_world(name):
    if name == "minigrid":
        pytest.importorskip("minigrid")
    world, twin = WORLDS[name](3), WORLDS[name](3)
    assert world.rows == 3 * world.agents
    rng = np.random.default_rng(0)
    observation = world.reset(11)
    twin.reset(99)
    for _ in range(20):
        observation = world.step(legal(world, observation, rng)).observation
    copied = twin.set_state(world.get_state())
    for key, value in world.features(observation).items():
        assert len(value) == world.rows
        assert torch.equal(value, twin.features(copied)[key]), key
    for _ in range(30):
        actions = legal(world, observation, rng)
        turn, same = world.step(actions), twin.step(actions)
        observation = turn.observation
        for field in ("rewards", "terminated", "truncated"):
            mine = getattr(turn, field)
            assert mine.shape == (world.rows,)
            assert np.array_equal(mine, getattr(same, field))
        for key, value in world.features(observation).items():
            assert torch.equal(value, twin.features(same.observation)[key]), key


def test_rows_of_a_particle_world_are_its_agents_side_by_side():
    world = WORLDS["tag"](2)
    observation = world.reset(0)
    agents, features = world.env.agents, world.features(observation)
    assert features["agent"].tolist() == [*range(len(agents))] * 2
    for n in range(2):
        for a, agent in enumerate(agents):
            own = features["own"][n * len(agents) + a].numpy()
            size = world.env.observation_sizes[agent]
            np.testing.assert_array_equal(own[:size], observation[agent][n])
            assert (own[size : world.widest] == 0).all()
            assert own[world.widest :].tolist() == [float(i == a) for i in range(len(agents))]
            together = np.concatenate([observation[other][n] for other in agents])
            seen = features["all"][n * len(agents) + a].numpy()
            np.testing.assert_array_equal(seen[: len(together)], together)
            assert seen[len(together) :].argmax() == a
    # Each row's action moves its own agent: with one that goes right, its velocity alone does.
    actions = np.zeros(world.rows, np.int64)
    actions[len(agents) + 1] = 2
    other = WORLDS["tag"](2)
    other.reset(0)
    moved, still = world.step(actions).observation, other.step(np.zeros_like(actions)).observation
    for n in range(2):
        for a, agent in enumerate(agents):
            same = np.array_equal(moved[agent][n][:4], still[agent][n][:4])
            assert same is not ((n, a) == (1, 1))


def test_missions_in_buckets():
    pytest.importorskip("minigrid")
    world = WORLDS["minigrid"](4)
    observation = world.reset(0)
    bags = world.features(
        {
            **observation,
            "mission": ("go to the red ball", "GO to the red ball", "go to red the ball", ""),
        }
    )
    first, shout, order, nothing = bags["mission"]
    assert torch.equal(first, shout)
    assert not torch.equal(first, order)  # pairs of words are told apart
    assert first.sum() == 9  # 5 words and 4 pairs, in buckets of their own
    assert nothing.sum() == 0
    assert first.shape == (MISSION_BUCKETS,)
    assert "mission" not in WORLDS["door-key"](2).features(WORLDS["door-key"](2).reset(0))
