"""The value function's loss, per element."""

from __future__ import annotations

import torch
from torch import Tensor


def value_loss(values: Tensor, returns: Tensor, old_values: Tensor, clip: float | None) -> Tensor:
    """(V − R)², or PPO's clipped form: the larger of it and that of V kept near the old value.

    Args:
        values: V(s), any shape.
        returns: its targets R, constants.
        old_values: V(s) when the data were collected.
        clip: how far the new value may move from the old one and still be rewarded for it;
            None for the plain square (Engstrom et al., arXiv 2005.12729, section 3).
    """
    plain = (values - returns.detach()) ** 2
    if clip is None:
        return plain
    kept = old_values.detach() + (values - old_values.detach()).clamp(-clip, clip)
    return torch.maximum(plain, (kept - returns.detach()) ** 2)
