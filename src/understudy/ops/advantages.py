"""Advantages from the returns of answers to the same prompts: U prompts × G answers.

Every baseline here subtracts the group's least value before it adds anything up. A leave-one-out
difference does not change under such a shift, and equal rewards then give exactly 0 rather than
rounding noise, which a division by a deviation of nearly 0 would blow up and which would make a
group with nothing to say look as if it had (`signal_groups`).
"""

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
    shifted = rewards_UG - rewards_UG.min()
    return shifted - (shifted.sum() - shifted) / (n - 1)


def leave_one_out(rewards_UG: Tensor, valid_UG: Tensor | None = None) -> Tensor:
    """RLOO (arXiv 2402.14740, equation 8): reward less the mean of the group's other answers.

    Args:
        rewards_UG: rewards [U, G].
        valid_UG: False where an answer could not be graded [U, G]; such answers are in no
            baseline and have advantage 0, whatever their reward holds.

    Returns:
        Advantages [U, G], 0 where an answer has no other to compare with.
    """
    shifted, valid, count = _shifted(rewards_UG, valid_UG)
    others = shifted.sum(-1, keepdim=True) - shifted
    return torch.where(valid, shifted - others / (count - 1).clamp(min=1), 0.0)


def group_relative(
    rewards_UG: Tensor,
    valid_UG: Tensor | None = None,
    *,
    scale: Literal["std", "none"] = "std",
    eps: float = 1e-4,
) -> Tensor:
    """GRPO (arXiv 2402.03300, section 4.1.2): reward less the group's mean, over its deviation.

    With scale "none" (Dr. GRPO, arXiv 2503.20783) this is (G − 1)/G times the leave-one-out
    advantage. The deviation is the sample's (G − 1 in the denominator).

    Args:
        rewards_UG: rewards [U, G].
        valid_UG: False where an answer could not be graded [U, G]; see `leave_one_out`.
        scale: what the difference is divided by.
        eps: added to the deviation.

    Returns:
        Advantages [U, G], 0 where an answer has no other to compare with.

    Raises:
        ValueError: `scale` is neither "std" nor "none".
    """
    if scale not in ("std", "none"):
        raise ValueError(f'group_relative: scale is "{scale}"; it must be "std" or "none"')
    shifted, valid, count = _shifted(rewards_UG, valid_UG)
    mean = shifted.sum(-1, keepdim=True) / count.clamp(min=1)
    centred = torch.where(valid, shifted - mean, 0.0)
    if scale == "none":
        return centred
    variance = (centred**2).sum(-1, keepdim=True) / (count - 1).clamp(min=1)
    return centred / (variance.sqrt() + eps)


def _shifted(rewards_UG: Tensor, valid_UG: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards less their group's least valid one, 0 where invalid; validity; the valid's number [U, 1]."""
    valid = torch.ones_like(rewards_UG, dtype=torch.bool) if valid_UG is None else valid_UG
    if valid.shape != rewards_UG.shape:
        raise ValueError(
            f"advantages: valid_UG is {list(valid.shape)}, rewards_UG {list(rewards_UG.shape)}; "
            "they must have one shape"
        )
    least = torch.where(valid, rewards_UG, torch.inf).amin(-1, keepdim=True)
    shifted = torch.where(valid, rewards_UG - least, 0.0)
    return shifted, valid, valid.sum(-1, keepdim=True)


def stepwise_leave_one_out(rewards_UGT: Tensor, steps_UG: Tensor, gamma: float = 1.0) -> Tensor:
    """Return to go per step less the siblings' mean return to go at the same step.

    A sibling that has ended counts as a return to go of 0. Averaging over the siblings still going
    would be unbiased too; counting all of them keeps the baseline defined where none goes on. It
    depends on the siblings alone, never on the trajectory's own length, so no bias enters.

    Args:
        rewards_UGT: rewards per step [U, G, T]; what stands after the end is ignored.
        steps_UG: how many steps each trajectory had [U, G], or directly a mask [U, G, T] that is
            True at the steps that happened.
        gamma: discount per step.

    Returns:
        Advantages [U, G, T], 0 after the end. A group of one has baseline 0.
    """
    mask_UGT = steps_UG
    if steps_UG.dim() == rewards_UGT.dim() - 1:
        clock = torch.arange(rewards_UGT.shape[-1], device=steps_UG.device)
        mask_UGT = clock < steps_UG[..., None]
    to_go = discounted_returns(rewards_UGT, mask_UGT, gamma)
    group = rewards_UGT.shape[-2]
    if group == 1:
        return to_go
    shifted = to_go - to_go.amin(-2, keepdim=True)
    baseline = (shifted.sum(-2, keepdim=True) - shifted) / (group - 1)
    return torch.where(mask_UGT, shifted - baseline, 0.0)


def signal_groups(advantages: Tensor, mask: Tensor | None = None) -> Tensor:
    """Which groups have anything to teach: [U], True where any advantage is not 0.

    Args:
        advantages: advantages [U, …], any number of further axes.
        mask: True where an advantage counts, of the same shape.
    """
    telling = advantages != 0 if mask is None else (advantages != 0) & mask
    return telling.flatten(1).any(-1)


def whiten(values: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Zero mean and unit variance over the masked entries; 0 elsewhere.

    Args:
        values: any shape.
        mask: True at the entries that count, of the same shape. None at all gives all 0.
        eps: added to the variance.
    """
    chosen = values[mask]
    if not len(chosen):
        return torch.zeros_like(values)
    spread = torch.sqrt(chosen.var(correction=0) + eps)
    return torch.where(mask, (values - chosen.mean()) / spread, 0.0)
