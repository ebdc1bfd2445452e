"""FQE, propensities and the estimators of one policy, where the truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.ope_coverage import (
    BEHAVIOUR,
    BEST,
    GAMMA,
    NEAR,
    NEVER,
    K,
    S,
    candidates,
    coverage,
    networks,
    q_values,
    simulate,
    true_values,
    truth,
)

from understudy.data.transitions import Person, gather
from understudy.roles.simulator.offline.config import FqeConfig, JudgeConfig
from understudy.roles.simulator.offline.estimates import choices, cross_fitted, findings
from understudy.roles.simulator.offline.fqe import fqe, value_bounds
from understudy.roles.simulator.offline.judge import gather_evidence
from understudy.roles.simulator.offline.linear_fqe import linear_fqe
from understudy.roles.simulator.offline.policies import Fixed
from understudy.roles.simulator.offline.propensity import fit_behaviour, propensities

MANY = simulate(1500, np.random.default_rng(0))
EVERY_STATE = np.eye(S)


def shares(policy, data):
    return policy.probabilities(data.states), policy.probabilities(data.next_states)


def linear(policy, data, ridge=1e-3, **more):
    return linear_fqe(data, *shares(policy, data), gamma=GAMMA, ridge=ridge, **more)


def test_the_closed_forms_agree_with_simulation():
    """The chain's truth itself: the behaviour's value is the mean return of those who follow it."""
    data = simulate(20000, np.random.default_rng(1), horizon=40)
    returns = (data.padded(data.rewards) * GAMMA ** np.arange(data.lengths.max())).sum(1)
    tail = GAMMA**40 * 10
    assert returns.mean() == pytest.approx(
        truth(BEHAVIOUR), abs=4 * returns.std() / math.sqrt(20000) + tail
    )


@pytest.mark.parametrize("policy", [BEST, NEAR], ids=["best", "near"])
def test_fqe_and_dr_hit_the_exact_value(policy):
    config = JudgeConfig(gamma=GAMMA, resamples=100)
    rng = np.random.default_rng(2)
    found = findings(choices(policy, MANY), gather_evidence(MANY, config, rng), config, rng)
    model = linear(policy, MANY)
    assert model.q(EVERY_STATE) == pytest.approx(q_values(policy.table), abs=0.2)
    for name in ("fqe", "magic") if policy is BEST else ("fqe", "dr", "magic", "wpdis"):
        estimate = found.estimates[name].estimate
        assert abs(estimate.value - truth(policy.table)) < min(0.15, 4 * estimate.error), name


def test_linear_fqe_is_the_empirical_chains_closed_form():
    """With one-hot states and no ridge, it is the value in the chain that the data themselves are."""
    data = simulate(60, np.random.default_rng(3))
    s, a, s2 = data.states.argmax(1), data.actions, data.next_states.argmax(1)
    there, reward, count = np.zeros((S, K, S)), np.zeros((S, K)), np.zeros((S, K))
    np.add.at(count, (s, a), 1)
    np.add.at(reward, (s, a), data.rewards)
    np.add.at(there, (s[~data.done], a[~data.done], s2[~data.done]), 1)
    there, reward = there / count[..., None], reward / count
    step = np.einsum("sa,sat->st", NEAR.table, there)
    v = np.linalg.solve(np.eye(S) - GAMMA * step, (NEAR.table * reward).sum(1))
    start = np.bincount(s[data.starts], minlength=S) / data.n
    assert linear(NEAR, data, ridge=1e-9).estimate.value == pytest.approx(start @ v, abs=1e-4)


def refitted(fitted, data, people):
    """The value by these people alone, in the features, from the level, with the ridge of the fit."""
    drawn, features = data.select(people), fitted.features
    x = features.states(drawn.states)
    taken = features.blocks(x, np.eye(K)[drawn.actions])
    after = features.blocks(
        features.states(drawn.next_states), NEAR.probabilities(drawn.next_states)
    )
    after[drawn.done] = 0
    a = taken.T @ (taken - GAMMA * after) + drawn.n * fitted.moments.ridge * np.eye(taken.shape[1])
    rewards = drawn.rewards - fitted.level * (1 - GAMMA * ~drawn.done)
    start = features.blocks(x[drawn.starts], NEAR.probabilities(drawn.states[drawn.starts]))
    return fitted.level + float((start @ np.linalg.solve(a, taken.T @ rewards)).mean())


def test_its_resamples_are_refits():
    data = simulate(12, np.random.default_rng(4))
    fitted = linear(NEAR, data)
    counts = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=150).astype(float)
    found, errors = fitted.resampled(counts)
    assert len(found) == len(errors) == 150
    for value, error, some in zip(found[:4], errors[:4], counts[:4], strict=True):
        people = np.repeat(np.arange(12), some.astype(int))
        assert value == pytest.approx(refitted(fitted, data, people), abs=1e-6)
        assert 0.2 * fitted.estimate.error < error < 5 * fitted.estimate.error
    assert refitted(fitted, data, range(12)) == pytest.approx(fitted.estimate.value)


def test_its_errors_are_the_jackknifes():
    data = simulate(12, np.random.default_rng(4))
    fitted = linear(NEAR, data)
    without = np.array([refitted(fitted, data, np.delete(np.arange(12), i)) for i in range(12)])
    wanted = 11 * (without.mean() - without)
    assert fitted.estimate.influence == pytest.approx(wanted, abs=1e-6)


def test_its_first_order_is_the_derivative_by_a_persons_weight():
    data = simulate(30, np.random.default_rng(5))
    fitted = linear(NEAR, data)
    everyone, nu = np.ones((1, 30)), fitted.moments.nu.mean(0)
    total = fitted.moments.a.sum(0) + 30 * fitted.moments.ridge * np.eye(len(nu))
    weight = np.linalg.solve(total.T, nu)
    value = fitted.resampled(everyone)[0] - fitted.level
    found = fitted.moments.influence(fitted.theta[None], weight[None], value)[0]
    slope = (fitted.resampled(everyone + 1e-4 * np.eye(30))[0] - fitted.level - value) * 30 / 1e-4
    # The ridge grows with the weights, too: the same for all.
    assert found - found.mean() == pytest.approx(
        slope - slope.mean(), abs=0.01 * np.abs(slope).max()
    )


def test_on_policy_everybody_weighs_alike():
    class Behaves:
        name = "behaves"

        def probabilities(self, states):
            return BEHAVIOUR[np.asarray(states).argmax(1)]

    data = simulate(200, np.random.default_rng(5))
    config = JudgeConfig(gamma=GAMMA, resamples=100)
    rng = np.random.default_rng(0)
    found = findings(choices(Behaves(), data), gather_evidence(data, config, rng), config, rng)
    returns = (data.padded(data.rewards) * GAMMA ** np.arange(24)).sum(1)
    for name in ("wpdis", "dr", "magic", "fqe"):
        assert found.estimates[name].estimate.value == pytest.approx(returns.mean(), abs=0.15)
        assert found.estimates[name].effective > 100


def test_what_nobody_saw_has_the_level_of_all():
    data = simulate(60, np.random.default_rng(6), NEVER)
    unseen = linear(Fixed(2, K), data, ridge=1e-6).q(EVERY_STATE)[:, 2]
    lasting = (1 - GAMMA * ~data.done).sum()
    assert unseen == pytest.approx(np.full(S, data.rewards.sum() / lasting), abs=1e-6)


def test_quadratic_features_fit_what_linear_ones_cannot():
    rng = np.random.default_rng(6)
    people = []
    for i in range(60):
        x = rng.normal(size=(6, 2))
        a = rng.integers(2, size=6)
        people.append(Person(str(i), x, a, np.where(a == 1, x[:, 0] * x[:, 1], 0.0), True))
    data = gather(people, 2)
    always = np.tile([0.0, 1.0], (len(data.actions), 1))
    q = [
        linear_fqe(data, always, always, gamma=0.0, ridge=1e-4, quadratic=quadratic).q(
            np.array([[1.0, 1.0], [1.0, -1.0]])
        )[:, 1]
        for quadratic in (False, True)
    ]
    assert q[1] == pytest.approx([1, -1], abs=0.1)
    assert abs(q[0][0] - q[0][1]) < 1


def test_models_are_of_other_people():
    """A person paid as nobody else changes everybody's model but their own."""
    data = simulate(10, np.random.default_rng(7))
    config = JudgeConfig(gamma=GAMMA, resamples=100, folds=5)
    evidence = gather_evidence(data, config, np.random.default_rng(0))
    paid = data.rewards + 5.0 * (data.person == 0)
    other = replace(evidence, data=replace(data, rewards=paid), bounds=(-100.0, 100.0))
    same = replace(evidence, bounds=(-100.0, 100.0))
    before = cross_fitted(*shares(NEAR, data), same, config)[1]
    after = cross_fitted(*shares(NEAR, data), other, config)[1]
    mates = evidence.folds[data.person] == evidence.folds[0]
    assert after[mates] == pytest.approx(before[mates])
    assert (np.abs(after[~mates] - before[~mates]) > 1e-6).all()


