"""The Mamba core: a selective scan of our own over a transformers Mamba's weights.

Gu & Dao 2023 (arXiv 2312.00752), algorithm 2. The numbers are those of transformers' forward; unlike it,
this returns the state after every step, begins anew where an episode does, and trains on a CPU in
linear time. On a GPU the fused kernels that transformers finds (`mamba-ssm`, or from the hub) are not used:
they return no states in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.roles.world_model.cores.scan import convolve, pasts, selective_scan
from understudy.roles.world_model.cores.state_space import Pair, StateSpaceCore


@dataclass(frozen=True, slots=True)
class Recorded:
    """The states after every step."""

    conv: Tensor
    """[B, T, K - 1, C]."""
    ssm: Tensor
    """[B, T, N, C]."""

    def last(self) -> Pair:
        """As `Path.last`."""
        return self.conv[:, -1], self.ssm[:, -1]

    def at(self, row: Tensor, time: Tensor) -> Pair:
        """As `Path.at`."""
        return self.conv[row, time], self.ssm[row, time]


class MambaCore(StateSpaceCore):
    """A Mamba body of `understudy.lm.backbone`; see `StateSpaceCore`."""

    kind = "mamba"

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """As `StateSpaceCore.shapes`."""
        config = self.body.model.config
        inner: int = config.intermediate_size
        return (self.kernel - 1, inner), (config.state_size, inner)

    def mix(self, mixer: Any, x: Tensor, state: Pair, age: Tensor) -> tuple[Tensor, Recorded]:
        """As `StateSpaceCore.mix`."""
        past, held = state
        raw, gate = mixer.in_proj(x).chunk(2, dim=-1)
        u = mixer.act(convolve(raw, past, mixer.conv1d.weight, mixer.conv1d.bias, age))
        rank, size = mixer.time_step_rank, mixer.ssm_state_size
        delta, inward, outward = mixer.x_proj(u).split([rank, size, size], dim=-1)
        delta = F.softplus(mixer.dt_proj(delta))
        rates = -torch.exp(mixer.A_log.T)
        y, states = selective_scan(delta, u, rates, inward, outward, age == 0, held)
        y = y + u * mixer.D
        return mixer.out_proj(y * F.silu(gate)), Recorded(
            pasts(raw, past, age, self.kernel), states
        )
