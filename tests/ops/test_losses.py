"""Policy losses, their sums over a batch, divergences."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from understudy import ops

HOWS = ("token", "sequence", "constant")


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def logs(*values):
    return rows(*values).log()


# ---- policy losses --------------------------------------------------------------------------------


def test_reinforce_by_hand():
    logprobs, advantages = rows([-1, -2]).requires_grad_(), rows([3, -4]).requires_grad_()
    loss = ops.reinforce(logprobs, advantages)
    assert loss.tolist() == [[3, -8]]
    loss.sum().backward()
    assert logprobs.grad.tolist() == [[-3, 4]]
    assert advantages.grad is None


# Ratios 1/2, 1, 2 with bounds 0.8 and 1.3; the surrogate is min(ρ Â, clip(ρ) Â).
@pytest.mark.parametrize(
    ("advantage", "loss", "clipped", "slope"),
    [
        # Up: 0.5, 1, 1.3 (2 is clipped: no reason to go further).
        (1.0, [-0.5, -1.0, -1.3], [False, False, True], [-0.5, -1.0, 0.0]),
        # Down: −0.8 (0.5 is clipped), −1, −2.
        (-1.0, [0.8, 1.0, 2.0], [True, False, False], [0.0, 1.0, 2.0]),
    ],
)
def test_ppo_clip_by_hand(advantage, loss, clipped, slope):
    old = logs([0.4, 0.4, 0.4])
    new = logs([0.2, 0.4, 0.8]).requires_grad_()
    found, where = ops.ppo_clip(new, old, rows([advantage] * 3), 0.2, 0.3)
    torch.testing.assert_close(found, rows(loss))
    assert where.tolist() == [clipped]
    found.sum().backward()  # dρ/d log π = ρ
    torch.testing.assert_close(new.grad, rows(slope))


def test_the_bounds_are_apart():
    new, old = logs([0.52]), logs([0.4])  # ratio 1.3
    for high, clipped in ((0.2, True), (0.4, False)):
        assert ops.ppo_clip(new, old, rows([1.0]), 0.2, high)[1].tolist() == [[clipped]]


def test_a_masked_token_has_no_gradient_however_far_off():
    new = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    old = torch.tensor([[-1.0, -1e5]])
    mask = torch.tensor([[True, False]])
    advantages = torch.tensor([[-2.0, -2.0]])
    for sequence_level in (False, True):
        new.grad = None
        loss, _ = ops.ppo_clip(
            new, old, advantages, 0.2, 0.2, mask_BL=mask, sequence_level=sequence_level
        )
        ops.aggregate(loss, mask, "token").backward()
        assert new.grad.tolist() == [[2.0, 0.0]]


def gspo(logprobs, old, advantages, mask, low, high):
    """GSPO's objective as the paper has it (arXiv 2507.18071, equations 5 and 7), a loop."""
    total = 0.0
    for new, was, advantage, real in zip(logprobs, old, advantages, mask, strict=True):
        ratio = ((new[real] - was[real]).sum() / real.sum()).exp()
        total += torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
    return -total / len(logprobs)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
def test_the_ratio_of_an_answer_is_gspo(seed, batch, length):
    g = torch.Generator().manual_seed(seed)
    old = -torch.rand(batch, length, generator=g, dtype=torch.float64)
    new = (
        old + 0.3 * torch.randn(batch, length, generator=g, dtype=torch.float64)
    ).requires_grad_()
    advantages = torch.randn(batch, generator=g, dtype=torch.float64)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=g)
    mask = torch.arange(length) < lengths
    loss, clipped = ops.ppo_clip(
        new, old, advantages[:, None].expand_as(new), 0.1, 0.2, mask_BL=mask, sequence_level=True
    )
    mine = ops.aggregate(loss, mask, "sequence")
    theirs = gspo(new, old, advantages, mask, 0.1, 0.2)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(x, new)[0] for x in (mine, theirs)))
    for row, real in zip(clipped, mask, strict=True):
        assert len(set(row[real].tolist())) == 1  # the whole answer or nothing of it


# ---- sums over a batch ----------------------------------------------------------------------------


def test_aggregate_by_hand():
    loss = rows([1, 2, 6], [4, torch.nan, torch.inf])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    # (1 + 2 + 6 + 4)/4; (9/3 + 4)/2; 13/(2 · 5).
    assert float(ops.aggregate(loss, mask, "token")) == 3.25
    assert float(ops.aggregate(loss, mask, "sequence")) == 3.5
    assert float(ops.aggregate(loss, mask, "constant", max_tokens=5)) == 1.3


def test_nothing_to_sum_is_0():
    for how in HOWS:
        nothing = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)
        assert float(ops.aggregate(*nothing, how, max_tokens=3)) == 0


