"""Layers that several cores share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-4
"""Of every RMSNorm, as in DreamerV3."""


class Projection(nn.Sequential):
    """Linear, RMSNorm, SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        linear = nn.Linear(inputs, outputs)
        truncated_normal_(linear.weight, inputs)
        nn.init.zeros_(linear.bias)
        super().__init__(linear, nn.RMSNorm(outputs, eps=EPS), nn.SiLU())


class BlockLinear(nn.Module):
    """`blocks` linear layers side by side: [N, blocks, inputs] to [N, blocks, outputs].

    The initial scale is that of the whole width, blocks · inputs, as in the reference.
    """

    def __init__(self, blocks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(blocks, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(blocks, 1, outputs))
        truncated_normal_(self.weight, blocks * inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Each block by its own weights."""
        return torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)


def truncated_normal_(weight: Tensor, fan_in: int) -> None:
    """Normal with standard deviation 1/√fan_in, cut at two deviations and rescaled to it."""
    std = fan_in**-0.5 / 0.87962566103423978  # what the cut leaves of a standard deviation of 1
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Inward(nn.Sequential):
    """From a token to what a language model's body reads: two layers, then the size it is used to.

    Args:
        token_width: D.
        width: the body's.
        scale: root mean square of the outputs at first, `Body.scale`.
    """

    def __init__(self, token_width: int, width: int, scale: float) -> None:
        linear = nn.Linear(width, width)
        truncated_normal_(linear.weight, width)
        nn.init.zeros_(linear.bias)
        norm = nn.RMSNorm(width, eps=EPS)
        nn.init.constant_(norm.weight, scale)
        super().__init__(Projection(token_width, width), linear, norm)
