"""The description says what the spaces say, of every environment the role is for."""

import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from understudy.envs.control.vector import Arena
from understudy.envs.search.describe import (
    EXCERPT,
    UNBOUNDED,
    describe,
    documentation,
    environment,
    policy,
)
from understudy.envs.search.policies import Kind, Linear, make_policy
from understudy.envs.search.task import Task, measure

ENVS = (
    "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1",
    "LunarLander-v3", "FrozenLake-v1", "CliffWalking-v1", "Blackjack-v1", "Taxi-v4",
    "InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Reacher-v5", "Swimmer-v5", "Hopper-v5",
    "Walker2d-v5", "understudy/Nim-v0", "understudy/Maze-v0", "understudy/Pong-v0",
)  # fmt: skip
# Box2D's import warns, and ends the process where its warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")


def task(env: str, kind: Kind | None = None, options: Any = None, **shape: Any) -> Task:
    arena = Arena(env, options)
    box = isinstance(arena.observation_space, spaces.Box)
    scale = measure(arena, [1, 2], np.random.default_rng(0)).scale() if box else None
    chosen = kind or ("linear" if box else "table")
    return Task(
        arena, make_policy(chosen, arena.observation_space, arena.action_space, scale, **shape)
    )


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def ranges(lines: list[str]) -> list[tuple[float, float]]:
    """The ends of every number that the lines of a Box tell."""
    found: list[tuple[float, float]] = []
    for line in lines:
        ends = re.search(r"from (\S+) to (\S+)$", line)
        low, high = (number(ends[1]), number(ends[2])) if ends else (-np.inf, np.inf)
        if half := re.search(r"at (least|most) (\S+)$", line):
            low, high = (number(half[2]), high) if half[1] == "least" else (low, number(half[2]))
        many = re.match(r"  (\d+) numbers 0 … (\d+), each", line)
        assert ends or half or line.endswith("any number")
        if many:
            assert int(many[1]) == int(many[2]) + 1
        found += [(low, high)] * (int(many[1]) if many else 1)
    return found


@pytest.mark.parametrize("env", ENVS)
def test_every_number_is_that_of_the_spaces(env: str) -> None:
    described = task(env)
    with described.arena as arena:
        text = environment(described)
        head, observation, action = re.split(r"\n(?:Observation|Action):\n", text)
        assert head.startswith(f"Environment: {env}")
        lines, rest = action.splitlines(), []
        while not lines[-1].startswith("  "):
            rest.insert(0, lines.pop())
        for space, told in (
            (arena.single.observation_space, observation.splitlines()),
            (arena.action_space, lines),
        ):
            if isinstance(space, spaces.Box):
                low = np.where(space.low.ravel() > -UNBOUNDED, space.low.ravel(), -np.inf)
                high = np.where(space.high.ravel() < UNBOUNDED, space.high.ravel(), np.inf)
                np.testing.assert_allclose(ranges(told), np.stack([low, high], 1), rtol=1e-5)
            else:
                last = int(re.findall(r"\d+", told[-1])[-1])
                sizes = getattr(space, "spaces", [space])
                assert last + 1 == np.prod([int(part.n) for part in sizes])
        spec = arena.single.spec
        assert spec is not None
        assert f"after {spec.max_episode_steps} steps" in rest[0]
        if spec.reward_threshold is None:
            assert len(rest) == 1
        else:
            assert number(rest[1].split()[-1].rstrip(".")) == spec.reward_threshold
        whole = describe(described)
        assert text in whole
        assert policy(described) in whole
        assert len(whole) < 8000


