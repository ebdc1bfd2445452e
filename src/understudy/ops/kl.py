"""KL(π ‖ π_ref) from samples of π: Schulman's estimators, and the one with the right gradient.

Log-probabilities of sampled tokens are [B, L]; so are the results. `mask_BL` is True at the tokens
that count: the others are made equal before any exponential, as exp(1e10) · 0 is not a number. The
reference is a constant. k1, k2 and k3: Schulman, "Approximating KL divergence" (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor


def _log_ratio(logprobs_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
    ratio = logprobs_BL - reference_BL.detach()
    return ratio if mask_BL is None else torch.where(mask_BL, ratio, 0.0)


def k1(logprobs_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    """Log π − log π_ref: unbiased as a value; as a loss its expected gradient is zero."""
    return _log_ratio(logprobs_BL, reference_BL, mask_BL)


def k2(logprobs_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    """½ (log π − log π_ref)²: biased as a value; as a loss, right but for later tokens' KL."""
    return 0.5 * _log_ratio(logprobs_BL, reference_BL, mask_BL) ** 2


def k3(logprobs_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    """R − 1 − log r with r = π_ref/π: unbiased and positive; as a loss its gradient is biased."""
    log_r = -_log_ratio(logprobs_BL, reference_BL, mask_BL)
    return torch.exp(log_r) - 1.0 - log_r


def kl_to_go(logprobs_BL: Tensor, reference_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    """Σ_{s≥t} (log π − log π_ref)(s), detached.

    Charged to the return of token t, its score-function gradient is that of the sequence's KL:
    ∇KL = E[Σₜ ∇log πₜ Σ_{s≥t} log(π/π_ref)ₛ], as the expected score itself is zero.
    """
    ratio = _log_ratio(logprobs_BL, reference_BL, mask_BL).detach()
    return ratio.flip(-1).cumsum(-1).flip(-1)


def full_kl(logits_BLV: Tensor, reference_BLV: Tensor) -> Tensor:
    """KL of whole next-token distributions, Σ_v π_v (log π_v − log π_ref,v), [B, L].

    A token that π forbids (logit −∞) adds 0, whatever the reference says of it; one that only the
    reference forbids makes the divergence infinite.
    """
    log_p = logits_BLV.log_softmax(-1)
    ratio = log_p - reference_BLV.log_softmax(-1).detach()
    return (log_p.exp() * torch.where(log_p == -torch.inf, 0.0, ratio)).sum(-1)
