"""Advantages: by hand, and their laws."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from understudy import ops

RULES = {
    "leave_one_out": ops.leave_one_out,
    "group_relative": ops.group_relative,
    "centred": lambda r, v=None: ops.group_relative(r, v, scale="none"),
}


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_leave_one_out_by_hand():
    # Means of the others: of 0 and 2, 1; of 3 and 2, 5/2; of 3 and 0, 3/2.
    assert ops.leave_one_out(rows([3, 0, 2])).tolist() == [[2, -2.5, 0.5]]


def test_batch_baseline_by_hand():
    # Everybody's sum is 6: 3 − 3/3, 0 − 6/3, 2 − 4/3, 1 − 5/3.
    found = ops.batch_baseline(rows([3, 0], [2, 1]))
    torch.testing.assert_close(found, rows([2, -2], [2 / 3, -2 / 3]))
    assert ops.batch_baseline(rows([3])).tolist() == [[3]]


def test_group_relative_by_hand():
    # Mean 2, deviations 1 −2 1, sample variance (1 + 4 + 1)/2 = 3.
    found = ops.group_relative(rows([3, 0, 3]), eps=0.0)
    torch.testing.assert_close(found, rows([1, -2, 1]) / 3**0.5)
    damped = ops.group_relative(rows([3, 0, 3]), eps=1.0)
    torch.testing.assert_close(damped, rows([1, -2, 1]) / (3**0.5 + 1))
    assert ops.group_relative(rows([3, 0, 3]), scale="none").tolist() == [[1, -2, 1]]


def test_an_unknown_scale_is_an_error():
    with pytest.raises(ValueError, match='scale is "var"; it must be "std" or "none"'):
        ops.group_relative(rows([1, 2]), scale="var")  # type: ignore[arg-type]


def test_masks_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"valid_UG is \[2\], rewards_UG \[1, 2\]"):
        ops.leave_one_out(rows([1, 2]), torch.tensor([True, False]))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_ungradable_answers_are_left_out_of_everything(rule):
    valid = torch.tensor([[True, False, True, True]])
    found = rule(rows([3, torch.nan, 0, 2]), valid)
    alone = rule(rows([3, 0, 2]))
    torch.testing.assert_close(found[:, [0, 2, 3]], alone)
    assert found[0, 1] == 0


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_nobody_to_compare_with_is_no_advantage(rule):
    assert rule(rows([5])).tolist() == [[0]]
    valid = torch.tensor([[False, True], [False, False]])
    assert rule(rows([7, 5], [1, 2]), valid).tolist() == [[0, 0], [0, 0]]


def test_stepwise_by_hand():
    # Returns to go, γ = 1/2: 1 + 1/2·(2 + 1/2·4) = 3, 4, 4 | 6, 0, 0 (ended) | 2, 2, 0 (ended).
    rewards = rows([[1, 2, 4], [6, 9, 9], [1, 2, 9]])
    expected = rows([[3 - 4, 4 - 1, 4 - 0], [6 - 2.5, 0, 0], [2 - 4.5, 2 - 2, 0]])
    steps = torch.tensor([[3, 1, 2]])
    mask = torch.arange(3) < steps[..., None]
    torch.testing.assert_close(ops.stepwise_leave_one_out(rewards, steps, 0.5), expected)
    torch.testing.assert_close(ops.stepwise_leave_one_out(rewards, mask, 0.5), expected)


def test_stepwise_alone_is_the_return_to_go():
    found = ops.stepwise_leave_one_out(rows([[1, 2]]), torch.tensor([[2]]))
    assert found.tolist() == [[[3, 2]]]


def test_signal_groups():
    advantages = rows([0, 0, 0], [0, 1, 0], [0, 0, -1])
    assert ops.signal_groups(advantages).tolist() == [False, True, True]
    mask = torch.tensor([[True] * 3, [True, False, True], [True] * 3])
    assert ops.signal_groups(advantages, mask).tolist() == [False, False, True]
    assert ops.signal_groups(advantages[..., None].expand(-1, -1, 4)).tolist() == [
        False,
        True,
        True,
    ]


def test_whiten_by_hand():
    # Of 1 and 3: mean 2, deviation 1.
    found = ops.whiten(rows([1, 3, torch.nan]), torch.tensor([[True, True, False]]), eps=0.0)
    assert found.tolist() == [[-1, 1, 0]]
    assert ops.whiten(rows([1, 3]), torch.tensor([[False, False]])).tolist() == [[0, 0]]


# ---- laws -----------------------------------------------------------------------------------------

numbers = st.floats(-100, 100, width=32)


@st.composite
def groups(draw):
    """Rewards and validity [U, G]."""
    prompts, size = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    several = st.lists(numbers, min_size=size, max_size=size)
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    rewards = draw(st.lists(several, min_size=prompts, max_size=prompts))
    valid = draw(st.lists(flags, min_size=prompts, max_size=prompts))
    return torch.tensor(rewards, dtype=torch.float64), torch.tensor(valid)


@settings(deadline=None)
@given(groups())
def test_leave_one_out_is_its_definition(case):
    rewards, valid = case
    found = ops.leave_one_out(rewards, valid)
    for u, row in enumerate(rewards):
        for g, reward in enumerate(row):
            others = [r for h, r in enumerate(row) if h != g and valid[u, h]]
            expected = reward - sum(others) / len(others) if others and valid[u, g] else 0.0
            assert float(found[u, g]) == pytest.approx(float(expected), abs=1e-9)


@settings(deadline=None)
@given(groups())
def test_advantages_of_a_group_sum_to_zero(case):
    for rule in RULES.values():
        assert rule(*case).sum(-1).abs().max() < 1e-8
    assert abs(ops.batch_baseline(case[0]).sum()) < 1e-8


@settings(deadline=None)
@given(groups(), numbers)
def test_a_shift_of_all_rewards_changes_nothing(case, shift):
    rewards, valid = case
    for rule in (ops.leave_one_out, RULES["centred"]):
        torch.testing.assert_close(
            rule(rewards + shift, valid), rule(rewards, valid), atol=1e-8, rtol=0
        )


@settings(deadline=None)
@given(groups())
def test_group_mean_is_leave_one_out_times_g_minus_1_over_g(case):
    rewards, _ = case
    size = rewards.shape[-1]
    torch.testing.assert_close(
        ops.group_relative(rewards, scale="none"),
        ops.leave_one_out(rewards) * (size - 1) / size,
        atol=1e-9, rtol=1e-9,
    )  # fmt: skip


@settings(deadline=None)
@given(groups())
def test_the_scaled_deviation_is_one(case):
    rewards, _ = case
    found = ops.group_relative(rewards, eps=0.0)
    spread = rewards.std(-1) > 1e-3
    torch.testing.assert_close(found.std(-1)[spread], torch.ones_like(found[spread, 0]))


@settings(deadline=None)
@given(st.floats(-10, 10, width=32), st.integers(2, 9))
def test_equal_rewards_teach_exactly_nothing(reward, size):
    """In single precision, where a mean of equal numbers is often not quite that number."""
    rewards = torch.full((2, size), reward)
    for rule in (*RULES.values(), ops.batch_baseline):
        assert not rule(rewards).any()
        assert not ops.signal_groups(rule(rewards)).any()
    steps = torch.full((2, size), 3)
    assert not ops.stepwise_leave_one_out(rewards[..., None].expand(-1, -1, 3), steps).any()


@settings(deadline=None)
@given(groups())
def test_stepwise_of_one_step_is_leave_one_out(case):
    rewards, _ = case
    steps = torch.ones_like(rewards, dtype=torch.long)
    torch.testing.assert_close(
        ops.stepwise_leave_one_out(rewards[..., None], steps)[..., 0], ops.leave_one_out(rewards)
    )


@settings(deadline=None)
@given(groups())
def test_whitened_values_have_mean_0_and_variance_1(case):
    values, mask = case
    if mask.sum() < 2 or values[mask].std() < 1e-2:
        return
    found = ops.whiten(values, mask)
    assert abs(found[mask].mean()) < 1e-6
    assert float(found[mask].var(correction=0)) == pytest.approx(1, abs=1e-3)
    assert not found[~mask].any()
