"""Answers drawn by another distribution: the corrected loss's gradient, by enumerating all answers.

Through the update's own code: the trainer is a table of logits, the engine another one. Every answer
is a group whose advantage is its reward times how likely the engine draws it, so that the loss of all
is the expectation over the engine's answers.
"""

import pytest
import torch

from tests.laws.tabular import (
    ANSWERS,
    T,
    V,
    error,
    gradient,
    groups as pairs,
    logprobs,
    normal,
    probability,
    table,
)
from understudy import ops
from understudy.roles.policy.config import LossConfig, PolicyConfig, SamplerConfig
from understudy.roles.policy.correction import corrected, importance_weights
from understudy.roles.policy.update import Anchor, Group, loss_of

SEEDS = range(5)
INDEX = {answer: i for i, answer in enumerate(ANSWERS)}
ALL = torch.ones(len(ANSWERS), T, dtype=torch.bool)


class Table:
    """A language model that is a table of logits; answers may stop early."""

    def __init__(self, theta: torch.Tensor) -> None:
        self.theta = theta

    def logprobs(self, prompts, completions, *, temperature: float = 1.0) -> torch.Tensor:
        rows = [tuple(ids) for group in completions for ids in group]
        longest = max(map(len, rows))
        whole = logprobs(self.theta / temperature)
        return torch.stack([whole[INDEX[r + (0,) * (T - len(r))], :longest] for r in rows])


def setting(seed: int, distance: float = 1.0):
    """(θ, ∇J, the engine's log-probabilities [answers, T], rewards)."""
    theta = table(seed).requires_grad_()
    rewards = normal(seed + 500, len(ANSWERS))
    engine = logprobs(theta.detach() + distance * table(seed + 1000))
    return theta, gradient((probability(logprobs(theta)) * rewards).sum(), theta), engine, rewards


def config(level="sequence", truncate=0.0, **changes) -> PolicyConfig:
    changes = {"algorithm": "reinforce", "loss": LossConfig(kl_coef=0.0), **changes}
    return PolicyConfig(
        **changes, sampler=SamplerConfig(level=level, truncate=truncate, max_gap=100.0)
    )


def found(theta, engine, advantages, settings, *, correct=corrected, length=T, anchors=()):
    """E over the engine's answers of the loss's gradient, as ascent; advantages [answers]."""
    drawn = probability(engine[:, :length])
    # An answer cut to `length` is listed once for each of its ends.
    share = drawn / V ** (T - length)
    lm = Table(theta)
    rows = [
        Group([0], [a[:length]], [e[:length]], [[True] * length], [[float(w)] * length])
        for a, e, w in zip(ANSWERS, engine.tolist(), (share * advantages).tolist(), strict=True)
    ]
    weighted, _ = correct(lm, rows, settings)
    return -gradient(loss_of(lm, weighted, settings, anchors, 1.0)[0], theta)


def exact(value, truth):
    torch.testing.assert_close(value, truth, atol=1e-9, rtol=0)
    assert truth.norm() > 1e-3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algorithm", ["reinforce", "grpo"])
