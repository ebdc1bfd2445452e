"""Goals are reached and kept; experts are far better than chance; nothing looks past observations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.mpe.skills import HORIZON, act, coast, expert_actions, expert_goals
from understudy.envs.mpe.vector import MpeVector, make_task
from understudy.envs.mpe.view import look
from understudy.envs.mpe.words import goals

WORLDS = 300


def returns(task: str, experts: tuple[str, ...], **options: Any) -> dict[str, float]:
    """Mean return of an episode of each agent; agents whose names begin otherwise act at random."""
    vector = MpeVector(task, WORLDS, **options)
    seen = vector.reset(100)
    rng = np.random.default_rng(0)
    total = dict.fromkeys(vector.agents, 0.0)
    truncated = np.zeros(WORLDS, bool)
    while not truncated.any():
        actions = expert_actions(vector.task, seen)
        for agent, size in vector.action_sizes.items():
            if not agent.startswith(experts):
                actions[agent] = rng.integers(size, size=WORLDS)
        seen, rewards, truncated, _ = vector.step(actions)
        for agent, reward in rewards.items():
            total[agent] += float(reward.mean())
    return total


def test_the_spread_expert_beats_chance_and_ppo() -> None:
    # Mean return per agent, N = 3, 25 cycles, local_ratio .5, 2,000 episodes: random -26.71 ± .18,
    # expert -7.26 ± .07; PPO is reported at about -17.1 after 5 M agent steps.
    expert, chance = returns("simple_spread", ("agent",)), returns("simple_spread", ("none",))
    assert -28.5 < np.mean(list(chance.values())) < -25
    assert -8.3 < np.mean(list(expert.values())) < -6.8


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_spread_expert_beats_chance_for_any_number(count: int) -> None:
    # 2,000 episodes, expert against random: N = 1: -3.65, -13.95; 2: -5.68, -21.19; 5: -10.22, -35.54.
    expert = returns("simple_spread", ("agent",), N=count)["agent_0"]
    assert expert > 0.35 * returns("simple_spread", ("none",), N=count)["agent_0"]


def test_the_tag_experts_beat_chance() -> None:
    # 2,000 episodes, (adversary, prey): both random 4.0, -16.3; expert adversaries 58.6, -74.2; expert
    # prey .5, -1.4; both expert 2.1, -18.8 (standard errors below .8).
    chance = returns("simple_tag", ("none",))
    hunters = returns("simple_tag", ("adversary",))
    prey = returns("simple_tag", ("agent",))
    both = returns("simple_tag", ("agent", "adversary"))
    assert hunters["adversary_0"] > 40 > 10 > chance["adversary_0"]
    assert prey["agent_0"] > -3 > -10 > chance["agent_0"]
    assert both["agent_0"] > hunters["agent_0"] + 30
    assert both["adversary_0"] > prey["adversary_0"]


def test_several_prey_are_hunted() -> None:
    # 2,000 episodes: adversaries 89.6 as experts, 11.2 at random.
    many = {"num_good": 2, "num_adversaries": 4, "num_obstacles": 1}
    hunters, chance = (returns("simple_tag", (who,), **many) for who in ("adversary", "none"))
    assert hunters["adversary_0"] > 3 * chance["adversary_0"]


def test_speaker_and_listener_beat_chance() -> None:
    # 2,000 episodes: both experts -9.0 ± .2, only the listener -19.0, only the speaker -40.7, random -40.6.
    expert = returns("simple_speaker_listener", ("speaker", "listener"))["listener_0"]
    deaf = returns("simple_speaker_listener", ("listener",))["listener_0"]
    chance = returns("simple_speaker_listener", ("none",))["listener_0"]
    assert expert > -12 > -20 > deaf > chance + 5


@pytest.mark.parametrize("goal", [0, 1])
def test_a_landmark_is_reached_and_kept(goal: int) -> None:
    vector = MpeVector("simple_spread", WORLDS, N=1, max_cycles=100)
    if goal == 1:
        assert goals(vector.task, "agent_0")[goal] == "stay"
    seen = vector.reset(3)["agent_0"]
    begin = seen[:, 2:4].copy()
    for cycle in range(90):
        action = act(vector.task, "agent_0", np.full(WORLDS, goal), seen)
        seen = vector.step({"agent_0": action})[0]["agent_0"]
        if cycle > 30:
            off = seen[:, 4:6] if goal == 0 else seen[:, 2:4] - begin
            # One push is worth .2 of coasting, so .1 per axis is what can be told apart.
            assert np.hypot(*off.T).max() < 0.15
    assert np.abs(seen[:, :2]).max() < 0.6


def test_stay_brakes() -> None:
    task = make_task("simple_speaker_listener")
    seen = np.zeros((4, 11), np.float32)
    seen[:, :2] = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    assert act(task, "listener_0", np.full(4, 3), seen).tolist() == [1, 2, 3, 4]


def test_directions_are_followed() -> None:
    task = make_task("simple_tag")
    seen = np.full((4, 14), 9, np.float32)  # everyone is far away
    seen[:, :4] = 0
    names = goals(task, "agent_0")
    assert names[1:5] == ("go left", "go right", "go down", "go up")
    assert act(task, "agent_0", np.arange(1, 5), seen).tolist() == [1, 2, 3, 4]


def test_agents_keep_out_of_each_others_way() -> None:
    task = make_task("simple_spread", N=2)
    seen = np.zeros((2, 12), np.float32)
    seen[:, 4:6] = [0.6, 0.0]  # the landmark to the right
    seen[:, 8:10] = [[0.35, 0.0], [-0.5, 0.0]]  # the other agent before, or behind
    chosen = act(task, "agent_0", np.zeros(2, int), seen)
    assert chosen[0] != 2
    assert chosen[1] == 2


def test_cutting_off_aims_ahead_and_chasing_does_not() -> None:
    task = make_task("simple_tag", num_adversaries=1, num_obstacles=0)
    assert goals(task, "adversary_0") == ("chase agent_0", "cut off agent_0", "stay")
    seen = np.zeros((2, 8), np.float32)
    seen[:, 4:8] = [0.6, 0.5, 0.0, 1.3]  # to the right and above, running up
    assert act(task, "adversary_0", np.array([0, 1]), seen).tolist() == [2, 4]


def test_adversaries_pick_one_prey_and_their_parts() -> None:
    task = make_task("simple_tag", num_good=2, num_adversaries=2, num_obstacles=0)
    seen = {agent: np.zeros((1, size)) for agent, size in task.observation_sizes.items()}
    # adversary_0 at 0, adversary_1 at 1, agent_0 at 3, agent_1 at -1, along one line.
    places = [0.0, 1.0, 3.0, -1.0]
    for own, agent in enumerate(task.agents):
        seen[agent][0, 4:10:2] = [p - places[own] for i, p in enumerate(places) if i != own]
    chosen = expert_goals(task, seen)
    named = [goals(task, agent)[int(chosen[agent][0])] for agent in task.agents]
    assert named == ["chase agent_1", "cut off agent_1", "flee", "flee"]


@pytest.mark.parametrize(
    ("task", "agent"), [("simple_tag", "agent_0"), ("simple_spread", "agent_0")]
)
def test_coasting_is_what_the_world_does(task: str, agent: str) -> None:
    # 3 more steps after a push and full speed; alone, so that nothing touches.
    options = {"num_adversaries": 1, "num_obstacles": 0} if task == "simple_tag" else {"N": 1}
    vector = MpeVector(task, 5, **options)
    vector.reset(0)
    state = vector.get_state()
    own = vector.agents.index(agent)
    state["positions"][:] = 9.0
    state["positions"][:, own] = 0.0
    state["velocities"][:, own] = [1.2, 0.4]
    vector.set_state(state)
    accel, limit = (vector.task.bodies.accel[own], vector.task.bodies.max_speed[own])
    paths = coast(state["velocities"][:, own], float(accel), float(limit))
    actions = {a: np.zeros(5, np.int64) for a in vector.agents}
    vector.step(actions | {agent: np.arange(5)})
    for k in range(HORIZON):
        seen = vector.step(actions)[0][agent]
        np.testing.assert_allclose(
            seen[:, 2:4], paths[np.arange(5), np.arange(5), k], rtol=1e-5, atol=1e-6
        )


def test_prey_flees_from_the_nearest_and_from_the_edge() -> None:
    task = make_task("simple_tag", num_adversaries=1, num_obstacles=0)
    seen = np.zeros((3, 6), np.float32)
    seen[:, 4:6] = [[0.2, 0.0], [0.0, -0.2], [5.0, 0.0]]
    seen[2, 2:4] = [0.0, -1.1]  # nobody near, but below the edge
    assert act(task, "agent_0", np.zeros(3, int), seen).tolist() == [1, 4, 4]


def test_the_assignment_is_the_best_and_agents_agree() -> None:
    vector = MpeVector("simple_spread", 50, N=4)
    seen = vector.reset(8)
    chosen = expert_goals(vector.task, seen)
    for world in range(50):
        picked = tuple(int(chosen[a][world]) for a in vector.agents)
        marks = {a: look(vector.task, a, seen[a]).landmarks[world] for a in vector.agents}

        def total(way: tuple[int, ...], marks: dict[str, np.ndarray] = marks) -> float:
            return sum(float(np.hypot(*m[w])) for m, w in zip(marks.values(), way, strict=True))

        assert total(picked) <= min(total(way) for way in permutations(range(4))) + 1e-5


def test_only_observations_are_looked_at() -> None:
    vector = MpeVector("simple_spread", 3)
    seen = vector.reset(2)
    kept = {agent: array.copy() for agent, array in seen.items()}
    before = expert_actions(vector.task, seen)
    vector.reset(77)
    after = expert_actions(vector.task, kept)
    for agent in vector.agents:
        np.testing.assert_array_equal(before[agent], after[agent])
        np.testing.assert_array_equal(seen[agent], kept[agent])


SPREAD = make_task("simple_spread")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: look(SPREAD, "agent_7", np.zeros((1, 18))),
            "simple_spread has no agent 'agent_7'",
        ),
        (lambda: look(SPREAD, "agent_0", np.zeros((1, 17))), "is [1, 17]; it must be [N, 18]"),
        (
            lambda: act(SPREAD, "agent_0", np.array([4]), np.zeros((1, 18))),
            "goal 4 of agent_0; it must lie in 0 … 3",
        ),
        (
            lambda: act(SPREAD, "agent_0", np.array([0, 1]), np.zeros((1, 18))),
            "the goals of agent_0 are int64 [2]; they must be integers [1]",
        ),
        (lambda: goals(SPREAD, "you"), "it has agent_0, agent_1, agent_2"),
        (lambda: expert_goals(SPREAD, {}), "simple_spread: no observation of agent_0"),
        (
            lambda: expert_goals(make_task("simple_spread", N=6), {"agent_0": np.zeros((1, 36))}),
            "the expert assigns at most 5 landmarks, not 6",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(EnvError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
