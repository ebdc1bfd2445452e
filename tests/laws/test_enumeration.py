"""Every gradient estimator against the exact gradient, by enumerating all answers of tiny LMs.

A tabular LM: V tokens, T positions, a table of logits for every prefix. All V^T answers are listed, so
expectations are sums. The true gradient of J = E[R] and of KL(π‖ref) comes from autograd on those
sums. What is unbiased must agree to 1e-9; what is biased must be as biased as it is said to be.
"""

import pytest
import torch

from tests.laws.tabular import (
    ANSWERS,
    AT,
    PREFIXES,
    T,
    V,
    cosine,
    error,
    gradient,
    groups,
    logprobs,
    normal,
    probability,
    table,
)
from understudy import ops

SEEDS = range(5)


def exact(found, truth):
    torch.testing.assert_close(found, truth, atol=1e-9, rtol=0)
    assert truth.norm() > 1e-3  # two zeros agree, too


def expected(logp, theta, advantages_of_groups, size=2):
    """Exact E over groups of the group's mean of Σ_t ∇log π_t · Â_t, through the package's own loss.

    advantages_of_groups: from indices of answers [N, size] to advantages [N, size] or [N, size, T].
    """
    index = groups(size)
    weight = probability(logp).detach()[index].prod(-1)
    advantages = advantages_of_groups(index)
    if advantages.dim() == 2:
        advantages = advantages[..., None].expand(-1, -1, T)
    share = torch.zeros_like(logp).index_add_(
        0, index.flatten(), (weight[:, None, None] * advantages / size).flatten(0, 1)
    )
    return gradient(-ops.reinforce(logp, share).sum(), theta)


def setting(seed):
    """(θ, log π(θ), ∇J, rewards) of a random policy and a random reward per answer."""
    theta = table(seed).requires_grad_()
    logp = logprobs(theta)
    rewards = normal(seed + 500, len(ANSWERS))
    return theta, logp, gradient((probability(logp) * rewards).sum(), theta), rewards


