"""Advantages from the returns of answers to the same prompts: U prompts × G answers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from understudy.ops.returns import discounted_returns


def batch_baseline(rewards_UG: Tensor) -> Tensor:
    """REINFORCE with a baseline: an answer's reward less the mean of all *other* answers'.

    Leaving the answer itself out keeps the estimator unbiased (Williams 1992: the baseline must
    not depend on the action). A batch of one has baseline 0.
    """
    n = rewards_UG.numel()
    if n == 1:
        return rewards_UG.clone()
    return rewards_UG - (rewards_UG.sum() - rewards_UG) / (n - 1)


def leave_one_out(rewards_UG: Tensor) -> Tensor:
    """RLOO (arXiv 2402.14740, equation 8): reward less the mean of the group's other answers."""
    group = rewards_UG.shape[-1]
    others = rewards_UG.sum(-1, keepdim=True) - rewards_UG
    return rewards_UG - others / max(1, group - 1)


def group_relative(
    rewards_UG: Tensor, *, scale: Literal["std", "none"] = "std", eps: float = 1e-4
) -> Tensor:
    """GRPO (arXiv 2402.03300, section 4.1.2): reward less the group's mean, over its deviation.

    With scale "none" (Dr. GRPO, arXiv 2503.20783) this is (G − 1)/G times the leave-one-out
    advantage. The deviation is the sample's (G − 1 in the denominator).
    """
    centred = rewards_UG - rewards_UG.mean(-1, keepdim=True)
    if scale == "none":
        return centred
    return centred / (rewards_UG.std(-1, keepdim=True) + eps)


def stepwise_leave_one_out(rewards_UGT: Tensor, mask_UGT: Tensor, gamma: float = 1.0) -> Tensor:
    """Return to go per step less the siblings' mean return to go at the same step.

    A sibling that has ended counts as a return to go of 0. Averaging over the siblings still going
    would be unbiased too; counting all of them keeps the baseline defined where none goes on. It
    depends on the siblings alone, never on the trajectory's own length, so no bias enters.

    Args:
        rewards_UGT: rewards per step, 0 after the end [U, G, T].
        mask_UGT: True at steps that happened [U, G, T].
        gamma: discount per step.

    Returns:
        Advantages [U, G, T], 0 after the end.
    """
    to_go = discounted_returns(rewards_UGT, mask_UGT, gamma)
    group = rewards_UGT.shape[-2]
    baseline = (to_go.sum(-2, keepdim=True) - to_go) / max(1, group - 1)
    return (to_go - baseline) * mask_UGT


def whiten(values: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Zero mean and unit variance over the masked entries; 0 elsewhere."""
    chosen = values[mask]
    spread = torch.sqrt(chosen.var(correction=0) + eps)
    return (values - chosen.mean()) / spread * mask
