"""Symmetric logarithms and two-hot bins: by hand, and exactness where training relies on it."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from understudy import ops


def test_symlog_by_hand():
    # ln(1 + 1) = 0.693147…, and −ln(1 + (e − 1)) = −1.
    found = ops.symlog(torch.tensor([0.0, 1.0, -(math.e - 1)], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.0, math.log(2), -1.0], abs=1e-12)
    back = ops.symexp(torch.tensor([0.0, math.log(2), -1.0], dtype=torch.float64))
    assert back.tolist() == pytest.approx([0.0, 1.0, -(math.e - 1)], abs=1e-12)


@given(st.floats(-1e6, 1e6))
def test_symexp_undoes_symlog(x):
    value = torch.tensor(x, dtype=torch.float64)
    assert float(ops.symexp(ops.symlog(value))) == pytest.approx(x, rel=1e-9, abs=1e-9)


def test_two_hot_by_hand():
    # Between the bins 1 and 4 the value 2 lies a third of the way: weights 2/3 and 1/3.
    bins = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
    found = ops.two_hot(torch.tensor([2.0, -1.0, 9.0, -9.0, 4.0]), bins)
    third = 1 / 3
    wanted = [[0, 0, 0, 1 - third, third], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]  # fmt: skip
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float32), atol=1e-7)


def test_the_loss_is_the_cross_entropy_to_the_two_hot_target():
    # Probabilities 1/2, 1/4, 1/4 on −1, 0, 1 and the target 0.5 (half on 0, half on 1):
    # −(½ ln ¼ + ½ ln ¼) = ln 4.
    bins = torch.tensor([-1.0, 0.0, 1.0])
    logp = torch.tensor([0.5, 0.25, 0.25]).log()
    assert float(ops.two_hot_loss(logp, torch.tensor(0.5), bins)) == pytest.approx(math.log(4))
    logp = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    x, five = torch.linspace(-30, 30, 7), ops.symexp_bins(5, 3.0)
    slow = -(ops.two_hot(x, five) * logp).sum(-1)
    assert torch.allclose(ops.two_hot_loss(logp, x, five), slow, atol=1e-6)


def test_bins_by_hand_and_exactly_symmetric():
    assert ops.even_bins(5).tolist() == [-20, -10, 0, 10, 20]
    wanted = [-math.expm1(20), -math.expm1(10), 0.0, math.expm1(10), math.expm1(20)]
    assert ops.symexp_bins(5).tolist() == pytest.approx(wanted, rel=1e-6)
    for count in (3, 101, 255):
        for bins in (ops.even_bins(count), ops.symexp_bins(count)):
            assert torch.equal(bins, -bins.flip(0))
            assert bool((bins.diff() > 0).all())
    with pytest.raises(ValueError, match="odd"):
        ops.even_bins(4)


def test_equal_probabilities_mean_exactly_zero():
    for bins in (ops.even_bins(255), ops.symexp_bins(255)):
        logp = torch.zeros(3, 255).log_softmax(-1)
        assert ops.expected(logp, bins).tolist() == [0.0, 0.0, 0.0]


def test_expected_by_hand():
    # ¼ · (−2) + ½ · 0 + ¼ · 2 = 0; ½ · 2 − ⅛ · 2 = 0.75.
    bins = torch.tensor([-2.0, 0.0, 2.0])
    logp = torch.tensor([[0.25, 0.5, 0.25], [0.125, 0.375, 0.5]]).log()
    assert ops.expected(logp, bins).tolist() == pytest.approx([0.0, 0.75], abs=1e-6)


@given(st.floats(-1e4, 1e4))
def test_two_hot_keeps_the_mean(x):
    bins = ops.symexp_bins(255).double()
    weights = ops.two_hot(torch.tensor(x, dtype=torch.float64), bins)
    assert float((weights * bins).sum()) == pytest.approx(x, rel=1e-6, abs=1e-6)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert int((weights > 0).sum()) <= 2
