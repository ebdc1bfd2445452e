"""How a local model computes: three settings that change cost, and no meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ComputeConfig:
    """How log-probabilities and their gradients are computed; weights and optimizer stay float32."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products and attention, in playing and in updates; sums of probabilities and losses are
    float32 in any case."""
    packed: bool = False
    """Compute on real tokens alone: answers of different lengths are not padded to the longest."""
    checkpointing: bool = False
    """Keep one hidden state per block and token for the gradient, and compute the rest again."""