def test_propensities_are_the_behaviours_and_of_other_people():
    assert fit_behaviour(MANY).probabilities(EVERY_STATE) == pytest.approx(BEHAVIOUR, abs=0.03)
    data = simulate(40, np.random.default_rng(8))
    folds = data.folds(np.random.default_rng(0), 4)
    found = propensities(data, folds)
    assert found.sum(1) == pytest.approx(np.ones(len(data.actions)))
    rows = folds[data.person] == 2
    alone = fit_behaviour(data.select(np.flatnonzero(folds != 2)))
    assert found[rows] == pytest.approx(alone.probabilities(data.states[rows]))


def test_bounds_of_values():
    assert value_bounds(np.array([0.0, 4.0]), 0.9) == pytest.approx((0, 40))
    assert value_bounds(np.array([1.0, 2.0]), 0.5) == (1, 4)
    assert value_bounds(np.array([-2.0, -1.0]), 0.5) == (-4, -1)


def test_networks_hit_the_exact_values():
    config = FqeConfig(steps=500, hidden=24, learning_rate=8e-3, target_rate=0.05)
    found = networks(400, 1, config, candidates()[:3], np.random.default_rng(9))
    worth = true_values(candidates()[:3])
    for name, value in found["values"].items():
        assert value == pytest.approx(worth[name], abs=0.3)
    assert max(found["drift"]) < 0.1
    # The noise of rewards itself is about 0.6 of a range of 12.
    assert 0.01 < min(found["residual"]) < max(found["residual"]) < 0.15


