"""Off-policy evaluation of ragged episodes, in the papers' symbols.

n people, T the longest episode; arrays are [n, T], padded behind each person's end. With importance
ratios ρₜ = π(aₜ|sₜ)/μ(aₜ|sₜ), their products ρ₀:ₜ and a model Q̂, V̂(s) = Σₐ π(a|s) Q̂(s, a), every
estimator here is a weighted sum of the model's temporal differences

    δₜ = rₜ + γ V̂(sₜ₊₁) − Q̂(sₜ, aₜ)

upon the model's own value V̂(s₀): that is the papers' form with the sum over V̂ shifted by one step.
Behind a person's end the product of ratios stays what it was and δ is 0 (an absorbing state in
which both policies do the same), so people of all lengths share the weights of a step. V̂(sₜ₊₁)
is 0 where nothing follows; where only the study ended, it is the model's value of what follows.
Q̂ = V̂ = 0 gives importance sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A value and what each person contributes to its error."""

    value: float
    influence: Floats
    """[n], mean 0: value − truth ≈ the mean of n independent draws of it."""

    @property
    def error(self) -> float:
        """Standard error, clustered by person: √Σᵢ ψᵢ² / n, with n − 1 for n once."""
        n = len(self.influence)
        return float(np.sqrt((self.influence**2).sum() / (n * max(1, n - 1))))


def cumulative_ratios(target: Floats, behaviour: Floats, mask: Bools) -> Floats:
    """ρ₀:ₜ = Πₖ≤ₜ π(aₖ|sₖ)/μ(aₖ|sₖ); behind the end it stays at its last value.

    Args:
        target: π(aₜ|sₜ) of the actions taken [n, T].
        behaviour: μ(aₜ|sₜ), above 0 where the mask is True [n, T].
        mask: True at the steps that happened [n, T].

    Raises:
        ValueError: an action was taken that the behaviour never takes.
    """
    if not (behaviour[mask] > 0).all():
        raise ValueError("an action was taken whose behaviour probability is not above 0")
    rho = np.ones(mask.shape, dtype=np.float64)
    rho[mask] = target[mask] / behaviour[mask]
    with np.errstate(over="ignore"):  # beyond 1e100 it is one person's alone, and still squares
        return np.minimum(np.cumprod(rho, axis=1, dtype=np.float64), 1e100)


def temporal_differences(
    rewards: Floats, q: Floats, next_v: Floats, mask: Bools, gamma: float
) -> Floats:
    """γᵗ δₜ = γᵗ (rₜ + γ V̂(sₜ₊₁) − Q̂(sₜ, aₜ)); 0 where nothing happened.

    Args:
        rewards: rₜ [n, T].
        q: Q̂(sₜ, aₜ) of the actions taken [n, T].
        next_v: V̂(sₜ₊₁), 0 where nothing follows [n, T].
        mask: True at the steps that happened [n, T].
        gamma: discount per step.
    """
    delta = np.where(mask, rewards + gamma * next_v - q, 0.0)
    return gamma ** np.arange(mask.shape[1]) * delta


def doubly_robust(rho: Floats, differences: Floats, v0: Floats) -> Estimate:
    """Step-wise doubly robust (Jiang & Li 2016, equation 10): V̂(s₀) + Σₜ γᵗ ρ₀:ₜ δₜ, averaged.

    Unbiased if the ratios are right, whatever Q̂. With Q̂ = 0 it is per-decision importance
    sampling (Precup, Sutton & Singh 2000, equation 5).

    Args:
        rho: `cumulative_ratios` [n, T].
        differences: `temporal_differences` [n, T].
        v0: V̂(s₀) [n].
    """
    each = v0 + (rho * differences).sum(1)
    return Estimate(float(each.mean()), each - each.mean())


def weighted_doubly_robust(rho: Floats, differences: Floats, v0: Floats) -> Estimate:
    """Weighted DR (Thomas & Brunskill 2016, section 6): ratios of a step divided by their mean.

    Consistent, of far less variance than `doubly_robust`, biased in small samples. With Q̂ = 0 it
    is weighted per-decision importance sampling (Precup, Sutton & Singh 2000, equation 7). A step
    that nobody reached under π adds nothing; its `effective_size` is 0.
    """
    values, influence = partial_returns(rho, differences, v0)
    return Estimate(float(values[-1]), influence[:, -1])


def partial_returns(rho: Floats, differences: Floats, v0: Floats) -> tuple[Floats, Floats]:
    """g⁽ʲ⁾ for j = −1 … T − 1 (Thomas & Brunskill 2016, equation 9): weights for j steps, then V̂.

    Returns:
        Values [T + 1], from the model's alone to weighted DR, and influences [n, T + 1].
    """
    mean = rho.mean(0)
    weights = np.divide(rho, mean, out=np.zeros_like(rho), where=mean > 0)
    steps = (weights * differences).mean(0)
    # A ratio of means Σρδ/Σρ errs, to first order, by the mean of ρ (δ − its value) / mean ρ.
    influence = weights * (differences - steps)
    start = v0.mean()
    return (
        np.concatenate([[start], start + np.cumsum(steps)]),
        np.cumsum(np.column_stack([v0 - start, influence]), axis=1),
    )


