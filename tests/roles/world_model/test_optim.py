"""LaProp and adaptive clipping: two steps by hand."""

import pytest
import torch

from understudy.roles.world_model.optim import LaProp, clip_adaptively


def test_two_steps_by_hand():
    # β₁ = ½, β₂ = ¾, lr 0.1, gradients 2 then −1.
    # Step 1: ν = ¼·4 = 1, ν̂ = 1/¼ = 4, g/√ν̂ = 1; μ = ½, μ̂ = 1; p = 1 − 0.1 = 0.9.
    # Step 2: ν = ¾·1 + ¼·1 = 1, ν̂ = 1/(1 − 9/16) = 16/7, g/√ν̂ = −√7/4; μ = ¼ − √7/8,
    #         μ̂ = μ/¾; p = 0.9 − 0.1 μ̂.
    p = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = LaProp([p], 0.1, betas=(0.5, 0.75), clip=0.0, warmup=0)
    p.grad = torch.tensor(2.0, dtype=torch.float64)
    optimizer.step()
    assert float(p.detach()) == pytest.approx(0.9)
    p.grad = torch.tensor(-1.0, dtype=torch.float64)
    optimizer.step()
    assert float(p.detach()) == pytest.approx(0.9 - 0.1 * (0.25 - 7**0.5 / 8) / 0.75)


def test_clipping_comes_before_the_square_by_hand():
    # As above, with ‖p‖ = 5 and a gradient of norm 10 cut to 0.3 · 5: (0.9, 1.2). Its square is what is
    # divided by, so a first step is still 0.1 in each coordinate; then ‖p‖ = √(2.9² + 3.9²), and (0, −1) is
    # below 0.3 of that: ν = ¾ · ¼ · 1.2² + ¼, ν̂ = 16/7 ν, and of the first coordinate the momentum alone.
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = LaProp([p], 0.1, betas=(0.5, 0.75), clip=0.3, warmup=0)
    p.grad = torch.tensor([6.0, 8.0], dtype=torch.float64)
    optimizer.step()
    assert p.tolist() == pytest.approx([2.9, 3.9])
    p.grad = torch.tensor([0.0, -1.0], dtype=torch.float64)
    optimizer.step()
    second = 0.5 * 0.5 - 0.5 / (16 / 7 * (0.75 * 0.25 * 1.44 + 0.25)) ** 0.5
    assert p.tolist() == pytest.approx([2.9 - 0.1 * 0.25 / 0.75, 3.9 - 0.1 * second / 0.75])


def test_the_first_steps_are_warmed_up():
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = LaProp([p], 1.0, clip=0.0, warmup=4)
    places = []
    for _ in range(5):
        p.grad = torch.ones(1)
        optimizer.step()
        places.append(float(p.detach()))
    # Equal gradients: every step is the learning rate, ¼ ½ ¾ 1 1 of it.
    assert places == pytest.approx([-0.25, -0.75, -1.5, -2.5, -3.5], rel=1e-4)


def test_adaptive_clipping_by_hand():
    # ‖p‖ = 5: a gradient of norm 10 is cut to 0.3 · 5 = 1.5, one of norm 1 is left alone;
    # a tensor of zeros counts as 10⁻³.
    params = [torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0]), torch.zeros(2)]
    grads = [torch.tensor([6.0, 8.0]), torch.tensor([0.6, 0.8]), torch.tensor([0.0, 2.0])]
    found = clip_adaptively(params, grads, 0.3)
    assert found[0].tolist() == pytest.approx([0.9, 1.2])
    assert found[1].tolist() == pytest.approx([0.6, 0.8])
    assert found[2].tolist() == pytest.approx([0.0, 3e-4])
    assert grads[0].tolist() == [6.0, 8.0]


def test_a_gradient_of_zero_moves_nothing():
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = LaProp([p], 0.1, warmup=0)
    p.grad = torch.tensor([1.0, 0.0])
    optimizer.step()
    assert float(p.detach()[1]) == 2.0
    assert float(p.detach()[0]) < 1.0
