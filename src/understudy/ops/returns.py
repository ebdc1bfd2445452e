"""Returns and generalised advantages. Time runs along the last axis, T steps.

Where a step does not count (padding, the value after a true end), its numbers are replaced, not
multiplied by 0: whatever was left there, infinities and NaN included, reaches no result.
"""

from __future__ import annotations

import torch
from torch import Tensor


def discounted_returns(rewards_BT: Tensor, mask_BT: Tensor, gamma: float) -> Tensor:
    """Reward to go, Gₜ = rₜ + γ Gₜ₊₁, over the steps where the mask is True; 0 elsewhere.

    Args:
        rewards_BT: rewards [..., T].
        mask_BT: True at the steps that happened [..., T].
        gamma: discount per step.

    Returns:
        Returns to go [..., T].
    """
    rewards = torch.where(mask_BT, rewards_BT, 0.0)
    returns = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[..., 0])
    for t in reversed(range(rewards.shape[-1])):
        running = rewards[..., t] + gamma * running
        returns[..., t] = running
    return torch.where(mask_BT, returns, 0.0)


def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    next_values_BT: Tensor,
    terminated_BT: Tensor,
    ended_BT: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimation (arXiv 1506.02438, equation 16).

    δₜ = rₜ + γ (1 − terminatedₜ) V(sₜ₊₁) − V(sₜ);  Âₜ = δₜ + γ λ (1 − endedₜ) Âₜ₊₁.

    A truncated step ends the sum but still bootstraps from the value of the state it was cut at.

    Args:
        rewards_BT: rewards [..., T].
        values_BT: V(sₜ) [..., T].
        next_values_BT: V(sₜ₊₁) [..., T], of the true next state, also where the episode was cut.
        terminated_BT: True where the episode ended by itself at this step [..., T].
        ended_BT: True where it ended for any reason [..., T].
        gamma: discount per step.
        lam: λ of the exponential average.

    Returns:
        Advantages [..., T].
    """
    deltas = rewards_BT + gamma * torch.where(terminated_BT, 0.0, next_values_BT) - values_BT
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[..., 0])
    for t in reversed(range(deltas.shape[-1])):
        running = deltas[..., t] + gamma * lam * torch.where(ended_BT[..., t], 0.0, running)
        advantages[..., t] = running
    return advantages


def lambda_returns(
    rewards_BT: Tensor,
    values_BT: Tensor,
    next_values_BT: Tensor,
    terminated_BT: Tensor,
    ended_BT: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """The λ-return, the target of the value function: Gₜ = Âₜ + V(sₜ) (Sutton & Barto, 12.2).

    Equal to rₜ + γ ((1 − λ) V(sₜ₊₁) + λ Gₜ₊₁), with V alone where the episode was cut and neither
    where it terminated. Arguments as for `gae`.
    """
    advantages = gae(rewards_BT, values_BT, next_values_BT, terminated_BT, ended_BT, gamma, lam)
    return advantages + values_BT


def bootstrapped_returns(
    rewards: Tensor, continues: Tensor, values: Tensor, bootstrap: Tensor, lam: float | Tensor
) -> Tensor:
    """λ-returns with a continuation probability at every step (DreamerV3, equation 7).

    Rₜ = rₜ + cₜ ((1 − λ) vₜ₊₁ + λ Rₜ₊₁), with R beyond the end = `bootstrap`. The discount is part
    of c. At row t stand the reward, continuation and value of the state that step t leads to.

    Args:
        rewards: rₜ [..., T].
        continues: cₜ, between 0 and the discount [..., T].
        values: vₜ₊₁ [..., T].
        bootstrap: what R starts from at the end [...].
        lam: λ, one for all steps or one of each [..., T].

    Returns:
        Returns [..., T].
    """
    targets = rewards + continues * (1 - lam) * values
    decays = lam * continues
    running, found = bootstrap, list[Tensor]()
    for target, decay in zip(
        reversed(targets.unbind(-1)), reversed(decays.unbind(-1)), strict=True
    ):
        running = target + decay * running
        found.append(running)
    return torch.stack(found[::-1], -1)
