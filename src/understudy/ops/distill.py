"""How far a student's action distribution is from a teacher's, per state."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Divergence = Literal["ce", "forward_kl", "reverse_kl"]

FLOOR = 1e-4
"""The least probability the reverse KL gives a teacher's action: a teacher that excludes one would
make it infinite."""


def distillation(logits_BA: Tensor, teacher_BA: Tensor, how: Divergence = "ce") -> Tensor:
    """The distillation loss of each state, [B].

    ce: −Σ_a π_T log π_S, kickstarting's (Schmitt et al. 2018, arXiv 1803.03835, equation 4).
    forward_kl: Σ_a π_T (log π_T − log π_S), the same gradient, and 0 where both agree.
    reverse_kl: Σ_a π_S (log π_S − log π_T), which lets the student choose among the teacher's
    actions; π_T is mixed with `FLOOR` of the uniform distribution.

    Args:
        logits_BA: the student's, [B, A].
        teacher_BA: the teacher's probabilities [B, A], constants; each row sums to 1.
        how: which.

    Raises:
        ValueError: `how` is none of the three.
    """
    teacher = teacher_BA.detach()
    log_pi = logits_BA.log_softmax(-1)
    if how == "ce":
        return -(teacher * log_pi).sum(-1)
    if how == "forward_kl":
        return torch.xlogy(teacher, teacher).sum(-1) - (teacher * log_pi).sum(-1)
    if how == "reverse_kl":
        mixed = (1 - FLOOR) * teacher + FLOOR / teacher.shape[-1]
        return (log_pi.exp() * (log_pi - mixed.log())).sum(-1)
    raise ValueError(f'distillation: "{how}"; it must be one of {", ".join(get_args(Divergence))}')


def entropy(logits_BA: Tensor) -> Tensor:
    """−Σ_a π log π of each state, in nats, [B]."""
    log_pi = logits_BA.log_softmax(-1)
    return -(log_pi.exp() * log_pi).sum(-1)
