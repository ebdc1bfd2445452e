"""Policy-gradient losses per token, [B, L] in and out."""

from __future__ import annotations

import torch
from torch import Tensor


def reinforce(logprobs_BL: Tensor, advantages_BL: Tensor) -> Tensor:
    """REINFORCE: −log π(a) · Â, the advantage a constant (Williams 1992)."""
    return -logprobs_BL * advantages_BL.detach()


def ppo_clip(
    logprobs_BL: Tensor,
    old_logprobs_BL: Tensor,
    advantages_BL: Tensor,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate (arXiv 1707.06347, equation 7), bounds apart (arXiv 2503.14476).

    Returns:
        −min(ρ Â, clip(ρ, 1 − clip_low, 1 + clip_high) Â) and where the clip was active, [B, L].
    """
    advantages = advantages_BL.detach()
    ratio = torch.exp(logprobs_BL - old_logprobs_BL.detach())
    plain = ratio * advantages
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    return -torch.minimum(plain, clipped), clipped < plain
