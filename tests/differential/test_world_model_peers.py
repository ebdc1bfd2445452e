"""The maths of DreamerV3 equals sheeprl's, TorchRL's and pytorch-optimizer's on random tensors.

Differences are of the larger of 1 and the peer's number. `--junitxml` keeps the greatest of each test.
"""

import importlib
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.roles.world_model.parts import made, settings
from understudy import ops
from understudy.roles.world_model.optim import LaProp, clip_adaptively

pytestmark = [pytest.mark.differential, pytest.mark.filterwarnings("ignore::Warning")]
MOST = 1e-6
ALONE = SimpleNamespace(all_gather=lambda x: x)


def peer(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they warn about each other's versions
        pytest.importorskip(name.partition(".")[0])
        return importlib.import_module(name)


@pytest.fixture
def near(record_property):
    """Demands that two results differ by no more than `MOST`."""
    seen = {}

    def check(ours, theirs, what: str):
        size = theirs.detach().abs().clamp(min=1.0)
        assert ours.shape == theirs.shape
        off = float(((ours.double() - theirs.double()) / size).detach().abs().max())
        seen[what] = max(off, seen.get(what, 0.0))
        assert off <= MOST, f"{what} is off by {off:.1e}"

    yield check
    for what, off in seen.items():
        record_property(what, f"{off:.1e}")


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def both(x):
    """Two leaves of one value."""
    return x.clone().requires_grad_(), x.clone().requires_grad_()


# ---- symlog, two-hot ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sheeprl.utils.utils", "torchrl.modules.functional"])
def test_symlog_and_symexp(near, name):
    theirs, x = peer(name), random(100) * 5
    near(ops.symlog(x), theirs.symlog(x), "symlog")
    near(ops.symexp(x), theirs.symexp(x), "symexp")


def returns_and_logits():
    """Targets near 0, far from it, beyond all bins and on one."""
    x = torch.cat([random(60), random(30, seed=1) * 1e3, torch.tensor([0.0, 6e8, -6e8])])
    return x, random(len(x), 255, seed=2) * 3


def test_two_hot_of_nature_is_that_of_sheeprl(near, monkeypatch):
    theirs = peer("sheeprl.algos.dreamer_v3_5.loss")
    bins = ops.symexp_bins(255)
    near(bins, theirs.symexp_bins(255), "bins")
    # Bins reach to 5e8: what is added up is far larger than its sum. Its single precision is made double.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    bins, (x, logits) = bins.double(), returns_and_logits()
    ours, their = both(logits)
    loss, wanted = ops.two_hot_loss(ours.log_softmax(-1), x, bins), theirs.TwoHot(their, bins)
    near(ops.two_hot(x, bins), wanted.encode(x), "weights")
    near(loss, wanted.loss(x), "loss")
    loss.sum().backward()
    wanted.loss(x).sum().backward()
    near(ours.grad, their.grad, "gradient")
    near(ops.expected(logits.log_softmax(-1), bins), theirs.TwoHot(logits, bins).mean, "mean")


def test_two_hot_of_nature_is_that_of_torchrl(near):
    theirs = peer("torchrl.modules.models.model_based")
    bins = ops.symexp_bins(255).double()
    near(bins, theirs.SymExpTwoHot(255).bins.double(), "bins")
    x, logits = returns_and_logits()
    near(ops.two_hot(x, bins), theirs.two_hot_encode(x, bins), "weights")
    ours, their = both(logits)
    loss = ops.two_hot_loss(ours.log_softmax(-1), x, bins)
    wanted = theirs.two_hot_cross_entropy(their, x, bins)
    near(loss, wanted, "loss")
    loss.sum().backward()
    wanted.sum().backward()
    near(ours.grad, their.grad, "gradient")
    near(ops.expected(logits.log_softmax(-1), bins), theirs.two_hot_decode(logits, bins), "mean")


def test_two_hot_of_2023_is_that_of_sheeprl(near):
    theirs = peer("sheeprl.utils.distribution")
    bins = ops.even_bins(255).double()
    x, logits = returns_and_logits()
    wanted = theirs.TwoHotEncodingDistribution(logits, dims=1)
    wanted.bins = bins  # in double precision
    loss = ops.two_hot_loss(logits.log_softmax(-1), ops.symlog(x), bins)
    near(loss, -wanted.log_prob(x[:, None]), "loss")
    found = ops.symexp(ops.expected(logits.log_softmax(-1), bins))
    near(found, wanted.mean[:, 0], "mean")


# ---- returns ------------------------------------------------------------------------------------


def outlook():
    """Rewards, values and continuations of 15 steps of 8 rows [T, B, 1]."""
    return random(15, 8, 1), random(15, 8, 1, seed=1) * 9, random(15, 8, 1, seed=2).sigmoid()


def our_returns(rewards, values, continues, lam):
    r, v, c = (x[..., 0].T for x in (rewards, values, continues))
    return ops.bootstrapped_returns(r, c, v, v[:, -1], lam).T[..., None]


def test_lambda_returns_are_those_of_sheeprl(near):
    theirs = peer("sheeprl.algos.dreamer_v3.utils")
    wanted = theirs.compute_lambda_values(*outlook(), 0.95)
    near(our_returns(*outlook(), 0.95), wanted, "2023")
    rewards, values, continues = outlook()
    ends = 1 - torch.cat([continues[:1], continues])
    first = torch.zeros_like(rewards[:1])
    nature = peer("sheeprl.algos.dreamer_v3_5.loss").lambda_return(
        torch.zeros_like(ends), ends, torch.cat([first, rewards]), torch.cat([first, values]), 0.99, 0.95
    )  # fmt: skip
    near(our_returns(rewards, values, 0.99 * continues, 0.95), nature, "nature")


def test_lambda_returns_are_those_of_torchrl(near):
    theirs = peer("torchrl.objectives.value.functional")
    rewards, values, continues = outlook()
    # It knows ends, not probabilities: an episode goes on or is over.
    over = continues < 0.3
    args = [x.transpose(0, 1) for x in (values, rewards, over, over)]
    live = 0.99 * (~over).double()
    for name in ("td_lambda_return_estimate", "vec_td_lambda_return_estimate"):
        wanted = getattr(theirs, name)(0.99, 0.95, *args).transpose(0, 1)
        near(our_returns(rewards, values, live, 0.95), wanted, name)
    # With probabilities, as its actor's loss has it.
    estimator = SimpleNamespace(
        gamma=torch.tensor(0.99).double(), lmbda=torch.tensor(0.95).double()
    )
    loss = peer("torchrl.objectives.dreamer_v3").DreamerV3ActorLoss
    wanted = loss.lambda_target(
        SimpleNamespace(value_estimator=estimator), *(x.transpose(0, 1) for x in outlook())
    )
    near(our_returns(rewards, values, 0.99 * continues, 0.95).transpose(0, 1), wanted, "dreamer")


def spans(scale):
    """Ours and a peer's after each of 20 updates with growing returns."""
    agent, *_ = made(settings())
    for seed in range(20):
        returns = random(15, 8, seed=seed, dtype=torch.float32) * 10 * (seed + 1)
        yield agent.behaviour.span(returns, 0.01), scale(returns)


def test_the_range_of_returns_is_that_of_sheeprl(near):
    theirs = peer("sheeprl.algos.dreamer_v3.utils").Moments(max_=1.0)
    for ours, wanted in spans(lambda returns: theirs(returns, ALONE)[1]):
        near(ours, wanted, "scale")


def test_the_range_of_returns_is_that_of_torchrl(near):
    kind = peer("torchrl.modules.value_norm").PercentileValueNorm
    theirs = kind(quantiles=(0.05, 0.95), rate=0.01, min_scale=1.0)

    def scale(returns):
        theirs.update(returns[..., None])
        return theirs.scale().squeeze()

    for ours, wanted in spans(scale):
        near(ours, wanted, "scale")


# ---- divergences --------------------------------------------------------------------------------


def latents():
    """Posterior and prior logits; some elements below the free nats, some above."""
    posterior = random(40, 32, 4) * torch.linspace(0, 1.5, 40)[:, None, None]
    return posterior, posterior + random(40, 32, 4, seed=1) * torch.linspace(0, 1, 40)[
        :, None, None
    ]


def compare_kl(near, terms):
    (p, their_p), (q, their_q) = (both(x) for x in latents())
    ours = [x.mean() for x in ops.balanced_kl(ops.unimix(p), ops.unimix(q), 1.0)]
    plain = ops.divergence(ops.unimix(p), ops.unimix(q))
    assert 0 < int((plain < 1).sum()) < len(plain)
    wanted = terms(their_p, their_q)
    for found, other, name in zip(ours, wanted, ("dynamics", "representation"), strict=True):
        near(found, other, name)
    (ours[0] + 0.1 * ours[1]).backward()
    (wanted[0] + 0.1 * wanted[1]).backward()
    near(p.grad, their_p.grad, "posterior's gradient")
    near(q.grad, their_q.grad, "prior's gradient")


def test_divergences_are_those_of_torchrl(near):
    theirs = peer("torchrl.objectives.dreamer_v3")
    compare_kl(near, lambda p, q: theirs.categorical_kl_terms(p, q, free_nats=1.0, unimix=0.01))


def test_divergences_are_those_of_sheeprl(near):
    theirs = peer("sheeprl.algos.dreamer_v3.loss")

    def terms(p, q):
        p, q = ops.unimix(p), ops.unimix(q)  # its networks mix before
        kinds = (p.detach(), q), (p, q.detach())
        return [theirs.categorical_kl(*kind).clamp(min=1.0).mean() for kind in kinds]

    compare_kl(near, terms)


def test_the_losses_of_2023_are_those_of_sheeprl(near):
    """Its whole loss of the latents: half of the prior's and a tenth of the posterior's."""
    theirs = peer("sheeprl.algos.dreamer_v3.loss")
    p, q = (ops.unimix(x) for x in latents())
    nothing = SimpleNamespace(log_prob=lambda x: torch.zeros(len(p)))
    total, kl, *_ = theirs.reconstruction_loss(
        {"x": nothing}, {"x": p}, nothing, torch.zeros(len(p)), q, p
    )
    dynamics, representation = ops.balanced_kl(p, q, 1.0)
    near((0.5 * dynamics + 0.1 * representation).mean(), total, "loss")
    near(ops.divergence(p, q).mean(), kl, "divergence")


# ---- optimisation -------------------------------------------------------------------------------


def pair(dtype=torch.float64):
    """Two equal sets of tensors: large, small, a vector, one of zeros."""
    kinds = [random(8, 5), random(3, 4, 2, seed=1) * 1e-2, random(7, seed=2), torch.zeros(4, 3)]
    return [[nn.Parameter(x.to(dtype)) for x in kinds] for _ in range(2)]


def follow(near, ours, theirs, mine, others, what):
    for step in range(30):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            size = 10.0 ** (step % 5 - 2)  # some are clipped, some not
            a.grad = random(*a.shape, seed=100 * step + i, dtype=a.dtype) * size
            b.grad = a.grad.clone()
        mine.step()
        others.step()
        for a, b in zip(ours, theirs, strict=True):
            near(a.detach(), b.detach(), what)


@pytest.mark.parametrize("clip", [0.0, 0.3])
@pytest.mark.parametrize(
    "name", ["sheeprl.algos.dreamer_v3_5.optim", "torchrl.trainers.algorithms"]
)
def test_thirty_steps_of_laprop(near, clip, name):
    module = peer(name)
    if name.startswith("sheeprl"):
        ours, theirs = pair()
        others = module.LaProp(theirs, 1e-2, agc=clip, warmup=0)
    else:  # keeps its moments in single precision
        ours, theirs = pair(torch.float32)
        others = module.DreamerV3Optimizer(theirs, lr=1e-2, agc=clip, warmup_steps=0)
    mine = LaProp(ours, 1e-2, clip=clip, warmup=0)
    follow(near, ours, theirs, mine, others, f"parameters, clip {clip}")


def test_laprop_alone_is_that_of_pytorch_optimizer(near):
    module, (ours, theirs) = peer("pytorch_optimizer"), pair()
    others = module.LaProp(theirs, lr=1e-2, betas=(0.9, 0.999), eps=1e-20, foreach=False)
    mine = LaProp(ours, 1e-2, clip=0.0, warmup=0)
    follow(near, ours, theirs, mine, others, "parameters")


def test_adaptive_clipping_of_vectors_is_that_of_pytorch_optimizer(near):
    """Of vectors alone: its norms of matrices are taken row by row."""
    theirs = peer("pytorch_optimizer.optimizer.agc").agc
    for i, size in enumerate((0.0, 1e-4, 1.0, 30.0)):
        p, g = random(9, seed=i) * size, random(9, seed=i + 10)
        found = clip_adaptively([p], [g], 0.3)[0]
        near(found, theirs(p, g, agc_eps=1e-3, agc_clip_val=0.3, eps=1e-20), "gradient")
