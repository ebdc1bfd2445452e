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
    *,
    mask_BL: Tensor | None = None,
    sequence_level: bool = False,
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate (arXiv 1707.06347, equation 7), bounds apart (arXiv 2503.14476).

    Args:
        logprobs_BL: log π of the tokens [B, L].
        old_logprobs_BL: their log-probabilities when they were sampled [B, L].
        advantages_BL: advantages [B, L].
        clip_low: how far the ratio may fall below 1.
        clip_high: how far it may rise above 1.
        mask_BL: True at the tokens that count [B, L]; the ratio of the others is made 1 before the
            exponential, so that no gradient there is infinite. Their loss is not 0: aggregate with
            the same mask.
        sequence_level: the ratio is the answer's, the geometric mean of its tokens' (GSPO, arXiv
            2507.18071, equation 7), in the form whose advantages may differ by token (equation
            14): equal to GSPO under `aggregate(…, "sequence")` where they do not.

    Returns:
        −min(ρ Â, clip(ρ, 1 − clip_low, 1 + clip_high) Â), and where the clip was active, [B, L],
        whose mean over the mask is the clip fraction.
    """
    advantages = advantages_BL.detach()
    log_ratio = logprobs_BL - old_logprobs_BL.detach()
    if mask_BL is not None:
        log_ratio = torch.where(mask_BL, log_ratio, 0.0)
    if sequence_level:
        log_ratio = _of_the_answer(log_ratio, mask_BL)
    ratio = torch.exp(log_ratio)
    plain = ratio * advantages
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    return -torch.minimum(plain, clipped), clipped < plain


def _of_the_answer(log_ratio_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
    """The mean log-ratio in value; in gradient each token's own."""
    mask = torch.ones_like(log_ratio_BL, dtype=torch.bool) if mask_BL is None else mask_BL
    lengths = mask.sum(-1, keepdim=True).clamp(min=1)
    mean = log_ratio_BL.detach().sum(-1, keepdim=True) / lengths
    return torch.where(mask, mean + (log_ratio_BL - log_ratio_BL.detach()), 0.0)