def test_bad_ways_to_aggregate_are_errors():
    mask = torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(
        ValueError, match='how is "mean"; it must be one of token, sequence, constant'
    ):
        ops.denominator(mask, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"constant" needs max_tokens'):
        ops.aggregate(torch.ones(1, 1), mask, "constant")


@st.composite
def batches(draw):
    """Losses and mask [B, L], and where to cut the batch into parts."""
    batch, length = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    number = st.floats(-5, 5, width=32)
    several = st.lists(number, min_size=length, max_size=length)
    flags = st.lists(st.booleans(), min_size=length, max_size=length)
    loss = draw(st.lists(several, min_size=batch, max_size=batch))
    mask = draw(st.lists(flags, min_size=batch, max_size=batch))
    cuts = sorted(draw(st.sets(st.integers(1, batch))) | {batch})
    return torch.tensor(loss), torch.tensor(mask), cuts


@settings(deadline=None)
@given(batches(), st.sampled_from(HOWS))
def test_parts_of_a_batch_add_up_to_the_whole(case, how):
    """Accumulation k × 1 = 1 × k, value and gradient, however the batch is cut."""
    loss, mask, cuts = case
    loss.requires_grad_()
    total = ops.denominator(mask, how, max_tokens=7)
    starts = [0, *cuts[:-1]]
    parts = sum(
        ops.aggregate(loss[a:b], mask[a:b], how, denominator=total)
        for a, b in zip(starts, cuts, strict=True)
    )
    whole = ops.aggregate(loss, mask, how, max_tokens=7)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, loss)[0] for x in (parts, whole)), atol=1e-6, rtol=1e-6
    )


@settings(deadline=None)
@given(batches(), st.sampled_from(HOWS), st.integers(1, 4), st.sampled_from(["left", "right"]))
def test_padding_and_what_is_masked_change_nothing(case, how, extra, side):
    loss, mask, _ = case
    widths = (extra, 0) if side == "left" else (0, extra)
    padded = torch.nn.functional.pad(torch.where(mask, loss, torch.nan), widths, value=torch.nan)
    wider = torch.nn.functional.pad(mask, widths, value=False)
    torch.testing.assert_close(
        ops.aggregate(padded, wider, how, max_tokens=7),
        ops.aggregate(loss, mask, how, max_tokens=7),
    )


def test_means_of_parts_would_not_add_up():
    """What the common denominator is for."""
    loss, mask = torch.tensor([[1.0, 1.0], [5.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    mean_of_means = (
        sum(ops.aggregate(loss[i : i + 1], mask[i : i + 1], "token") for i in (0, 1)) / 2
    )
    assert abs(mean_of_means - ops.aggregate(loss, mask, "token")) > 0.5


# ---- divergences ----------------------------------------------------------------------------------


def test_estimators_by_hand():
    # log π − log π_ref = ln 2, r = 1/2.
    p, q = logs([0.5]), logs([0.25])
    ln2 = math.log(2)
    for estimator, value in ((ops.k1, ln2), (ops.k2, ln2**2 / 2), (ops.k3, 0.5 - 1 + ln2)):
        torch.testing.assert_close(estimator(p, q), rows([value]))


def test_kl_to_go_by_hand():
    p, q = rows([-1, -2, -3, -4]), rows([-2, -4, -99, -12])  # log-ratios 1 2 (masked) 8
    mask = torch.tensor([[True, True, False, True]])
    p.requires_grad_()
    found = ops.kl_to_go(p, q, mask)
    assert found.tolist() == [[11, 10, 8, 8]]
    assert not found.requires_grad


def test_full_kl_by_hand():
    # π = (1/2, 1/2), ref = (1/4, 3/4): ½ ln 2 + ½ ln ⅔.
    found = ops.full_kl(logs([[0.5, 0.5]]), logs([[0.25, 0.75]]))
    torch.testing.assert_close(found, rows([0.5 * math.log(2) + 0.5 * math.log(2 / 3)]))


def test_full_kl_where_tokens_are_forbidden():
    some = logs([[0.5, 0.5, 0.0]]).requires_grad_()
    found = ops.full_kl(some, logs([[0.5, 0.5, 0.0]]))
    assert found.tolist() == [[0]]
    found.sum().backward()
    assert some.grad.isfinite().all()
    assert ops.full_kl(logs([[0.5, 0.5]]), logs([[1.0, 0.0]])).tolist() == [[math.inf]]


@pytest.mark.parametrize("estimator", [ops.k1, ops.k2, ops.k3, ops.kl_to_go])
def test_masked_tokens_reach_nothing(estimator):
    p = torch.tensor([[-1.0, 0.0, -2.0]], requires_grad=True)
    q = torch.tensor([[-1.5, 1e5, -1.0]])  # exp(1e5) is infinite
    mask = torch.tensor([[True, False, True]])
    found = estimator(p, q, mask)
    assert found.isfinite().all()
    short = estimator(p[:, [0, 2]], q[:, [0, 2]])
    torch.testing.assert_close(found[:, [0, 2]], short)
    if found.requires_grad:
        found.sum().backward()
        assert p.grad.isfinite().all()
        assert p.grad[0, 1] == 0


@pytest.mark.parametrize("estimator", [ops.k1, ops.k2, ops.k3])
def test_the_reference_is_a_constant(estimator):
    p, q = rows([-1.0]).requires_grad_(), rows([-2.0]).requires_grad_()
    estimator(p, q).sum().backward()
    assert q.grad is None
