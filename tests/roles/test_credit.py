"""Advantages per token, by hand."""

import dataclasses

import pytest

from understudy.roles.policy.config import LossConfig, PolicyConfig, TaskConfig
from understudy.roles.policy.credit import token_advantages
from understudy.types import Episode, TokenTrace


def episode(rewards: tuple[float, ...], steps: tuple[int, ...]) -> Episode:
    n = len(steps)
    trace = TokenTrace((1,), (7,) * n, (-1.0,) * n, (True,) * n, steps)
    return Episode(
        "e", ("",) * (len(rewards) + 1), ("",) * len(rewards), rewards, True, False, {}, trace
    )


def whole(*rewards: float) -> list[Episode]:
    return [episode((r,), (0,) * (i + 1)) for i, r in enumerate(rewards)]


# Two problems, three answers each, of one, two and three tokens.
REWARDS = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0))


def advantages(**changes) -> list[list[float]]:
    config = dataclasses.replace(PolicyConfig(), **changes)
    return token_advantages(config, [whole(*r) for r in REWARDS])


def per_answer(values: list[float]) -> list:
    return [pytest.approx([v] * (1 + i % 3), abs=1e-6) for i, v in enumerate(values)]


def test_rloo_compares_with_the_other_answers_to_the_problem() -> None:
    assert advantages(algorithm="rloo") == per_answer([1, -0.5, -0.5, 0.5, 0.5, -1])


def test_reinforce_compares_with_the_rest_of_the_batch() -> None:
    assert advantages(algorithm="reinforce") == per_answer([0.6, -0.6, -0.6, 0.6, 0.6, -0.6])


def test_grpo_is_relative_to_the_group() -> None:
    third = 1 / 3
    centred = [2 * third, -third, -third, third, third, -2 * third]
    assert advantages(algorithm="grpo", loss=LossConfig(scale="none")) == per_answer(centred)
    # The deviation of (1, 0, 0), with n - 1 below it, is 1/√3.
    scaled = [c / (3**-0.5 + 1e-4) for c in centred]
    assert advantages(algorithm="grpo") == per_answer(scaled)


STEPS = [
    [episode((0.0, 0.5, 1.0), (0, 0, 1, 2, 2)), episode((1.0,), (0, 0, 0))],
    [episode((0.0, 0.0), (0, 1)), episode((0.0, 2.0), (0, 1, 1))],
]


def stepwise(algorithm: str, gamma: float) -> list[list[float]]:
    config = dataclasses.replace(
        PolicyConfig(),
        algorithm=algorithm,
        task=TaskConfig(mode="stepwise"),
        loss=LossConfig(step_gamma=gamma),
    )
    return token_advantages(config, STEPS)


def test_stepwise_credit_is_the_return_to_go_less_the_siblings() -> None:
    # Returns to go, γ = 1: 1.5 1.5 1.0 | 1.0 (then 0) || 0 0 | 2 2.
    assert stepwise("rloo", 1.0) == [
        pytest.approx([0.5, 0.5, 1.5, 1.0, 1.0]), pytest.approx([-0.5] * 3),
        pytest.approx([-2, -2]), pytest.approx([2, 2, 2]),
    ]  # fmt: skip
    # γ = 1/2: 0.5 1.0 1.0 | 1.0 || 0 0 | 1 2.
    assert stepwise("rloo", 0.5) == [
        pytest.approx([-0.5, -0.5, 1.0, 1.0, 1.0]), pytest.approx([0.5] * 3),
        pytest.approx([-1, -2]), pytest.approx([1, 2, 2]),
    ]  # fmt: skip


def test_stepwise_reinforce_compares_with_everybody_else() -> None:
    # Step 0: 1.5 1 0 2; step 1: 1.5 - 0 2; step 2: 1 alone.
    assert stepwise("reinforce", 1.0) == [
        pytest.approx([0.5, 0.5, 1.5 - 2 / 3, 1.0, 1.0]), pytest.approx([1 - 3.5 / 3] * 3),
        pytest.approx([-1.5, -3.5 / 3]), pytest.approx([2 - 2.5 / 3, 1.5, 1.5]),
    ]  # fmt: skip


def test_stepwise_of_one_step_is_whole() -> None:
    config = dataclasses.replace(PolicyConfig(), task=TaskConfig(mode="stepwise"))
    for algorithm in ("rloo", "reinforce"):
        mine = dataclasses.replace(config, algorithm=algorithm)
        got = token_advantages(mine, [whole(*r) for r in REWARDS])
        assert got == [pytest.approx(row) for row in advantages(algorithm=algorithm)]