# ---- one reward per answer ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_unbiased(seed, size):
    theta, logp, truth, rewards = setting(seed)
    exact(expected(logp, theta, lambda i: ops.leave_one_out(rewards[i]), size), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_baseline_is_unbiased(seed):
    theta, logp, truth, rewards = setting(seed)
    # Row by row: it looks at all it is given, here one batch of two answers.
    rule = torch.vmap(ops.batch_baseline)
    exact(expected(logp, theta, lambda i: rule(rewards[i])), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_baseline_is_unbiased_over_different_prompts(seed):
    """Two prompts, one answer each: the batch's gradient is the mean of the two prompts'."""
    one, two = setting(seed), setting(seed + 50)
    i, j = groups(2).unbind(-1)
    weight = probability(one[1]).detach()[i] * probability(two[1]).detach()[j]
    rewards_BUG = torch.stack([one[3][i], two[3][j]], -1)[..., None]
    advantages = torch.vmap(ops.batch_baseline)(rewards_BUG)[..., 0]
    for (theta, logp, truth, _), mine, index in zip((one, two), advantages.T, (i, j), strict=True):
        share = torch.zeros(len(ANSWERS), dtype=torch.float64).index_add_(0, index, weight * mine)
        exact(gradient(-ops.reinforce(logp, share[:, None].expand_as(logp)).sum(), theta), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flipped_sign_or_a_self_including_baseline_is_noticed(seed):
    theta, logp, truth, rewards = setting(seed)
    flipped = expected(logp, theta, lambda i: -ops.leave_one_out(rewards[i]))
    included = expected(logp, theta, lambda i: rewards[i] - rewards[i].mean(-1, keepdim=True))
    for wrong in (flipped, included):
        with pytest.raises(AssertionError):
            exact(wrong, truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [2, 3])
def test_group_mean_without_scaling_is_the_gradient_times_g_minus_1_over_g(seed, size):
    theta, logp, truth, rewards = setting(seed)
    found = expected(logp, theta, lambda i: ops.group_relative(rewards[i], scale="none"), size)
    exact(found, truth * (size - 1) / size)


def test_group_deviation_bends_the_gradient():
    """GRPO's division by the group's deviation: another direction, not only another length."""
    cosines, errors = [], []
    for seed in range(10):
        theta, logp, truth, rewards = setting(seed)
        found = expected(logp, theta, lambda i, r=rewards: ops.group_relative(r[i]), size=3)
        cosines.append(cosine(found, truth))
        best_length = (found * truth).sum() / (found * found).sum()
        errors.append(error(found * best_length, truth))
    assert min(errors) > 0.05  # bent on every model
    assert sum(cosines) / 10 == pytest.approx(0.983, abs=0.005)
    assert sum(errors) / 10 == pytest.approx(0.17, abs=0.03)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sequence_level", [False, True])
def test_clipped_surrogates_on_policy_have_the_gradient_of_reinforce(seed, sequence_level):
    theta, logp, truth, rewards = setting(seed)
    loss, clipped = ops.ppo_clip(
        logp,
        logp.detach(),
        rewards[:, None].expand_as(logp),
        0.2,
        0.3,
        sequence_level=sequence_level,
    )
    exact(gradient(-(loss.sum(-1) * probability(logp).detach()).sum(), theta), truth)
    assert not clipped.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_unclipped_ratio_is_importance_sampling_for_one_token(seed):
    """Answers of another policy, of one token: with bounds out of reach the loss's gradient is ∇J."""
    theta, behaviour, reward = (
        normal(seed, V).requires_grad_(),
        normal(seed + 1, V),
        normal(seed + 2, V),
    )
    logp, old = theta.log_softmax(-1), behaviour.log_softmax(-1)
    loss, _ = ops.ppo_clip(logp[:, None], old[:, None], reward[:, None], 1.0, 1e9)
    exact(
        -gradient((old.exp() * loss[:, 0]).sum(), theta),
        gradient((logp.exp() * reward).sum(), theta),
    )


# ---- KL(π ‖ ref) --------------------------------------------------------------------------------


def kl_setting(seed):
    theta = table(seed).requires_grad_()
    logp, reference = logprobs(theta), theta.detach() + table(seed + 1000)
    ref_logp = logprobs(reference)
    truth = gradient((probability(logp) * (logp - ref_logp).sum(-1)).sum(), theta)
    return theta, logp, ref_logp, reference, truth


def kl_gradient(form, theta, logp, ref_logp, reference):
    """Exact E of the gradient of a KL penalty's loss."""
    if form == "to_go":
        loss = ops.reinforce(logp, -ops.kl_to_go(logp, ref_logp))
    elif form == "whole":
        loss = ops.reinforce(logp, -ops.kl_to_go(logp, ref_logp)[:, :1].expand_as(logp))
    elif form == "full":
        loss = ops.full_kl(theta, reference)[AT]
    elif form == "full, to go":
        # Rao-Blackwell: each token's own KL in the loss, the later ones' as a cost to go.
        now = ops.full_kl(theta, reference)[AT]
        later = now.detach().flip(-1).cumsum(-1).flip(-1) - now.detach()
        loss = now + ops.reinforce(logp, -later)
    else:
        loss = getattr(ops, form)(logp, ref_logp)
    return gradient((loss.sum(-1) * probability(logp).detach()).sum(), theta)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("form", ["to_go", "whole", "full, to go"])
def test_kl_on_the_return_has_the_exact_gradient(seed, form):
    *parts, truth = kl_setting(seed)
    exact(kl_gradient(form, *parts), truth)


def test_a_flipped_kl_is_noticed():
    *parts, truth = kl_setting(0)
    with pytest.raises(AssertionError):
        exact(-kl_gradient("to_go", *parts), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_k1_as_a_loss_has_no_gradient_on_average(seed):
    *parts, _ = kl_setting(seed)
    assert kl_gradient("k1", *parts).abs().max() < 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_k2_and_the_full_kl_as_losses_have_one_gradient_on_average(seed):
    *parts, _ = kl_setting(seed)
    exact(kl_gradient("k2", *parts), kl_gradient("full", *parts))


@pytest.mark.parametrize(("form", "direction", "off"), [("k2", 0.964, 0.28), ("k3", 0.914, 0.53)])
def test_kl_in_the_loss_is_biased_by_as_much_as_documented(form, direction, off):
    """Blind to what an early token does to later tokens' KL; k3 bends each token's own, too.

    The means over 20 models of one distance from their references; nearer ones are bent less.
    """
    cosines, errors = [], []
    for seed in range(20):
        *parts, truth = kl_setting(seed)
        found = kl_gradient(form, *parts)
        cosines.append(cosine(found, truth))
        errors.append(error(found, truth))
    assert min(errors) > 0.05
    assert sum(errors) / 20 == pytest.approx(off, abs=0.03)
    assert sum(cosines) / 20 == pytest.approx(direction, abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_of_the_kl_estimators(seed):
    """k1 and k3 are unbiased values of KL(π ‖ ref), k2 is not, and k3 is never negative."""
    theta, logp, ref_logp, reference, _ = kl_setting(seed)
    p = probability(logp)
    truth = (p * (logp - ref_logp).sum(-1)).sum()
    mean = {k: (p * getattr(ops, k)(logp, ref_logp).sum(-1)).sum() for k in ("k1", "k2", "k3")}
    full = (p * ops.full_kl(theta, reference)[AT].sum(-1)).sum()
    for unbiased in (mean["k1"], mean["k3"], full):
        torch.testing.assert_close(unbiased, truth, atol=1e-12, rtol=0)
    assert abs(mean["k2"] - truth) > 1e-3
    assert (ops.k3(logp, ref_logp) >= 0).all()


# ---- rewards per step, and a policy that decides when it stops ------------------------------------
# Token 0 stops. Step t pays according to the whole prefix, and nothing after the stop.

STEPS = torch.tensor([a.index(0) + 1 if 0 in a else T for a in ANSWERS])
MASK = torch.arange(T) < STEPS[:, None]


def stepwise_setting(seed):
    theta = table(seed).requires_grad_()
    logp = logprobs(theta)
    pay = normal(seed + 500, len(PREFIXES), V) + 0.5
    rewards = pay[AT, torch.tensor(ANSWERS)] * MASK
    return theta, logp, gradient((probability(logp) * rewards.sum(-1)).sum(), theta), rewards


@pytest.mark.parametrize("seed", SEEDS)
def test_returns_to_go_are_unbiased(seed):
    theta, logp, truth, rewards = stepwise_setting(seed)
    to_go = ops.discounted_returns(rewards, MASK, 1.0)
    exact(expected(logp, theta, lambda i: to_go[i], size=1), truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_stepwise_leave_one_out_is_unbiased_when_the_policy_stops_itself(seed, size):
    theta, logp, truth, rewards = stepwise_setting(seed)
    exact(
        expected(logp, theta, lambda i: ops.stepwise_leave_one_out(rewards[i], STEPS[i]), size),
        truth,
    )


def own_mean(to_go, running):
    """Baseline: the mean of the group, the trajectory itself included."""
    return to_go.mean(1, keepdim=True)


def running_or_oneself(to_go, running):
    """Baseline: the mean of the trajectories still going, oneself included."""
    count = running.sum(1, keepdim=True).clamp(min=1)
    return (to_go * running).sum(1, keepdim=True) / count


@pytest.mark.parametrize("baseline", [own_mean, running_or_oneself])
def test_a_stepwise_baseline_that_depends_on_the_trajectory_itself_is_noticed(baseline):
    theta, logp, truth, rewards = stepwise_setting(0)
    to_go = ops.discounted_returns(rewards, MASK, 1.0)
    found = expected(logp, theta, lambda i: (to_go[i] - baseline(to_go[i], MASK[i])) * MASK[i])
    with pytest.raises(AssertionError):
        exact(found, truth)


def true_values(logp, rewards):
    """V(prefix) by enumeration, per token of each answer [answers, T]."""
    to_go = ops.discounted_returns(rewards, MASK, 1.0)
    p = probability(logp).detach()
    return torch.stack(
        [
            torch.stack([(p * to_go[:, t])[AT[:, t] == row].sum() / p[AT[:, t] == row].sum() for row in AT[:, t]])
            for t in range(T)
        ],
        -1,
    )  # fmt: skip


def gae_gradient(theta, logp, rewards, values, lam):
    last = torch.arange(T) == STEPS[:, None] - 1
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    advantages = ops.gae(rewards, values, following, last, last, 1.0, lam) * MASK
    return expected(logp, theta, lambda i: advantages[i], size=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_gae_with_any_values_is_unbiased_at_lambda_1(seed):
    theta, logp, truth, rewards = stepwise_setting(seed)
    exact(gae_gradient(theta, logp, rewards, normal(seed, len(PREFIXES))[AT], 1.0), truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_gae_below_lambda_1_is_unbiased_with_the_true_values_only(seed, lam):
    theta, logp, truth, rewards = stepwise_setting(seed)
    exact(gae_gradient(theta, logp, rewards, true_values(logp, rewards), lam), truth)
    assert (
        error(gae_gradient(theta, logp, rewards, normal(seed, len(PREFIXES))[AT], lam), truth) > 0.1
    )


# ---- sums over tokens of answers of different lengths ---------------------------------------------


def aggregated(seed, how):
    """Exact E of the gradient of a batch of two answers' loss, and ∇J."""
    theta, logp, truth, rewards = stepwise_setting(seed)
    advantages = rewards.sum(-1)[:, None].expand_as(logp)
    loss = ops.reinforce(logp, advantages)
    index = groups(2)
    weight = probability(logp).detach()[index].prod(-1)
    batches = torch.stack([ops.aggregate(loss[i], MASK[i], how, max_tokens=T) for i in index])
    return -gradient((weight * batches).sum(), theta), truth


def test_only_the_constant_denominator_leaves_the_gradient_straight():
    """Dr. GRPO's point: dividing by lengths that the policy chose bends the gradient."""
    found, truth = aggregated(0, "constant")
    exact(found, truth / T)
    for how in ("token", "sequence"):
        assert cosine(aggregated(0, how)[0], truth) < 0.999