def test_networks_mask_ends_and_keep_to_the_bounds():
    people = [Person(str(i), [[0.0]], [0], [1.0], i % 2 == 0, [0.0]) for i in range(8)]
    data = gather(people, 1)
    one = np.ones((8, 1))
    config = FqeConfig(steps=300, batch=32, hidden=8, learning_rate=0.02, target_rate=0.1)
    counts = np.array([[1.0] * 8, [2.0, 0.0] * 4, [0.0, 2.0] * 4])
    found = fqe(
        data, [(one, one)], counts, config, np.random.default_rng(0), gamma=0.8, bounds=(0.0, 4.0)
    ).values[:, 0]
    # Half leave: V = 1 + 0.4 V. All leave: 1. Nobody leaves: 5, but no more than 4 is possible.
    assert found == pytest.approx([1 / 0.6, 1.0, 4.0], abs=0.1)


def test_intervals_cover():
    """A short version of benchmarks/ope_coverage.py: 40 studies of 40 people."""
    found = coverage(NEAR, 40, 40, np.random.default_rng(10))
    for name in ("fqe", "dr", "magic", "wpdis"):
        assert 0.82 <= found[name]["coverage"] <= 1.0, name
        assert abs(found[name]["bias"]) < 0.25
    assert found["fqe"]["width"] < 3
