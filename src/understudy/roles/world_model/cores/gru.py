"""Recurrent cores: the GRU of DreamerV3's first version and the block GRU of its second.

Hafner et al. 2023 (arXiv 2301.04104), RSSM; the second is what the Nature version (2025) calls the
block-diagonal recurrent weights. Both read the prior and the posterior from h, so they are `coupled`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.roles.world_model.cores.base import RecurrentCore, State
from understudy.roles.world_model.cores.layers import (
    EPS,
    BlockLinear,
    Projection,
    truncated_normal_,
)
from understudy.roles.world_model.cores.spec import CoreError


class GRU(RecurrentCore):
    """A GRU with normalised gates; the token passes one linear layer first.

    With x the projected token and (r, c, u) the three parts of norm(W [x, h]):
    h' = σ(u - 1) · tanh(σ(r) · c) + (1 - σ(u - 1)) · h.

    Args:
        token_width: D.
        width: H.
        hidden: features of the projected token; H by default.
    """

    coupled = True

    def __init__(self, token_width: int, width: int, hidden: int | None = None) -> None:
        super().__init__()
        self.token_width, self.width = token_width, width
        self.inward = Projection(token_width, hidden or width)
        self.gates = nn.Linear((hidden or width) + width, 3 * width, bias=False)
        self.norm = nn.RMSNorm(3 * width, eps=EPS)
        self.shift = nn.Parameter(torch.zeros(3 * width))
        truncated_normal_(self.gates.weight, self.gates.in_features)

    def init_state(self, batch: int) -> State:
        """As `Core.init_state`."""
        return {"h": self.shift.new_zeros(batch, self.width)}

    def prepare(self, tokens: Tensor) -> Tensor:
        """The projected tokens [..., hidden]."""
        return self.inward(tokens)

    def advance(self, x: Tensor, state: State) -> State:
        """As `RecurrentCore.advance`."""
        h = state["h"]
        gates = self.norm(self.gates(torch.cat([x, h], dim=-1))) + self.shift
        return {"h": _gated(gates.chunk(3, dim=-1), h)}


class BlockGRU(RecurrentCore):
    """A GRU whose recurrent weights are `blocks` blocks on the diagonal: a wide h for few weights.

    h and every part of the token pass a projection of their own (linear, RMSNorm, SiLU); each block
    sees all projections and its own slice of h.

    Args:
        token_width: D.
        width: H, a multiple of `blocks`.
        hidden: features of each projection; H / blocks by default.
        blocks: how many.
        parts: widths of the token's parts, e.g. (latents, actions); one part by default.

    Raises:
        CoreError: the widths do not divide or add up.
    """

    coupled = True

    def __init__(
        self,
        token_width: int,
        width: int,
        hidden: int | None = None,
        *,
        blocks: int = 8,
        parts: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if blocks < 1 or width % blocks:
            raise CoreError(
                f"a block GRU's width must be a multiple of {blocks} blocks, got {width}"
            )
        self.parts = list(parts) or [token_width]
        if sum(self.parts) != token_width:
            raise CoreError(f"token parts {self.parts} do not add up to the width {token_width}")
        self.token_width, self.width, self.blocks = token_width, width, blocks
        hidden = hidden or width // blocks
        self.inward = nn.ModuleList(Projection(part, hidden) for part in self.parts)
        self.recur = Projection(width, hidden)
        seen = width // blocks + hidden * (1 + len(self.parts))
        self.mix = BlockLinear(blocks, seen, width // blocks)
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.gates = BlockLinear(blocks, width // blocks, 3 * width // blocks)

    def init_state(self, batch: int) -> State:
        """As `Core.init_state`."""
        return {"h": self.norm.weight.new_zeros(batch, self.width)}

    def prepare(self, tokens: Tensor) -> Tensor:
        """What the tokens add to what every block makes of its inputs [..., H]."""
        pieces = tokens.split(self.parts, dim=-1)
        projected = [layer(x) for layer, x in zip(self.inward, pieces, strict=True)]
        start = self.mix.weight.shape[1] - sum(part.shape[-1] for part in projected)
        return torch.cat(projected, dim=-1) @ self._of_all(start, None) + self.mix.bias.flatten()

    def advance(self, x: Tensor, state: State) -> State:
        """As `RecurrentCore.advance`."""
        h = state["h"]
        own = h.view(len(h), self.blocks, -1).transpose(0, 1)
        block, shared = own.shape[-1], self.recur(h)
        mixed = torch.bmm(own, self.mix.weight[:, :block]).transpose(0, 1).flatten(1)
        x = torch.addmm(x, shared, self._of_all(block, block + shared.shape[-1]))
        mixed = F.silu(self.norm(mixed + x))
        gates = self.gates(mixed.view(len(h), self.blocks, -1)).chunk(3, dim=-1)
        return {"h": _gated(gates, own.transpose(0, 1)).flatten(1)}

    def _of_all(self, start: int, stop: int | None) -> Tensor:
        """Weights [inputs, H] of inputs that all blocks see: for these the blocks are one matrix."""
        return self.mix.weight[:, start:stop].transpose(0, 1).flatten(1)


def _gated(gates: Sequence[Tensor], h: Tensor) -> Tensor:
    reset, candidate, update = gates
    mix = torch.sigmoid(update - 1)
    return mix * torch.tanh(torch.sigmoid(reset) * candidate) + (1 - mix) * h
