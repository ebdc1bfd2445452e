"""Returns and generalised advantages. Time runs along the last axis, T steps."""

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
    rewards = rewards_BT * mask_BT
    returns = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[..., 0])
    for t in reversed(range(rewards.shape[-1])):
        running = rewards[..., t] + gamma * running
        returns[..., t] = running
    return returns * mask_BT


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
    deltas = rewards_BT + gamma * next_values_BT * ~terminated_BT - values_BT
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[..., 0])
    for t in reversed(range(deltas.shape[-1])):
        running = deltas[..., t] + gamma * lam * running * ~ended_BT[..., t]
        advantages[..., t] = running
    return advantages
