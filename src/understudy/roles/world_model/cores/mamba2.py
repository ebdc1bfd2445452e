"""The Mamba-2 core: a chunked scan of our own over a transformers Mamba-2's weights.

Dao & Gu 2024 (arXiv 2405.21060), section 6: within a chunk every output is a masked, decaying attention
over the chunk's inputs; between chunks a state is handed on. The numbers are those of transformers'
forward; unlike it, this begins anew where an episode does and gives the state after any step, which
is made only when `starts` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.roles.world_model.cores.scan import convolve, linear_scan, pasts, segment_sums
from understudy.roles.world_model.cores.state_space import Pair, Path, StateSpaceCore

CHUNK = 64
"""Steps of a chunk; the work within one grows with its square."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """The state after the only step."""

    conv: Tensor
    """[B, K - 1, C]."""
    ssm: Tensor
    """[B, heads, N, d]."""

    def last(self) -> Pair:
        """As `Path.last`."""
        return self.conv, self.ssm

    def at(self, row: Tensor, time: Tensor) -> Pair:  # noqa: ARG002
        """As `Path.at`."""
        return self.conv[row], self.ssm[row]


@dataclass(frozen=True, slots=True)
class Chunked:
    """What went into a scan, from which any state follows."""

    conv: Tensor
    """[B, T, K - 1, C]."""
    inputs: Tensor
    """[B, T, heads, d] what each step adds, times …"""
    keys: Tensor
    """[B, T, groups, N] … this."""
    decay: Tensor
    """[B, T, heads] logarithm of what is left of the state before."""
    first: Tensor
    """[B, heads, N, d]."""
    final: Tensor
    """[B, heads, N, d]."""

    def last(self) -> Pair:
        """As `Path.last`."""
        return self.conv[:, -1], self.final

    def at(self, row: Tensor, time: Tensor) -> Pair:
        """As `Path.at`; all states are made for it, step by step."""
        keys = _per_head(self.keys, self.inputs.shape[2])
        added = keys[..., None] * self.inputs[..., None, :]
        left = torch.exp(self.decay)[..., None, None].expand_as(added)
        states = linear_scan(left, added, self.first)
        return self.conv[row, time], states[row, time]


class Mamba2Core(StateSpaceCore):
    """A Mamba-2 body of `understudy.lm.backbone`; see `StateSpaceCore`."""

    kind = "mamba2"

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """As `StateSpaceCore.shapes`."""
        config = self.body.model.config
        inner = config.num_heads * config.head_dim
        channels = inner + 2 * config.n_groups * config.state_size
        return (self.kernel - 1, channels), (config.num_heads, config.state_size, config.head_dim)

    def mix(self, mixer: Any, x: Tensor, state: Pair, age: Tensor) -> tuple[Tensor, Path]:
        """As `StateSpaceCore.mix`."""
        past, held = state
        heads, size = mixer.num_heads, mixer.n_groups * mixer.ssm_state_size
        inner = mixer.intermediate_size
        gate, raw, delta = mixer.in_proj(x).split([inner, mixer.conv_dim, heads], dim=-1)
        wide = mixer.act(convolve(raw, past, mixer.conv1d.weight, mixer.conv1d.bias, age))
        u, keys, queries = wide.split([inner, size, size], dim=-1)
        u = u.unflatten(-1, (heads, mixer.head_dim))
        keys = keys.unflatten(-1, (mixer.n_groups, -1))
        queries = queries.unflatten(-1, (mixer.n_groups, -1))
        delta = F.softplus(delta + mixer.dt_bias).clamp(*mixer.time_step_limit)
        decay = (delta * -torch.exp(mixer.A_log)).masked_fill((age == 0)[..., None], -torch.inf)
        conv = pasts(raw, past, age, self.kernel)
        u_delta = u * delta[..., None]
        if x.shape[1] == 1:
            key, query = (_per_head(v[:, 0], heads) for v in (keys, queries))
            held = torch.exp(decay[:, 0])[..., None, None] * held
            held = torch.addcmul(held, key[..., None], u_delta[:, 0, :, None])
            y = (query[..., None, :] @ held).transpose(1, 2)
            path = Stepped(conv[:, -1], held)
        else:
            y, final = _scan(u_delta, keys, queries, decay, held)
            path = Chunked(conv, u_delta, keys, decay, held, final)
        y = (y + u * mixer.D[:, None]).flatten(2)
        return mixer.out_proj(mixer.norm(y, gate)), path


def _scan(
    inputs: Tensor, keys: Tensor, queries: Tensor, decay: Tensor, held: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs [B, T, heads, d] of a scan from the state `held`, and the state after it."""
    length, heads = inputs.shape[1:3]
    size = min(CHUNK, length)
    # a padded step adds nothing and lets nothing decay
    inputs, keys, queries, decay = (_chunks(v, size) for v in (inputs, keys, queries, decay))
    likeness = _per_head(torch.einsum("bctgn,bcsgn->bctsg", queries, keys), heads, dim=-1)
    decay = decay.transpose(-1, -2)
    weights = torch.exp(segment_sums(decay))
    keys, queries = _per_head(keys, heads), _per_head(queries, heads)
    y = torch.einsum("bchts,bcshd->bcthd", likeness.movedim(-1, 2) * weights, inputs)
    added = torch.einsum("bcshd,bcshn->bchnd", inputs * _last(weights), keys)
    left = torch.exp(decay.cumsum(-1))
    after = linear_scan(left[..., -1, None, None].expand_as(added), added, held)
    entered = torch.cat([held[:, None], after[:, :-1]], dim=1)
    carried = torch.einsum("bcthn,bchnd->bcthd", queries, entered)
    y = y + carried * left.transpose(-1, -2)[..., None]
    return y.flatten(1, 2)[:, :length], after[:, -1]


def _last(weights: Tensor) -> Tensor:
    """What is left of each step at its chunk's end [B, c, L, heads, 1]."""
    return weights[..., -1, :].transpose(-1, -2)[..., None]


def _chunks(x: Tensor, size: int) -> Tensor:
    """[B, T, …] as [B, c, size, …], zeros behind."""
    missing = -x.shape[1] % size
    padding = [0, 0] * (x.ndim - 2) + [0, missing]
    return F.pad(x, padding).unflatten(1, (-1, size))


def _per_head(x: Tensor, heads: int, dim: int = -2) -> Tensor:
    """What a group's heads share, once for each of them."""
    return x.repeat_interleave(heads // x.shape[dim], dim=dim)
