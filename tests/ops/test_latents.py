"""Categorical latents: mixing, sampling, divergences with free bits."""

import math

import pytest
import torch

from understudy import ops


def logs(*p):
    return torch.tensor(p, dtype=torch.float64).log()


def test_unimix_by_hand():
    # softmax(0, ln 3) = ¼, ¾; with a tenth of the uniform: 0.9·¼ + 0.05 = 0.275 and 0.725.
    found = ops.unimix(torch.tensor([0.0, math.log(3)]), 0.1).exp()
    assert found.tolist() == pytest.approx([0.275, 0.725])
    plain = ops.unimix(torch.tensor([0.0, math.log(3)]), 0.0).exp()
    assert plain.tolist() == pytest.approx([0.25, 0.75])


def test_divergence_by_hand_summed_over_latents():
    # KL(½,½ ‖ ¼,¾) = ½ ln 2 + ½ ln ⅔ = ½ ln 4/3; two such latents make ln 4/3.
    p, q = logs([0.5, 0.5], [0.5, 0.5]), logs([0.25, 0.75], [0.25, 0.75])
    assert float(ops.divergence(p, q)) == pytest.approx(math.log(4 / 3))
    # and the other way round it is another number: ¼ ln ½ + ¾ ln 3/2, twice.
    assert float(ops.divergence(q, p)) == pytest.approx(
        2 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    )


def test_free_bits_are_per_element_and_stop_its_gradient():
    small = torch.zeros(1, 2, requires_grad=True)
    large = torch.tensor([[9.0, -9.0]], requires_grad=True)
    prior = torch.zeros(2, 1, 2)
    post = torch.stack([small, large])
    dynamics, representation = ops.balanced_kl(ops.unimix(post), ops.unimix(prior), free=0.5)
    assert float(dynamics[0].detach()) == float(representation[0].detach()) == 0.5
    # KL(≈ one of two ‖ uniform) ≈ ln 2 − H(0.005) = 0.6931 − 0.0315.
    h = -(0.005 * math.log(0.005) + 0.995 * math.log(0.995))
    assert float(representation[1].detach()) == pytest.approx(math.log(2) - h, abs=1e-4)
    representation.sum().backward()
    assert small.grad.tolist() == [[0.0, 0.0]]
    assert large.grad.abs().sum() > 0


def test_each_loss_moves_one_side():
    post = torch.tensor([[2.0, -2.0]], requires_grad=True)
    prior = torch.tensor([[-2.0, 2.0]], requires_grad=True)
    dynamics, representation = ops.balanced_kl(ops.unimix(post), ops.unimix(prior))
    assert float(dynamics.detach()) == float(representation.detach()) > 1
    dynamics.backward(retain_graph=True)
    assert post.grad is None
    # Minimising makes the prior's first class likelier, as the posterior's is.
    assert prior.grad[0, 0] < 0 < prior.grad[0, 1]
    prior.grad = None
    representation.backward()
    assert prior.grad is None
    assert post.grad[0, 0] > 0 > post.grad[0, 1]


def test_samples_have_the_probabilities():
    p = torch.tensor([0.1, 0.2, 0.7]).expand(20_000, 3)
    noise = torch.empty(20_000, 3).exponential_(generator=torch.Generator().manual_seed(1))
    drawn = ops.sample_one_hot(p, noise)
    assert bool((drawn.sum(-1) == 1).all())
    # Four standard deviations of a share: 4 √(0.25 / 20000) = 0.014.
    assert drawn.mean(0).tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.014)


def test_the_gradient_goes_straight_through():
    p = torch.tensor([0.3, 0.7], requires_grad=True)
    one = torch.tensor([1.0, 0.0])
    z = ops.straight_through(one, p)
    assert torch.equal(z.detach(), one)
    (z * torch.tensor([2.0, 5.0])).sum().backward()
    assert p.grad.tolist() == [2.0, 5.0]
