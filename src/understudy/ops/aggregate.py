"""One number from per-token losses, so that parts of a batch add up to the whole."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

How = Literal["token", "sequence", "constant"]


def denominator(mask_BL: Tensor, how: How, *, max_tokens: int | None = None) -> float:
    """What a whole batch's losses are divided by.

    token: the number of tokens (every token weighs the same). sequence: the number of answers
    (every answer weighs the same). constant: answers × longest answer allowed (Dr. GRPO, arXiv
    2503.20783: no answer's weight depends on any length).

    Args:
        mask_BL: True where a token counts [B, L], of the whole batch.
        how: as above.
        max_tokens: the longest answer allowed; only "constant" needs it.

    Raises:
        ValueError: `how` is none of the three, or "constant" came without `max_tokens`.
    """
    if how == "token":
        return float(mask_BL.sum()) or 1.0
    if how == "sequence":
        return float(len(mask_BL)) or 1.0
    if how == "constant":
        if max_tokens is None:
            raise ValueError('aggregate: "constant" needs max_tokens, the longest answer allowed')
        return float(len(mask_BL) * max_tokens) or 1.0
    raise ValueError(f'aggregate: how is "{how}"; it must be one of {", ".join(get_args(How))}')


_denominator = denominator  # `aggregate` has an argument of that name


def aggregate(
    loss_BL: Tensor,
    mask_BL: Tensor,
    how: How,
    *,
    denominator: float | None = None,
    max_tokens: int | None = None,
) -> Tensor:
    """The share of these rows in the whole batch's loss.

    Args:
        loss_BL: losses per token [B, L]; what stands where the mask is False is ignored.
        mask_BL: True where a token counts [B, L].
        how: see `denominator`. A row without tokens counts as an answer of loss 0.
        denominator: the whole batch's, so that the shares of its parts sum to its loss. Left out,
            these rows are the whole batch.
        max_tokens: see `denominator`.

    Returns:
        A scalar.
    """
    if denominator is None:
        denominator = _denominator(mask_BL, how, max_tokens=max_tokens)
    loss = torch.where(mask_BL, loss_BL, 0.0).sum(-1)
    if how == "sequence":
        loss = loss / mask_BL.sum(-1).clamp(min=1)
    return loss.sum() / denominator
