"""How far a student is from its teacher, and how far a value is from its target."""

import math

import pytest
import torch

from understudy import ops
from understudy.ops.distill import FLOOR

HOWS = ("ce", "forward_kl", "reverse_kl")
# The student has 1/2, 1/4, 1/4, as softmax of logits that are logarithms, whatever is added to them.
STUDENT = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log() + 3.0


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("teacher", "ce", "forward"),
    [
        # −log 1/2; a certain teacher has no entropy.
        ((1.0, 0.0, 0.0), math.log(2), math.log(2)),
        # ½ log 2 + ½ log 4; less the teacher's entropy log 2.
        ((0.5, 0.5, 0.0), 1.5 * math.log(2), 0.5 * math.log(2)),
        ((0.5, 0.25, 0.25), 1.5 * math.log(2), 0.0),
    ],
)
def test_towards_the_teacher_by_hand(teacher, ce, forward):
    assert ops.distillation(STUDENT, row(*teacher), "ce").item() == pytest.approx(ce)
    found = ops.distillation(STUDENT, row(*teacher), "forward_kl").item()
    assert found == pytest.approx(forward, abs=1e-12)


def test_reverse_kl_by_hand():
    # π_T = (¼, ½, ¼), all but untouched by the floor: ½ log 2 − ¼ log 2 + 0.
    found = ops.distillation(STUDENT, row(0.25, 0.5, 0.25), "reverse_kl").item()
    assert found == pytest.approx(0.25 * math.log(2), abs=3 * FLOOR)
    # A teacher that excludes the second and third: ½ log ½ + ½ log(¼ / (floor/3)), about.
    third = FLOOR / 3
    exact = 0.5 * math.log(0.5 / (1 - FLOOR + third)) + 0.5 * math.log(0.25 / third)
    found = ops.distillation(STUDENT, row(1.0, 0.0, 0.0), "reverse_kl").item()
    assert found == pytest.approx(exact)


def brute(logits, teacher, how):
    """Plain sums over Python numbers."""
    total = sum(math.exp(x) for x in logits)
    pi = [math.exp(x) / total for x in logits]
    if how == "reverse_kl":
        mixed = [(1 - FLOOR) * p + FLOOR / len(pi) for p in teacher]
        return sum(s * math.log(s / t) for s, t in zip(pi, mixed, strict=True))
    found = -sum(t * math.log(s) for s, t in zip(pi, teacher, strict=True))
    return found + (how == "forward_kl") * sum(t * math.log(t) for t in teacher if t)


@pytest.mark.parametrize("how", HOWS)
def test_values_and_gradients_against_brute_force(how):
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 5, generator=g, dtype=torch.float64) * 2
    teacher = torch.rand(6, 5, generator=g, dtype=torch.float64)
    teacher[2, 1:] = 0.0
    teacher /= teacher.sum(-1, keepdim=True)
    logits.requires_grad_()
    found = ops.distillation(logits, teacher, how)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    step = 1e-6
    for b in range(6):
        x, t = logits[b].tolist(), teacher[b].tolist()
        assert found[b].item() == pytest.approx(brute(x, t, how), rel=1e-9)
        for a in range(5):
            up, down = list(x), list(x)
            up[a] += step
            down[a] -= step
            rise = (brute(up, t, how) - brute(down, t, how)) / (2 * step)
            assert slope[b, a].item() == pytest.approx(rise, abs=1e-7)


def test_cross_entropy_and_forward_kl_have_one_gradient():
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(4, 7, generator=g, requires_grad=True)
    teacher = torch.rand(4, 7, generator=g).softmax(-1)
    ce, kl = (
        torch.autograd.grad(ops.distillation(logits, teacher, how).sum(), logits)[0]
        for how in ("ce", "forward_kl")
    )
    torch.testing.assert_close(ce, kl)
    torch.testing.assert_close(ce, logits.softmax(-1) - teacher)  # the gradient in closed form
    assert ce.abs().max() > 0.01


@pytest.mark.parametrize("how", ["forward_kl", "reverse_kl"])
def test_nothing_to_learn_where_both_agree(how):
    logits = STUDENT.clone().requires_grad_()
    loss = ops.distillation(logits, STUDENT.softmax(-1), how)
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.0, abs=2 * FLOOR)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=2 * FLOOR, rtol=0)
    apart = ops.distillation(logits, row(0.0, 0.0, 1.0), how)
    assert apart.item() > 0.5


@pytest.mark.parametrize("how", HOWS)
def test_an_action_that_is_masked_out_is_no_infinity(how):
    logits = torch.tensor([[0.3, -0.2, -1e9]], requires_grad=True)
    loss = ops.distillation(logits, torch.tensor([[0.9, 0.1, 0.0]]), how)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()
    assert slope[0, 2] == 0
    assert slope[0, 0] < 0 < slope[0, 1]  # towards the teacher
    assert torch.isfinite(ops.entropy(logits)).all()


def test_the_teacher_is_a_constant():
    teacher = row(0.2, 0.3, 0.5).requires_grad_()
    logits = STUDENT.clone().requires_grad_()
    for how in HOWS:
        ops.distillation(logits, teacher, how).sum().backward()
    assert teacher.grad is None


def test_an_unknown_divergence_is_named():
    with pytest.raises(ValueError, match=r"js.*ce, forward_kl, reverse_kl"):
        ops.distillation(STUDENT, STUDENT.softmax(-1), "js")


def test_entropy_by_hand():
    assert ops.entropy(STUDENT).item() == pytest.approx(1.5 * math.log(2))
    assert ops.entropy(torch.zeros(2, 4)).tolist() == pytest.approx([math.log(4)] * 2)
    assert ops.entropy(torch.tensor([[50.0, 0.0]])).item() == pytest.approx(0.0, abs=1e-6)


# V, R, old V, and the loss with clip 0.5: the larger of (V − R)² and (old ± 0.5 − R)².
VALUES = [
    (1.2, 2.0, 1.0, 0.64, 0.64),  # moved by less than the clip
    (1.8, 2.0, 1.0, 0.04, 0.25),  # moved too far towards R: 1.5 counts
    (0.0, 2.0, 1.0, 4.00, 4.00),  # moved too far away: no excuse
    (3.0, 2.0, 1.0, 1.00, 1.00),  # beyond R: 1.5 is nearer than 3
]


@pytest.mark.parametrize(("v", "r", "old", "plain", "clipped"), VALUES)
def test_value_loss_by_hand(v, r, old, plain, clipped):
    for clip, wanted in ((None, plain), (0.5, clipped)):
        values, returns, before = (torch.tensor([x], requires_grad=True) for x in (v, r, old))
        loss = ops.value_loss(values, returns, before, clip)
        loss.sum().backward()
        assert loss.item() == pytest.approx(wanted, abs=1e-6)
        assert returns.grad is None
        assert before.grad is None
        moves = 0.0 if wanted != plain else 2 * (v - r)
        assert values.grad.item() == pytest.approx(moves, abs=1e-6)
