"""What the data say of one policy: four estimators, each with resamples of the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.data.transitions import Floats, Ints, Offline
from understudy.ops.intervals import linear_resamples
from understudy.ops.ope import (
    Estimate,
    cumulative_ratios,
    doubly_robust,
    horizon_effective_size,
    magic,
    resampled,
    temporal_differences,
    weighted_doubly_robust,
)
from understudy.roles.simulator.offline.config import JudgeConfig
from understudy.roles.simulator.offline.linear_fqe import LinearFqe, linear_fqe
from understudy.roles.simulator.offline.policies import Policy

ESTIMATORS = ("fqe", "wpdis", "dr", "magic")


@dataclass(frozen=True, eq=False)
class Evidence:
    """The people, and what does not depend on the policy."""

    data: Offline
    folds: Ints
    """A group for each person [P]."""
    propensity: Floats
    """μ̂(·|s) of every decision, by a fit to the other groups [N, K]."""
    counts: Floats
    """How often each person is in each resample [R, P]."""
    bounds: tuple[float, float]
    """Least and greatest possible value."""


@dataclass(frozen=True, eq=False)
class Sized:
    """An estimate, the same estimate of each resample, and how many people it rests on."""

    estimate: Estimate
    values: Floats
    """Of resamples [R]."""
    errors: Floats
    """Their standard errors [R]."""
    effective: float
    """Effective people."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What a policy would choose where these people were."""

    name: str
    shares: Floats
    """π(a|s) at the decisions [N, K]."""
    following: Floats
    """π(a|s') at what followed [N, K]."""


@dataclass(frozen=True, eq=False)
class Findings(Choices):
    """Everything found of one policy."""

    estimates: dict[str, Sized]
    outside: float
    """Share of decisions whose modelled value is outside the bounds, by more than a tenth of them."""


def choices(policy: Policy, data: Offline) -> Choices:
    """All that is asked of a policy itself."""
    states, after = policy.probabilities(data.states), policy.probabilities(data.next_states)
    return Choices(policy.name, states, after)


def findings(
    chosen: Choices, evidence: Evidence, config: JudgeConfig, rng: np.random.Generator
) -> Findings:
    """All estimators of one policy."""
    data, shares, following = evidence.data, chosen.shares, chosen.following
    whole = linear_fqe(
        data, shares, following,
        gamma=config.gamma, ridge=config.ridge, quadratic=config.features == "quadratic",
    )  # fmt: skip
    estimates = {
        "fqe": Sized(whole.estimate, *whole.resampled(evidence.counts), whole.effective)
    } | _by_ratios(shares, following, whole, evidence, config, rng)
    value = (shares * whole.q(data.states)).sum(1)
    low, high = evidence.bounds
    slack = (high - low) / 10
    outside = float(((value < low - slack) | (value > high + slack)).mean())
    return Findings(chosen.name, shares, following, estimates, outside)


def _by_ratios(
    shares: Floats,
    following: Floats,
    whole: LinearFqe,
    evidence: Evidence,
    config: JudgeConfig,
    rng: np.random.Generator,
) -> dict[str, Sized]:
    data, counts, gamma = evidence.data, evidence.counts, config.gamma
    q, v, next_v = cross_fitted(shares, following, evidence, config)
    rows = np.arange(len(data.actions))
    taken = np.clip(evidence.propensity[rows, data.actions], config.clip_propensity, None)
    mask = data.padded(np.ones(len(rows), dtype=np.bool_), fill=False)
    target = data.padded(shares[rows, data.actions])
    rho = cumulative_ratios(target, data.padded(taken), mask)
    rewards = data.padded(data.rewards)
    # What follows a study's end is the model's guess in every estimator: same estimand for all.
    beyond = np.where(data.last & ~data.done, next_v, 0.0)
    zero = np.zeros_like(rewards)
    plain = temporal_differences(rewards, zero, data.padded(beyond), mask, gamma)
    modelled = temporal_differences(rewards, data.padded(q), data.padded(next_v), mask, gamma)
    nothing, start = np.zeros(data.n), v[data.starts]
    size = horizon_effective_size(rho, gamma)
    # Who made the model is in doubt through it, too.
    discounts: Floats = np.float64(gamma) ** data.time
    plainly = rho[data.person, data.time]
    through = whole.through_model(data, discounts * plainly)[:, -1]
    dr = doubly_robust(rho, modelled, start)
    dr = Estimate(dr.value, dr.influence + through - through.mean())
    mean = rho.mean(0)[data.time]
    relative = np.divide(plainly, mean, out=np.zeros_like(mean), where=mean > 0)
    model = whole.through_model(data, discounts * relative)
    blend = magic(rho, modelled, start, rng, model=model - model.mean(0))
    return {
        "wpdis": Sized(
            weighted_doubly_robust(rho, plain, nothing),
            *resampled(rho, plain, nothing, counts),
            size,
        ),
        "dr": Sized(dr, *linear_resamples(dr, counts), size),
        "magic": Sized(blend, *linear_resamples(blend, counts), size),
    }


def cross_fitted(
    shares: Floats, following: Floats, evidence: Evidence, config: JudgeConfig
) -> tuple[Floats, Floats, Floats]:
    """Q̂(s, a) of actions taken, V̂(s) and V̂(s') (0 where nothing follows) by fits to other people."""
    data = evidence.data
    q, v, next_v = (np.zeros(len(data.actions)) for _ in range(3))
    for fold in np.unique(evidence.folds):
        others = evidence.folds != fold
        kept = others[data.person]
        model = linear_fqe(
            data.select(np.flatnonzero(others)), shares[kept], following[kept],
            gamma=config.gamma, ridge=config.ridge, quadratic=config.features == "quadratic",
        )  # fmt: skip
        rows = np.flatnonzero(~kept)
        values = model.q(data.states[rows])
        q[rows] = values[np.arange(len(rows)), data.actions[rows]]
        v[rows] = (shares[rows] * values).sum(1)
        next_v[rows] = (following[rows] * model.q(data.next_states[rows])).sum(1)
    next_v[data.done] = 0.0
    low, high = evidence.bounds
    return np.clip(q, low, high), np.clip(v, low, high), _within(next_v, data.done, low, high)


def _within(next_v: Floats, done: NDArray[np.bool_], low: float, high: float) -> Floats:
    return np.where(done, 0.0, np.clip(next_v, low, high))


def support(found: Findings, evidence: Evidence, config: JudgeConfig) -> float:
    """Share of the policy's choices, at the decisions seen, that the behaviour hardly ever makes."""
    rare = evidence.propensity < config.min_propensity
    return float((found.shares * rare).sum(1).mean())


def takers(found: Findings, data: Offline) -> Sequence[tuple[int, float, int]]:
    """Of every action: which, the policy's share of it, how many people ever took it."""
    return [
        (a, float(found.shares[:, a].mean()), len(np.unique(data.person[data.actions == a])))
        for a in range(data.n_actions)
    ]
