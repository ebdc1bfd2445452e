"""Every gradient estimator against the exact gradient, by enumerating all answers of tiny LMs.

A tabular LM: V tokens, T positions, a table of logits for every prefix. All V^T answers are listed, so
expectations are sums. The true gradient of J = E[R] and of KL(π‖ref) comes from autograd on those sums.
"""

import itertools

import pytest
import torch

from understudy import ops

V, T = 3, 3
ANSWERS = list(itertools.product(range(V), repeat=T))


def prefixes():
    return [p for t in range(T) for p in itertools.product(range(V), repeat=t)]


class Tabular:
    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.rows = {p: i for i, p in enumerate(prefixes())}
        self.logits = torch.randn(len(self.rows), V, generator=g, dtype=torch.float64)

    def logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """[answers, T]"""
        table = logits.log_softmax(-1)
        at = torch.tensor([[self.rows[a[:t]] for t in range(T)] for a in ANSWERS])
        return table[at].gather(-1, torch.tensor(ANSWERS)[..., None])[..., 0]


def setting(seed: int):
    lm, ref = Tabular(seed), Tabular(seed + 1000)
    theta = lm.logits.clone().requires_grad_()
    logp = lm.logprobs(theta)
    ref_logp = ref.logprobs(ref.logits)
    rewards = torch.randn(
        len(ANSWERS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return theta, logp, ref_logp, rewards


def grad(value: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, theta, retain_graph=True)[0]


def per_answer_score(logp, advantages):
    """Minus the REINFORCE loss, summed over tokens: what the update ascends."""
    return -ops.reinforce(logp, advantages).sum(-1)


def groups(count: int):
    return list(itertools.product(range(len(ANSWERS)), repeat=count))


def expected(logp, theta, advantage_of_group, size=2):
    """Exact E over groups of `size` answers of the mean over the group of score × advantage."""
    index = torch.tensor(groups(size))
    p = logp.sum(-1).exp().detach()
    weight = p[index].prod(-1)
    advantages = advantage_of_group(index)
    coefficient = torch.zeros(len(ANSWERS), dtype=torch.float64)
    for g in range(size):
        coefficient.index_add_(0, index[:, g], weight * advantages[:, g] / size)
    # Σ_answers coefficient · ∇ log π(answer), through the package's own loss.
    return grad((per_answer_score(logp, torch.ones_like(logp)) * coefficient).sum(), theta)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", [ops.leave_one_out, ops.batch_baseline])
def test_reinforce_and_rloo_are_unbiased(seed, rule):
    theta, logp, _, rewards = setting(seed)
    truth = grad((logp.sum(-1).exp() * rewards).sum(), theta)
    # Row by row: a batch baseline looks at everything it is given, here one batch of two answers.
    found = expected(logp, theta, lambda i: torch.stack([rule(batch) for batch in rewards[i]]))
    torch.testing.assert_close(found, truth, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_sign_or_a_self_including_baseline_is_noticed(seed):
    theta, logp, _, rewards = setting(seed)
    truth = grad((logp.sum(-1).exp() * rewards).sum(), theta)
    flipped = expected(logp, theta, lambda i: -ops.leave_one_out(rewards[i]))
    included = expected(logp, theta, lambda i: rewards[i] - rewards[i].mean(-1, keepdim=True))
    assert (flipped - truth).abs().max() > 1e-3
    assert (included - truth).abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_group_mean_without_scaling_is_the_gradient_times_g_minus_1_over_g(seed):
    theta, logp, _, rewards = setting(seed)
    truth = grad((logp.sum(-1).exp() * rewards).sum(), theta)
    found = expected(logp, theta, lambda i: ops.group_relative(rewards[i], scale="none"))
    torch.testing.assert_close(found, truth * (2 - 1) / 2, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_group_deviation_bends_the_gradient(seed):
    """GRPO's division by the group's deviation is biased: another direction, not only another length."""
    theta, logp, _, rewards = setting(seed)
    truth = grad((logp.sum(-1).exp() * rewards).sum(), theta)
    found = expected(logp, theta, lambda i: ops.group_relative(rewards[i]), size=3)
    cosine = torch.cosine_similarity(found.flatten(), truth.flatten(), dim=0)
    assert 0.8 < cosine < 0.9999


@pytest.mark.parametrize("seed", range(5))
def test_ppo_clip_on_policy_has_the_gradient_of_reinforce(seed):
    theta, logp, _, rewards = setting(seed)
    advantages = rewards[:, None].expand_as(logp)
    loss, clipped = ops.ppo_clip(logp, logp.detach(), advantages, 0.2, 0.2)
    p = logp.sum(-1).exp().detach()
    found = grad(-(loss.sum(-1) * p).sum(), theta)
    truth = grad((logp.sum(-1).exp() * rewards).sum(), theta)
    torch.testing.assert_close(found, truth, atol=1e-9, rtol=0)
    assert not clipped.any()


def kl_gradient(form: str, logp, ref_logp, theta):
    p = logp.sum(-1).exp().detach()
    mask = torch.ones_like(logp, dtype=torch.bool)
    if form == "to_go":
        loss = ops.reinforce(logp, -ops.kl_to_go(logp, ref_logp, mask))
    elif form == "whole":
        loss = ops.reinforce(logp, -ops.kl_to_go(logp, ref_logp, mask)[:, :1].expand_as(logp))
    else:
        loss = getattr(ops, form)(logp, ref_logp, mask)
    return grad((loss.sum(-1) * p).sum(), theta)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("form", ["to_go", "whole"])
def test_kl_on_the_return_has_the_exact_gradient(seed, form):
    theta, logp, ref_logp, _ = setting(seed)
    truth = grad((logp.sum(-1).exp() * (logp - ref_logp).sum(-1)).sum(), theta)
    torch.testing.assert_close(kl_gradient(form, logp, ref_logp, theta), truth, atol=1e-9, rtol=0)


def test_kl_in_the_loss_is_biased_by_as_much_as_the_docs_say():
    errors = {"k1": [], "k2": [], "k3": []}
    for seed in range(20):
        theta, logp, ref_logp, _ = setting(seed)
        truth = grad((logp.sum(-1).exp() * (logp - ref_logp).sum(-1)).sum(), theta)
        for form, found in errors.items():
            found.append(
                float((kl_gradient(form, logp, ref_logp, theta) - truth).norm() / truth.norm())
            )
    mean = {form: sum(found) / len(found) for form, found in errors.items()}
    assert mean["k1"] == pytest.approx(1.0, abs=1e-9)  # its expected gradient is zero
    assert 0.1 < mean["k2"] < 0.5  # right within a token, blind to later tokens
    assert mean["k2"] < mean["k3"]


# ---- credit per step: the policy decides when it stops ------------------------------------------
# Token 0 stops. Step t pays REWARD[t][token] whatever came before, and nothing after the stop.


def steps_of(answer):
    return answer.index(0) + 1 if 0 in answer else T


@pytest.mark.parametrize("seed", range(5))
def test_stepwise_leave_one_out_is_unbiased_when_the_policy_stops_itself(seed):
    theta, logp, _, _ = setting(seed)
    pay = torch.randn(T, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mask = torch.tensor([[t < steps_of(a) for t in range(T)] for a in ANSWERS])
    rewards = (
        torch.tensor(
            [[float(pay[t, a[t]]) for t in range(T)] for a in ANSWERS], dtype=torch.float64
        )
        * mask
    )
    p = logp.sum(-1).exp()
    truth = grad((p * rewards.sum(-1)).sum(), theta)
    index = torch.tensor(groups(2))
    advantages = ops.stepwise_leave_one_out(rewards[index], mask[index])
    weight = p.detach()[index].prod(-1)
    coefficient = torch.zeros_like(rewards)
    for g in range(2):
        coefficient.index_add_(0, index[:, g], weight[:, None] * advantages[:, g] / 2)
    found = grad(-ops.reinforce(logp, coefficient).sum(), theta)
    torch.testing.assert_close(found, truth, atol=1e-9, rtol=0)


def test_a_baseline_over_running_siblings_that_depends_on_oneself_would_be_noticed():
    theta, logp, _, _ = setting(0)
    pay = torch.randn(T, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1.0
    mask = torch.tensor([[t < steps_of(a) for t in range(T)] for a in ANSWERS])
    rewards = (
        torch.tensor(
            [[float(pay[t, a[t]]) for t in range(T)] for a in ANSWERS], dtype=torch.float64
        )
        * mask
    )
    p = logp.sum(-1).exp()
    truth = grad((p * rewards.sum(-1)).sum(), theta)
    to_go = ops.discounted_returns(rewards, mask, 1.0)
    index = torch.tensor(groups(2))
    both = to_go[index]
    advantages = both - both.mean(1, keepdim=True)  # includes the trajectory itself
    weight = p.detach()[index].prod(-1)
    coefficient = torch.zeros_like(rewards)
    for g in range(2):
        coefficient.index_add_(
            0, index[:, g], weight[:, None] * (advantages * mask[index])[:, g] / 2
        )
    found = grad(-ops.reinforce(logp, coefficient).sum(), theta)
    assert (found - truth).abs().max() > 1e-3