def test_the_answers_weight_is_unbiased_however_far_the_engine_is(seed, algorithm):
    theta, truth, engine, rewards = setting(seed)
    exact(found(theta, engine, rewards, config(algorithm=algorithm)), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_answers_weight_is_unbiased_with_leave_one_out(seed):
    """The others' mean reward is the engine's, but no answer's own."""
    theta, truth, engine, rewards = setting(seed)
    index, drawn = pairs(2), probability(engine)
    baseline = torch.zeros_like(rewards).index_add_(
        0, index[:, 0], drawn[index[:, 1]] * ops.leave_one_out(rewards[index])[:, 0]
    )
    exact(found(theta, engine, baseline, config()), truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_both_are_unbiased_for_answers_of_one_token(seed, level):
    theta, _, engine, _ = setting(seed)
    rewards = normal(seed + 7, V)[torch.tensor(ANSWERS)[:, 0]]
    truth = gradient((theta[0].softmax(-1) * normal(seed + 7, V)).sum(), theta)
    exact(found(theta, engine, rewards, config(level), length=1), truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tokens_weight_is_right_for_each_token_between_the_engines(seed):
    """∇ of: prefix by the engine, this token by the policy, the rest by the engine; summed over t."""
    theta, truth, engine, rewards = setting(seed)
    logp, total = logprobs(theta), torch.zeros(())
    for t in range(T):
        others = (engine.sum(-1) - engine[:, t]).exp()
        total = total + (others * logp[:, t].exp() * rewards).sum()
    value = found(theta, engine, rewards, config("token"))
    exact(value, gradient(total, theta))
    assert error(value, truth) > 0.05  # which is not the policy's gradient


def test_near_the_engine_the_tokens_weight_takes_away_most_of_a_tokens_own_error():
    """On-policy up to rounding; the errors are relative, the means over 20 models."""
    errors = {"none": [], "token": [], "sequence": []}
    for seed in range(20):
        theta, truth, engine, rewards = setting(seed, distance=0.05)
        rewards = rewards + 3  # without a baseline, as the worst case
        for level in errors:
            settings = config("token" if level == "none" else level)
            correct = corrected if level != "none" else lambda lm, rows, config: (rows, {})
            errors[level].append(
                error(found(theta, engine, rewards, settings, correct=correct), truth)
            )
    means = {level: sum(values) / 20 for level, values in errors.items()}
    assert means["sequence"] < 1e-9
    assert means["none"] == pytest.approx(0.29, abs=0.02)  # as docs/scale.md has it
    assert means["token"] == pytest.approx(0.042, abs=0.005)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_exact_kl_is_unbiased_too(seed):
    theta, _, engine, rewards = setting(seed)
    reference = theta.detach() + table(seed + 2000)
    logp = logprobs(theta)
    divergence = (probability(logp) * (logp - logprobs(reference)).sum(-1)).sum()
    truth = gradient((probability(logp) * rewards).sum() - 0.1 * divergence, theta)
    # The penalty is added to the advantage, so answers are told apart by drawing, not by advantage.
    drawn, total = probability(engine), torch.zeros(())
    lm, settings = Table(theta), config(loss=LossConfig(kl_coef=0.1))
    for a, e, p, r in zip(ANSWERS, engine.tolist(), drawn, rewards.tolist(), strict=True):
        rows, _ = corrected(lm, [Group([0], [a], [e], [[True] * T], [[r] * T])], settings)
        total = total + p * loss_of(lm, rows, settings, [Anchor(Table(reference), 0.1)], 1.0)[0]
    exact(-gradient(total, theta), truth)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_ratio_upside_down_is_noticed(level):
    theta, _, engine, _ = setting(0)
    rewards = normal(7, V)[torch.tensor(ANSWERS)[:, 0]]
    truth = gradient((theta[0].softmax(-1) * normal(7, V)).sum(), theta)

    def upside_down(lm, rows, settings):
        good, stats = corrected(lm, rows, settings)
        for group in good:
            group.weights[0][:] = [1 / w for w in group.weights[0]]
        return good, stats

    for correct in (upside_down, lambda lm, rows, settings: (rows, {})):
        with pytest.raises(AssertionError):
            exact(found(theta, engine, rewards, config(level), correct=correct, length=1), truth)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_cap_bounds_weights_and_touches_no_smaller_one(seed, level):
    theta, _, engine, _ = setting(seed)
    ratio = logprobs(theta).detach() - engine
    free = importance_weights(ratio, ALL, 0.0, level)
    capped = importance_weights(ratio, ALL, 1.5, level)
    assert free.max() > 1.5
    assert capped.max() == 1.5
    assert torch.equal(capped, torch.where(free > 1.5, 1.5, free))
    assert (capped.sum() < free.sum()).item()  # mass is lost, never gained
    if level == "sequence":
        torch.testing.assert_close(free[:, 0], ratio.sum(-1).exp())
        # Their mean over the engine's answers is 1.
        assert float((probability(engine) * free[:, 0]).sum()) == pytest.approx(1.0)


def test_the_figures_are_those_of_the_drawn_tokens():
    """Two answers of different lengths, one with a token that was not drawn."""
    theta = table(3)
    mine = logprobs(theta)[[INDEX[0, 1, 2], INDEX[2, 1, 0]]]
    one = Group([0], [(0, 1, 2)], [[float(mine[0, 0]) - 1.0, 0.0, float(mine[0, 2]) + 0.5]],
                [[True, False, True]], [[1.0] * 3])  # fmt: skip
    two = Group(
        [0], [(2, 1)], [[float(mine[1, 0]), float(mine[1, 1])]], [[True, True]], [[1.0] * 2]
    )
    (first, second), stats = corrected(Table(theta), [one, two], config("token", 2.0))
    assert first.weights == [pytest.approx([2.0, 1.0, 0.6065307])]
    assert second.weights == [pytest.approx([1.0, 1.0])]
    assert first.old_logprobs == [pytest.approx(mine[0].tolist())]
    assert second.old_logprobs == [pytest.approx(mine[1, :2].tolist())]
    assert stats == {
        "engine_gap": pytest.approx(1.5 / 4),
        "engine_gap_max": pytest.approx(1.0),
        "is_weight": pytest.approx((2 + 0.6065307 + 2) / 4),
        "is_truncated": 0.25,
    }
