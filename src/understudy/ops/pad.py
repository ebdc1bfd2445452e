"""Ragged lists to a rectangle: the only padding code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor


def pad_ragged(
    rows: Sequence[Sequence[float]],
    fill: float,
    *,
    side: Literal["left", "right"] = "right",
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one tensor [B, L], and a mask [B, L] that is True at real entries."""
    longest = max((len(r) for r in rows), default=0)
    values = torch.full((len(rows), longest), fill, dtype=dtype)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        values[i, where] = torch.tensor(row, dtype=dtype)
        mask[i, where] = True
    return values, mask