@pytest.mark.parametrize("env", ["CartPole-v1", "LunarLander-v3", "Pendulum-v1", "Hopper-v5"])
@pytest.mark.parametrize("shape", [{}, {"rank": 1}, {"bias": False}])
def test_a_linear_policy_does_what_its_description_says(env: str, shape: dict[str, Any]) -> None:
    """The text is read as a program and must act as the policy does."""
    described = task(env, "linear", **shape)
    text = policy(described)
    rng = np.random.default_rng(1)
    space = described.space
    low, high, step = re.search(
        r"n from (\S+) to (\S+), and n stands for n × (\S+)\.", text
    ).groups()  # pyright: ignore[reportOptionalMemberAccess]
    grid = rng.integers(int(low), int(high) + 1, size=len(space))
    named = {
        name: float(grid[int(i)]) * float(step)
        for i, name in re.findall(r"p(\d+) = ([^;.]+)", text.replace("Parameters: ", ""))
    }
    assert list(named) == list(space.names)
    parts = re.findall(r"\(observation (\d+) ([+−]) (\S+)\) / ([^,\]]+)", text)
    observation = rng.normal(size=len(parts)).astype(np.float32)
    z = [
        np.clip((observation[int(i)] - (-1) ** (sign == "+") * number(mean)) / number(std), -10, 10)
        for i, sign, mean, std in parts
    ]
    outputs = sorted({int(k) for name in named for k in re.findall(r"action (\d+)", name)})
    if shape.get("rank") and "factor" in text:
        scores = [
            sum(
                z[i] * named[f"observation {i} to factor 0"] * named[f"factor 0 to action {k}"]
                for i in range(len(z))
            )
            for k in outputs
        ]
    else:
        scores = [
            sum(z[i] * named[f"observation {i} to action {k}"] for i in range(len(z)))
            for k in outputs
        ]
    scores = [
        s + named.get(f"bias of action {k}", 0.0) for s, k in zip(scores, outputs, strict=True)
    ]
    acted = described.policy.bind([grid]).rows(np.zeros(1, np.intp))(observation[None])[0]
    if isinstance(described.arena.action_space, spaces.Discrete):
        assert outputs[0] == 1
        assert acted == int(np.argmax([0.0, *scores]))
    else:
        told = environment(described).split("Action:\n")[1].splitlines()
        ends = np.array(ranges([line for line in told if line.startswith("  ")]))
        np.testing.assert_allclose(acted, np.clip(scores, *ends.T), rtol=2e-2, atol=2e-2)
    assert ("bias" in text) == shape.get("bias", True)
    described.arena.close()


def test_a_table_of_bins_is_told_as_it_is() -> None:
    described = task("MountainCarContinuous-v0", "table", bins=3)
    text = policy(described)
    assert "There are 9 states" in text
    assert "number is 3 × part 0 + part 1" in text
    offered = re.search(r"The 3 actions by number: (.*)", text)
    assert offered is not None
    assert offered[1] == "0: -1, 1: 0, 2: 1"
    values = task("FrozenLake-v1", "values")
    assert "Parameter p[4 × s + a]" in policy(values)
    assert values.space.names[4 * 3 + 2] == "value of 2 in 3"
    described.arena.close()
    values.arena.close()


def test_tuples_are_told_as_the_number_that_a_policy_sees() -> None:
    described = task("Blackjack-v1")
    assert "number is 22 × part 0 + 2 × part 1 + part 2: 0 … 703" in environment(described)
    assert np.ravel_multi_index((13, 7, 1), (32, 11, 2)) == 22 * 13 + 2 * 7 + 1
    described.arena.close()


def test_options_and_limits_are_those_it_was_made_with() -> None:
    described = task("FrozenLake-v1", options={"is_slippery": False, "max_episode_steps": 17})
    text = environment(described)
    assert "is_slippery = False" in text
    assert "after 17 steps" in text
    described.arena.close()


def test_documentation_is_quoted_and_bounded() -> None:
    for env in ("CartPole-v1", "Hopper-v5", "FrozenLake-v1"):
        with Arena(env) as arena:
            text = documentation(arena.single.unwrapped)
        assert text.startswith("Description: ")
        for section in re.split(
            r"^(?:Description|Observation Space|Action Space|Rewards|Episode End): ",
            text,
            flags=re.MULTILINE,
        ):
            assert len(section) <= EXCERPT + 3
        assert "http" not in text
    with Arena("Hopper-v5") as arena:
        assert "2 | angle of the thigh joint | -Inf | Inf" in documentation(arena.single.unwrapped)

    class Bare:
        __doc__ = None

    assert documentation(Bare()) == ""


def test_a_running_scale_is_not_told_as_numbers() -> None:
    described = task("CartPole-v1")
    described.running = measure(described.arena, [1], np.random.default_rng(0))
    assert isinstance(described.policy, Linear)
    assert "its mean so far" in policy(described)
    described.arena.close()
