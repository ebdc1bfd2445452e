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
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one tensor, and where it is real.

    Args:
        rows: B rows of numbers or truth values.
        fill: what stands where a row has no entry.
        side: where the padding goes.
        dtype: of the tensor.
        device: of both tensors.

    Returns:
        The rows [B, L], L the longest one's length, and a mask [B, L] that is True at real entries.

    Raises:
        ValueError: `side` is neither "left" nor "right".
    """
    if side not in ("left", "right"):
        raise ValueError(f'pad_ragged: side is "{side}"; it must be "left" or "right"')
    longest = max((len(r) for r in rows), default=0)
    values = torch.full((len(rows), longest), fill, dtype=dtype)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        values[i, where] = torch.tensor(row, dtype=dtype)
        mask[i, where] = True
    return values.to(device), mask.to(device)
