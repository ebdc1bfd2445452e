"""The maths of DreamerV3 equals sheeprl's on random tensors."""

from types import SimpleNamespace

import pytest
import torch

from tests.roles.world_model.parts import made, settings
from understudy import ops

pytestmark = pytest.mark.differential


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_symlog_and_symexp():
    peer = pytest.importorskip("sheeprl.utils.utils")
    x = random(100) * 5
    assert torch.allclose(ops.symlog(x), peer.symlog(x), atol=1e-6)
    assert torch.allclose(ops.symexp(x), peer.symexp(x), rtol=1e-5, atol=1e-6)


def test_lambda_returns():
    peer = pytest.importorskip("sheeprl.algos.dreamer_v3.utils")
    rewards, values = random(15, 8, 1), random(15, 8, 1, seed=1)
    continues = random(15, 8, 1, seed=2).sigmoid()
    theirs = peer.compute_lambda_values(rewards, values, continues, 0.95)
    across = [x[..., 0].T for x in (rewards, continues, values)]
    ours = ops.bootstrapped_returns(*across, across[2][:, -1], 0.95)
    assert torch.allclose(ours.T, theirs[..., 0], atol=1e-6)


def test_the_range_of_returns():
    peer = pytest.importorskip("sheeprl.algos.dreamer_v3.utils")
    theirs, alone = peer.Moments(max_=1.0), SimpleNamespace(all_gather=lambda x: x)
    agent, *_ = made(settings())
    for seed in range(5):
        returns = random(15, 8, seed=seed) * 100
        _, scale = theirs(returns, alone)
        assert torch.allclose(agent.behaviour.span(returns, 0.01), scale, rtol=1e-5)
