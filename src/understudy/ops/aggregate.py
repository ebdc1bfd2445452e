"""One number from per-token losses, so that parts of a batch add up to the whole."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

How = Literal["token", "sequence", "constant"]


def denominator(mask_BL: Tensor, how: How, *, max_tokens: int) -> float:
    """What a whole batch's losses are divided by.

    token: the number of tokens (every token weighs the same). sequence: the number of answers
    (every answer weighs the same). constant: answers × longest answer allowed (Dr. GRPO, arXiv
    2503.20783: no answer's weight depends on any length).
    """
    if how == "token":
        return float(mask_BL.sum()) or 1.0
    return float(len(mask_BL)) * (max_tokens if how == "constant" else 1)


def aggregate(loss_BL: Tensor, mask_BL: Tensor, how: How, *, denominator: float) -> Tensor:
    """The share of these rows in the whole batch's loss.

    Args:
        loss_BL: losses per token [B, L].
        mask_BL: True where a token counts [B, L].
        how: see `denominator`.
        denominator: the whole batch's, so that the shares of its parts sum to its loss.
    """
    loss = (loss_BL * mask_BL).sum(-1)
    if how == "sequence":
        loss = loss / mask_BL.sum(-1).clamp(min=1)
    return loss.sum() / denominator