def magic(
    rho: Floats,
    differences: Floats,
    v0: Floats,
    rng: np.random.Generator,
    *,
    model: Floats | None = None,
    lengths: int = 12,
    resamples: int = 200,
) -> Estimate:
    """MAGIC (Thomas & Brunskill 2016, section 7): the blend of g⁽ʲ⁾ of least estimated error.

    Minimises xᵀ (Ω̂ + b̂ b̂ᵀ) x over the simplex, Ω̂ the covariance of the g⁽ʲ⁾ and b̂ⱼ the distance
    of g⁽ʲ⁾ from the 90 % bootstrap interval of weighted DR. The influence takes x as given. The
    paper takes Q̂ as given too; where the same people made it, g⁽⁻¹⁾ is not free of error, and
    `model` tells how much.

    Args:
        rho: `cumulative_ratios` [n, T].
        differences: `temporal_differences` [n, T].
        v0: V̂(s₀) [n].
        rng: of the interval's resamples.
        model: influence of each person on each g⁽ʲ⁾ through Q̂ [n, T + 1]; None for none.
        lengths: how many j are blended; −1, T − 1 and others evenly spread.
        resamples: of that interval.
    """
    n, horizon = rho.shape
    chosen = np.unique(np.linspace(0, horizon, min(lengths, horizon + 1)).astype(int))
    values, influence = partial_returns(rho, differences, v0)
    if model is not None:
        influence = influence + model
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    means = counts @ rho
    sums = counts @ (rho * differences)
    ends = (counts @ v0) / n + np.divide(sums, means, out=np.zeros_like(sums), where=means > 0).sum(
        1
    )
    low, high = np.quantile(ends, [0.05, 0.95])
    low, high = min(low, values[-1]), max(high, values[-1])
    g = values[chosen]
    bias = np.where(g > high, g - high, np.where(g < low, g - low, 0.0))
    omega = influence[:, chosen].T @ influence[:, chosen] / (n * max(1, n - 1))
    x = simplex_minimum(omega + np.outer(bias, bias))
    return Estimate(float(x @ g), influence[:, chosen] @ x)


def simplex_minimum(matrix: Floats, sweeps: int = 500) -> Floats:
    """The x of least xᵀ A x over x ≥ 0, Σ x = 1, for a positive semidefinite A [J, J].

    x is found, up to its scale, as the minimum of yᵀ A y / 2 − Σ y over y ≥ 0, by coordinates.
    """
    scale = np.trace(matrix) / len(matrix)
    if not scale > 0:
        return np.full(len(matrix), 1 / len(matrix))
    a = matrix / scale + 1e-9 * np.eye(len(matrix))
    y = np.zeros(len(a))
    for _ in range(sweeps):
        before = y.copy()
        for j in range(len(a)):
            y[j] = max(0.0, y[j] + (1.0 - a[j] @ y) / a[j, j])
        if np.abs(y - before).max() <= 1e-10 * y.max():
            break
    return y / y.sum()


def resampled(
    rho: Floats, differences: Floats, v0: Floats, counts: Floats
) -> tuple[Floats, Floats]:
    """`weighted_doubly_robust` of many resamples of the people at once.

    Args:
        rho: `cumulative_ratios` [n, T].
        differences: `temporal_differences` [n, T].
        v0: V̂(s₀) [n].
        counts: how often each person is in each resample [R, n].

    Returns:
        Values and standard errors, [R] each.
    """
    n = len(rho)
    totals = counts @ rho
    inverse = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    steps = (counts @ (rho * differences)) * inverse
    start = counts @ v0 / n
    # ψᵢ = v0ᵢ − start + n Σₜ ρᵢₜ (δᵢₜ − stepₜ) / totalₜ, as products of matrices.
    influence = v0 - start[:, None]
    influence += n * (inverse @ (rho * differences).T - (steps * inverse) @ rho.T)
    return start + steps.sum(1), clustered_errors(influence, counts)


def clustered_errors(influence: Floats, counts: Floats) -> Floats:
    """Standard errors of resamples [R] from the influences of the people in each [R, n]."""
    n = counts.shape[1]
    return np.sqrt((counts * influence**2).sum(1) / (n * max(1, n - 1)))


def effective_size(weights: Floats) -> Floats:
    """Kish's effective sample size (Σ w)² / Σ w² along the first axis; 0 where all weights are 0."""
    squares = (weights**2).sum(0)
    return np.divide(weights.sum(0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def horizon_effective_size(rho: Floats, gamma: float, share: float = 0.9) -> float:
    """Effective people at the step by which this share of the weight γᵗ has passed.

    The mean over steps would look sound where only the first few are.
    """
    passed = np.cumsum(gamma ** np.arange(rho.shape[1]))
    step = int(np.searchsorted(passed, share * passed[-1]))
    return float(effective_size(rho[:, step]))
