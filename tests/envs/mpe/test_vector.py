"""MpeVector: exact resume, streams of their own, episodes that follow each other, plain errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.mpe.vector import TASKS, MpeVector, make_task
from understudy.envs.mpe.world import Bodies, World


def rollout(vector: MpeVector, steps: int, seed: int) -> list[np.ndarray]:
    """Everything seen and earned under random actions."""
    rng = np.random.default_rng(seed)
    record: list[np.ndarray] = []
    for _ in range(steps):
        # Drawn for 8 worlds, so that smaller vectors get the same actions in the same worlds.
        drawn = {a: rng.integers(n, size=8) for a, n in vector.action_sizes.items()}
        seen, rewards, truncated, last = vector.step(
            {a: d[: vector.num_envs] for a, d in drawn.items()}
        )
        record += [*seen.values(), *rewards.values(), truncated, *(last or {}).values()]
    return record


@pytest.mark.parametrize("task", TASKS)
def test_a_twin_goes_on_bit_for_bit(task: str) -> None:
    first, twin = MpeVector(task, 3), MpeVector(task, 3)
    first.reset(5)
    rollout(first, 37, seed=1)
    state = first.get_state()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    twin.set_state(state)
    for a, b in zip(first.observe().values(), twin.observe().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    # 60 steps reach over two resets, so the generators are compared too.
    expected = rollout(first, 60, seed=2)
    for a, b in zip(expected, rollout(twin, 60, seed=2), strict=True):
        np.testing.assert_array_equal(a, b)
    # The state was a copy: stepping on did not change it.
    twin.set_state(state)
    np.testing.assert_array_equal(rollout(twin, 1, seed=2)[0], expected[0])


def test_a_state_forgets_nothing_of_the_generators() -> None:
    vector = MpeVector("simple_speaker_listener", 1)
    vector.reset(0)  # draws a goal of 32 bits: half a word is kept back
    state = vector.get_state()
    assert state["rngs"][0, 4] == 1
    goals = [vector.reset()["speaker_0"].argmax() for _ in range(20)]
    vector.set_state(state)
    assert goals == [vector.reset()["speaker_0"].argmax() for _ in range(20)]
    assert len(set(goals)) == 3


@pytest.mark.parametrize("task", TASKS)
def test_a_world_does_not_know_how_many_there_are(task: str) -> None:
    many, few = MpeVector(task, 8), MpeVector(task, 2)
    many.reset(9)
    few.reset(9)
    for a, b in zip(rollout(many, 55, seed=3), rollout(few, 55, seed=3), strict=True):
        np.testing.assert_array_equal(a[:2], b)
    shifted = MpeVector(task, 1)
    np.testing.assert_array_equal(
        many.reset(9)[many.agents[-1]][4], shifted.reset(13)[many.agents[-1]][0]
    )


def test_episodes_end_after_max_cycles_and_begin_again_at_once() -> None:
    vector = MpeVector("simple_spread", 2, max_cycles=4)
    vector.reset(0)
    still = {a: np.zeros(2, np.int64) for a in vector.agents}
    for step in range(1, 13):
        before = vector.observe()["agent_0"]
        seen, _, truncated, last = vector.step(still)
        assert truncated.tolist() == [step % 4 == 0] * 2
        assert not vector.terminated.any()
        if last is None:
            np.testing.assert_array_equal(seen["agent_0"][:, 2:4], before[:, 2:4])
        else:
            np.testing.assert_array_equal(last["agent_0"][:, 2:4], before[:, 2:4])
            assert (np.abs(seen["agent_0"][:, 2:4] - before[:, 2:4]) > 1e-3).all()


def test_worlds_out_of_step_are_reset_one_at_a_time() -> None:
    vector = MpeVector("simple_spread", 2, max_cycles=4)
    vector.reset(0)
    state = vector.get_state()
    state["cycles"][1] = 2
    vector.set_state(state)
    still = {a: np.zeros(2, np.int64) for a in vector.agents}
    vector.step(still)
    before = vector.observe()["agent_0"]
    seen, _, truncated, last = vector.step(still)
    assert truncated.tolist() == [False, True]
    assert last is not None
    np.testing.assert_array_equal(last["agent_0"][0], seen["agent_0"][0])
    np.testing.assert_array_equal(before[0, 2:4], seen["agent_0"][0, 2:4])
    assert (before[1, 2:4] != seen["agent_0"][1, 2:4]).all()


@pytest.mark.parametrize("task", TASKS)
def test_sizes_are_those_of_the_observations(task: str) -> None:
    vector = MpeVector(task, 2)
    seen = vector.reset()
    assert tuple(seen) == vector.agents
    assert {a: s.shape[1] for a, s in seen.items()} == vector.observation_sizes
    assert vector.state_size == sum(s.shape[1] for s in seen.values())
    assert all(s.dtype == np.float32 for s in seen.values())


def test_bodies_in_one_place_do_not_push() -> None:
    bodies = Bodies(np.full(2, 0.1), np.ones(2, bool), slice(0, 2), np.ones(2), np.full(2, np.inf))
    world = World.empty(bodies, 1)
    world.push(np.zeros((1, 2), np.int64))
    np.testing.assert_array_equal(world.velocities, 0)


def spread(**actions: Any) -> MpeVector:
    vector = MpeVector("simple_spread", 2, N=2)
    vector.reset(0)
    vector.step({"agent_0": np.zeros(2, int), "agent_1": np.zeros(2, int)} | actions)
    return vector


def other_state(name: str) -> None:
    vector = MpeVector("simple_spread", 2)
    vector.reset(0)
    state = vector.get_state()
    if name == "N":
        MpeVector("simple_spread", 3).set_state(state)
    del state["rngs"]
    vector.set_state(state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MpeVector("simple_sprad", 1), "'simple_sprad', did you mean 'simple_spread'?"),
        (lambda: MpeVector("simple_tag", 1, num_god=1), "num_god', did you mean 'num_good'?"),
        (lambda: MpeVector("simple_speaker_listener", 1, N=2), "it has none"),
        (lambda: MpeVector("simple_spread", 0), "num_envs is 0; it must be at least 1"),
        (lambda: MpeVector("simple_spread", 1, max_cycles=0), "max_cycles is 0"),
        (lambda: make_task("simple_spread", N=0), "N is 0; it must be at least 1"),
        (lambda: make_task("simple_spread", local_ratio=1.5), "must lie in 0 … 1"),
        (lambda: make_task("simple_tag", num_obstacles=-1), "num_obstacles is -1"),
        (lambda: MpeVector("simple_tag", 1).reset(-1), "the seed is -1"),
        (lambda: MpeVector("simple_tag", 1).step({}), "step before reset"),
        (lambda: spread(agent_2=np.zeros(2, int)), "they are needed for agent_0, agent_1"),
        (lambda: spread(agent_1=np.zeros(3, int)), "int64 [3]; they must be integers [2]"),
        (lambda: spread(agent_1=np.zeros(2)), "float64 [2]; they must be integers [2]"),
        (lambda: spread(agent_1=np.array([0, 5])), "action 5 of agent_1 in world 1; it must lie"),
        (lambda: spread(agent_0=np.array([-1, 0])), "action -1 of agent_0 in world 0"),
        (lambda: other_state("N"), "'positions' of the state is [2, 6, 2], not [3, 6, 2]"),
        (lambda: other_state("rngs"), "the state has no 'rngs'; it holds positions"),
    ],
)
def test_a_mistake_is_one_clear_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(EnvError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
