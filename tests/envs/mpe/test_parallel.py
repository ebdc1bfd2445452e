"""ParallelVector: any PettingZoo parallel environment with the interface of MpeVector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from mpe2 import simple_spread_v3
from pettingzoo import ParallelEnv

from understudy.envs.base import EnvError
from understudy.envs.mpe.parallel import ParallelVector
from understudy.envs.mpe.vector import MpeVector


class Count(ParallelEnv[str, np.ndarray, int]):
    """Two agents see the sum of their actions and a secret number; over for good at a sum of 6."""

    metadata = {"name": "count"}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def __init__(self, leaver: int = 99, noisy: bool = False, space: Any = None) -> None:
        self.leaver, self.noisy = leaver, noisy
        self.space = space or gym.spaces.Discrete(3)
        self.noise = np.random.default_rng(0)

    def observation_space(self, agent: str) -> gym.spaces.Space[Any]:
        return gym.spaces.Box(-np.inf, np.inf, (2, 1))

    def action_space(self, agent: str) -> gym.spaces.Space[Any]:
        return self.space

    def observe(self) -> dict[str, np.ndarray]:
        noise = self.noise.random() if self.noisy else 0
        return {a: np.array([[self.total + noise], [self.secret]]) for a in self.possible_agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        assert seed is not None
        self.agents = list(self.possible_agents)
        self.total, self.cycle = 0, 0
        self.secret = np.random.default_rng(seed).random()
        return self.observe(), {a: {} for a in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        assert self.agents
        self.total += sum(actions.values())
        self.cycle += 1
        over = dict.fromkeys(self.agents, self.total >= 6)
        over["a"] |= self.cycle >= self.leaver
        cut = dict.fromkeys(self.agents, self.cycle >= 4)
        seen, rewards = self.observe(), {"a": float(self.total), "b": -1.0}
        self.agents = [a for a in self.agents if not (over[a] or cut[a])]
        return seen, rewards, over, cut, {}


def choose(vector: ParallelVector | MpeVector, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {a: rng.integers(n, size=vector.num_envs) for a, n in vector.action_sizes.items()}


def test_an_episode_of_mpe2_is_that_of_the_batched_task() -> None:
    loop = ParallelVector(simple_spread_v3.parallel_env, 3)
    batch = MpeVector("simple_spread", 3)
    assert loop.agents == batch.agents
    assert loop.observation_sizes == batch.observation_sizes
    assert loop.action_sizes == batch.action_sizes
    assert loop.state_size == batch.state_size
    np.testing.assert_allclose(loop.reset(4)["agent_1"], batch.reset(4)["agent_1"])
    rng = np.random.default_rng(0)
    for step in range(1, 26):
        actions = choose(batch, rng)
        ours, theirs = batch.step(actions), loop.step(actions)
        np.testing.assert_array_equal(ours[2], theirs[2])
        assert (theirs[3] is not None) == (step == 25)
        seen, expected = (theirs[3], ours[3]) if step == 25 else (theirs[0], ours[0])
        assert seen is not None
        assert expected is not None
        for agent in batch.agents:
            np.testing.assert_allclose(seen[agent], expected[agent], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(theirs[1][agent], ours[1][agent], rtol=1e-6, atol=1e-6)
    assert not loop.terminated.any()


def test_ends_for_good_and_ends_by_time_are_told_apart() -> None:
    vector = ParallelVector(Count, 2)
    first = vector.reset(0)["a"]
    push = np.array([2, 0])
    ends: list[tuple[list[bool], list[bool]]] = []
    for step in range(1, 5):
        seen, rewards, ended, last = vector.step({"a": push, "b": push})
        ends.append((ended.tolist(), vector.terminated.tolist()))
        if step == 2:
            assert last is not None
            assert last["a"][:, 0].tolist() == [8, 0]
            assert seen["a"][:, 0].tolist() == [0, 0]
            assert seen["b"][0, 1] != first[0, 1]  # the next episode has a seed of its own
            assert seen["b"][1, 1] == first[1, 1]
            assert rewards["a"].tolist() == [8.0, 0.0]
            assert rewards["b"].tolist() == [-1.0, -1.0]
    no = [False, False]
    assert ends == [(no, no), ([True, False],) * 2, (no, no), ([True, True], [True, False])]


def test_a_twin_goes_on_bit_for_bit() -> None:
    first, twin = (ParallelVector(simple_spread_v3.parallel_env, 2) for _ in range(2))
    first.reset(3)
    rng = np.random.default_rng(1)
    for _ in range(31):
        first.step(choose(first, rng))
    twin.set_state(first.get_state())
    for agent, seen in first.observe().items():
        np.testing.assert_array_equal(twin.observe()[agent], seen)
    for _ in range(45):
        actions = choose(first, rng)
        for a, b in zip(first.step(actions)[:2], twin.step(actions)[:2], strict=True):
            for agent in first.agents:
                np.testing.assert_array_equal(a[agent], b[agent])


def test_a_copy_does_not_know_how_many_there_are() -> None:
    many, one = ParallelVector(Count, 3), ParallelVector(Count, 1)
    many.reset(5)
    one.reset(7)
    for _ in range(9):
        seen = many.step({"a": np.ones(3, int), "b": np.ones(3, int)})[0]["a"][2]
        np.testing.assert_array_equal(
            seen, one.step({"a": np.ones(1, int), "b": np.ones(1, int)})[0]["a"][0]
        )


def noisy_twin() -> None:
    vector = ParallelVector(lambda: Count(noisy=True), 1)
    vector.reset(0)
    vector.step({"a": np.ones(1, int), "b": np.ones(1, int)})
    vector.set_state(vector.get_state())


def leave() -> None:
    vector = ParallelVector(lambda: Count(leaver=2), 1)
    vector.reset(0)
    for _ in range(2):
        vector.step({"a": np.zeros(1, int), "b": np.zeros(1, int)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (leave, "count: a left at step 2 while others go on"),
        (noisy_twin, "gave a another observation; it cannot be resumed"),
        (lambda: ParallelVector(Count, 0), "num_envs is 0"),
        (lambda: ParallelVector(Count, 1).observe(), "observe before reset"),
        (lambda: ParallelVector(Count, 1).reset(-2), "the seed is -2"),
        (
            lambda: ParallelVector(lambda: Count(space=gym.spaces.Box(0, 1)), 1),
            "count: a acts in Box(0.0, 1.0, (1,), float32); Discrete from 0 is needed",
        ),
        (lambda: ParallelVector(Count, 1).set_state({}), "the state has no 'seeds'"),
    ],
)
def test_a_mistake_is_one_clear_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(EnvError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
