"""Fitted Q evaluation with linear features, in closed form, with every person's share of its error.

FQE on features φ(s, a) converges to the θ that solves (Duan, Jia & Wang 2020, section 4)

    Σ φ(s, a) (φ(s, a) − γ Σₐ' π(a'|s') φ(s', a'))ᵀ θ = Σ φ(s, a) r,

the discounted part left out where nothing follows. With ν the mean of Σₐ π(a|s₀) φ(s₀, a), the value
is νᵀθ, and w(s, a) = ν ᵀ A⁻¹ φ(s, a) is the weight of a decision's temporal difference in its error:
the estimated ratio of how often π and the behaviour are there (Uehara, Huang & Jiang 2020). From
sums per person, a bootstrap of people (Hao et al. 2021) is a weighted sum and one solution each.

What is fitted is the difference from the level c = Σ r / Σ (1 − γ [something follows]), the value of
a chain without states: where the data say nothing, the ridge leaves c, not 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.data.transitions import Floats, Offline, Scaler
from understudy.ops.ope import Estimate, clustered_errors, effective_size

CHUNK = 64
"""Resamples solved at once."""


@dataclass(frozen=True, eq=False)
class Features:
    """φ(s, a): the numbers of a state, in a block of its own for every action."""

    scaler: Scaler
    quadratic: bool
    n_actions: int

    def states(self, states: Floats) -> Floats:
        """x(s) with a constant [N, d]; with products of pairs where `quadratic`."""
        x = self.scaler(states)
        parts = [np.ones((len(x), 1)), x]
        if self.quadratic:
            i, j = np.triu_indices(x.shape[1])
            # A product of standardised numbers that far out would rule all the others.
            parts.append(np.clip(x[:, i] * x[:, j], -9.0, 9.0))
        return np.concatenate(parts, axis=1)

    def blocks(self, x: Floats, shares: Floats) -> Floats:
        """Σₐ share(a) φ(s, a) [N, K · d] of x(s) [N, d] and shares [N, K]."""
        return (shares[:, :, None] * x[:, None, :]).reshape(len(x), -1)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over each person's decisions, of which all else is made."""

    a: Floats
    """Σ φ (φ − γ φ')ᵀ [P, F, F]"""
    b: Floats
    """Σ φ r [P, F]"""
    nu: Floats
    """Σₐ π(a|s₀) φ(s₀, a) [P, F]"""
    ridge: float
    """Added to the diagonal, per person."""

    def solve(self, counts: Floats) -> tuple[Floats, Floats, Floats]:
        """Values [R], standard errors [R] and θ [R, F] of resamples with these counts [R, P]."""
        people, width = self.b.shape
        values, errors, thetas = [], [], []
        for some in np.array_split(counts, max(1, len(counts) // CHUNK)):
            a = (some @ self.a.reshape(people, -1)).reshape(-1, width, width)
            size = some.sum(1)[:, None]
            a = a + self.ridge * size[:, :, None] * np.eye(width)
            nu = some @ self.nu / size
            theta = np.linalg.solve(a, (some @ self.b)[:, :, None])[:, :, 0]
            weight = np.linalg.solve(a.transpose(0, 2, 1), nu[:, :, None])[:, :, 0]
            influence = self.influence(theta, weight, (nu * theta).sum(1))
            values.append((nu * theta).sum(1))
            errors.append(clustered_errors(influence, some))
            thetas.append(theta)
        return np.concatenate(values), np.concatenate(errors), np.concatenate(thetas)

    def influence(self, theta: Floats, weight: Floats, value: Floats) -> Floats:
        """ψᵢ = n wᵀ (bᵢ − Aᵢ θ) + νᵢᵀθ − value, of each resample's θ [R, F]: [R, P]."""
        people, width = self.b.shape
        # wᵀ Aᵢ θ for all i and resamples as one product with the outer products w θᵀ.
        outer = (weight[:, :, None] * theta[:, None, :]).reshape(len(theta), -1)
        explained = outer @ self.a.reshape(people, width * width).T
        return people * (weight @ self.b.T - explained) + theta @ self.nu.T - value[:, None]


@dataclass(frozen=True, eq=False)
class LinearFqe:
    """One policy's evaluation."""

    estimate: Estimate
    level: float
    """c, what Q̂ is fitted from."""
    theta: Floats
    """[F]"""
    features: Features
    moments: Moments
    moved: Floats
    """φ(s, a) − γ Σₐ' π(a'|s') φ(s', a') of every decision [N, F]"""
    effective: float
    """Effective people: Kish's size of what each person's decisions weigh."""

    def q(self, states: Floats) -> Floats:
        """Q̂(s, a) [N, K]."""
        x = self.features.states(states)
        return self.level + x @ self.theta.reshape(self.features.n_actions, -1).T

    def through_model(self, data: Offline, weights: Floats) -> Floats:
        """What each person contributes, through θ, to V̂(s₀) + Σₖ≤ₜ weighted differences.

        Args:
            data: the people of the fit.
            weights: γᵗ wₜ of each decision's temporal difference [N].

        Returns:
            Influences [P, T + 1]; the first column is of V̂(s₀) alone.
        """
        people, width = self.moments.b.shape
        a = self.moments.a.sum(0) + self.moments.ridge * people * np.eye(width)
        theta = people * np.linalg.solve(a, (self.moments.b - self.moments.a @ self.theta).T).T
        steps = np.zeros((int(data.lengths.max()), width))
        np.add.at(steps, data.time, -weights[:, None] * self.moved / people)
        start = self.moments.nu.mean(0)
        return theta @ np.concatenate([start[None], start + np.cumsum(steps, axis=0)]).T

    def resampled(self, counts: Floats) -> tuple[Floats, Floats]:
        """Values and standard errors [R] of resamples of the people with these counts [R, P]."""
        values, errors, _ = self.moments.solve(counts)
        return self.level + values, errors


def linear_fqe(
    data: Offline,
    policy: Floats,
    next_policy: Floats,
    *,
    gamma: float,
    ridge: float,
    quadratic: bool = False,
) -> LinearFqe:
    """Evaluates one policy.

    Args:
        data: the people.
        policy: π(a|s) at the decisions [N, K].
        next_policy: π(a|s') at the states that followed [N, K].
        gamma: discount per decision, below 1.
        ridge: share of the mean squared feature that is added to the diagonal.
        quadratic: also products of a state's numbers in pairs.
    """
    features = Features(Scaler.fit(data), quadratic, data.n_actions)
    x = features.states(data.states)
    taken = features.blocks(x, np.eye(data.n_actions)[data.actions])
    following = features.blocks(features.states(data.next_states), next_policy)
    following[data.done] = 0.0
    moved = taken - gamma * following
    lasting = 1.0 - gamma * ~data.done
    level = float(data.rewards.sum() / lasting.sum())
    rewards = data.rewards - level * lasting
    moments = Moments(
        a=np.stack([taken[rows].T @ moved[rows] for rows in _rows(data)]),
        b=np.stack([taken[rows].T @ rewards[rows] for rows in _rows(data)]),
        nu=features.blocks(x[data.starts], policy[data.starts]),
        ridge=ridge * float((taken**2).sum(1).mean()) / taken.shape[1] * len(taken) / data.n,
    )
    values, _, thetas = moments.solve(np.ones((1, data.n)))
    # What changes without each person (the jackknife), not the first order: residuals of the people
    # a model was fitted to are too small, by much where they are few.
    without = moments.solve(1.0 - np.eye(data.n))[0]
    influence = (data.n - 1) * (without.mean() - without)
    total = moments.a.sum(0) + moments.ridge * data.n * np.eye(taken.shape[1])
    weight = np.linalg.solve(total.T, moments.nu.mean(0))
    weights = np.zeros(data.n)
    np.add.at(weights, data.person, np.abs(taken @ weight))
    return LinearFqe(
        estimate=Estimate(level + float(values[0]), influence),
        level=level,
        theta=thetas[0],
        features=features,
        moments=moments,
        moved=moved,
        effective=float(effective_size(weights)),
    )


def _rows(data: Offline) -> list[NDArray[np.int64]]:
    return np.split(np.arange(len(data.actions)), data.starts[1:])
