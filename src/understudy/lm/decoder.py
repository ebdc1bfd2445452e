"""Decoding with a Llama, many rows at once: prompts shared, weights fused, caches preallocated.

The weights are copied once per call: the norms' gains and the 1/√d of attention are folded into
the matrices behind them, query/key/value and gate/up become one matrix each, and an adapter is
merged. Each step is then a handful of matrix products: a row attends to its prompt's keys together
with all copies of the prompt (one product per prompt and head), and to its own suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.lm.llama import head_dim
from understudy.lm.lora import effective
from understudy.lm.matmul import linear

Linear = tuple[Tensor, Tensor | None]
"""Weight [out, in] and bias [out] of a linear layer."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's folded matrices; `qkv` pairs rotary features (2i, 2i+1)."""

    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear
    activation: Callable[[Tensor], Tensor]
    epsilon: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model ready to decode with. H query heads, KVH key and value heads, d features each."""

    embed: Tensor
    layers: tuple[Layer, ...]
    head: Linear
    epsilon: float
    inverse_frequencies: Tensor
    rope_scale: float
    heads: int
    kv_heads: int
    width: int


@torch.no_grad()
def fold(model: Any, *, adapter: bool = True, dtype: torch.dtype | None = None) -> Weights:
    """Copies the weights of `model` into the form `LlamaDecoder` runs on.

    `dtype`: of the copies; the embeddings, and with them the sums over layers, stay as they are.
    """
    config, body, d = model.config, model.model, head_dim(model)
    dtype = dtype or body.embed_tokens.weight.dtype

    def folded(module: Any, gain: Tensor | None = None) -> Linear:
        weight, bias = effective(module, adapter=adapter)
        weight = weight if gain is None else weight * gain
        return weight.to(dtype), None if bias is None else bias.to(dtype)

    def rotary(module: Any, gain: Tensor, scale: float = 1.0) -> Linear:
        weight, bias = folded(module, gain * scale)
        return _interleave(weight, d), None if bias is None else _interleave(bias * scale, d)

    def layer(block: Any) -> Layer:
        attention, mlp = block.self_attn, block.mlp
        before, after = block.input_layernorm, block.post_attention_layernorm
        return Layer(
            qkv=_stack(
                rotary(attention.q_proj, before.weight, attention.scaling),
                rotary(attention.k_proj, before.weight),
                folded(attention.v_proj, before.weight),
            ),
            out=folded(attention.o_proj),
            gate_up=_stack(folded(mlp.gate_proj, after.weight), folded(mlp.up_proj, after.weight)),
            down=folded(mlp.down_proj),
            activation=mlp.act_fn,
            epsilon=(before.variance_epsilon, after.variance_epsilon),
        )

    return Weights(
        embed=body.embed_tokens.weight,
        layers=tuple(layer(block) for block in body.layers),
        head=folded(model.lm_head, body.norm.weight),
        epsilon=body.norm.variance_epsilon,
        inverse_frequencies=body.rotary_emb.inv_freq,
        rope_scale=float(body.rotary_emb.attention_scaling),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        width=d,
    )


def _interleave(weight: Tensor, d: int) -> Tensor:
    """Reorders each head's features from halves (i, i + d/2) to neighbours (2i, 2i + 1).

    Queries and keys are reordered alike, so their products do not change, and a pair can be
    rotated as one complex number.
    """
    return weight.view(-1, 2, d // 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def _stack(*parts: Linear) -> Linear:
    """Several linear layers with one input as one; either all have a bias or none."""
    biases = [bias for _, bias in parts if bias is not None]
    return torch.cat([weight for weight, _ in parts]), torch.cat(biases) if biases else None


class LlamaDecoder:
    """Feeds U·G rows token by token. `prefill` once, then `step`; both give logits [U·G, V]."""

    def __init__(self, weights: Weights) -> None:
        self._w = weights
        self._device = weights.embed.device
        self._dtype = weights.head[0].dtype

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]], copies: int, max_tokens: int) -> Tensor:
        """Encodes each prompt once; logits of the first token, copies fastest.

        At most `max_tokens` steps may follow.
        """
        w, longest = self._w, max(map(len, prompts))
        ids = torch.tensor([[*p, *[0] * (longest - len(p))] for p in prompts], device=self._device)
        lengths = torch.tensor([len(p) for p in prompts], device=self._device)
        self._copies, self._time, self._split = copies, 0, longest
        self._positions = lengths.repeat_interleave(copies)
        self._turns = self._rotations(longest + max_tokens)
        hidden_bias = torch.arange(longest, device=self._device) >= lengths[:, None]
        bias = torch.zeros(hidden_bias.shape, dtype=self._dtype, device=self._device)
        bias = bias.masked_fill_(hidden_bias, -torch.inf)
        self._bias = bias.repeat_interleave(w.kv_heads, 0)[:, None] if hidden_bias.any() else None
        self._prompt_kv: list[tuple[Tensor, Tensor]] = []
        x = F.embedding(ids, w.embed)
        for layer in w.layers:
            x = self._encode(layer, x)
        shape = (len(prompts) * w.kv_heads * copies, max_tokens, w.width)
        self._own_kv = [
            (
                torch.empty(shape, dtype=self._dtype, device=self._device),
                torch.empty(shape, dtype=self._dtype, device=self._device),
            )
            for _ in w.layers
        ]
        last = x[torch.arange(len(prompts), device=self._device), lengths - 1]
        return self._logits(last).repeat_interleave(copies, 0)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Feeds one token [U·G] per row; logits [U·G, V] of the next."""
        turns = self._turns[self._positions + self._time][:, None]
        x = F.embedding(tokens, self._w.embed)
        for index, layer in enumerate(self._w.layers):
            mixed = self._attend(index, layer, x, turns)
            x = x + linear(mixed, *layer.out)
            x = x + self._feed(layer, x)
        self._time += 1
        return self._logits(x)

    @torch.inference_mode()
    def keep(self, prompts: Sequence[int]) -> None:
        """Forgets all prompts but these, with their rows."""
        count = len(self._positions) // self._copies
        places = torch.tensor(prompts, device=self._device)

        def select(rows: Tensor) -> Tensor:
            return rows.unflatten(0, (count, -1))[places].flatten(0, 1)

        self._positions = select(self._positions)
        self._bias = None if self._bias is None else select(self._bias)
        self._prompt_kv = [(select(k), select(v)) for k, v in self._prompt_kv]
        self._own_kv = [(select(k), select(v)) for k, v in self._own_kv]

    def _attend(self, index: int, layer: Layer, x: Tensor, turns: Tensor) -> Tensor:
        """Attention [B, H·d] of one new token per row to its prompt and to its own suffix."""
        w, now = self._w, self._time + 1
        query, key, value = self._qkv(layer, x, turns)
        rep, split = w.heads // w.kv_heads, self._split
        # [U, G, KVH, ...] to [U, KVH, G, ...]: the copies of a prompt share one product per head.
        query = query.reshape(-1, self._copies, w.kv_heads, rep, w.width).transpose(1, 2)
        query = query.reshape(-1, self._copies * rep, w.width)
        prompt_keys, prompt_values = self._prompt_kv[index]
        keys, values = self._own_kv[index]
        for cache, new in ((keys, key), (values, value)):
            new = new.reshape(-1, self._copies, w.kv_heads, w.width).transpose(1, 2)
            cache.view(*new.shape[:3], -1, w.width)[..., now - 1, :] = new
        to_prompt = torch.bmm(query, prompt_keys)
        if self._bias is not None:
            to_prompt += self._bias
        own = torch.bmm(keys[:, :now], query.view(-1, rep, w.width).transpose(1, 2))
        own = own.transpose(1, 2).reshape(*to_prompt.shape[:2], now)
        weights = torch.cat([to_prompt, own], dim=-1).softmax(dim=-1).to(self._dtype)
        mixed = torch.bmm(weights[..., :split], prompt_values).view(-1, rep, w.width)
        mixed = mixed.baddbmm_(weights[..., split:].view(-1, rep, now), values[:, :now])
        mixed = mixed.view(-1, w.kv_heads, self._copies, rep, w.width).transpose(1, 2)
        return mixed.reshape(x.shape[0], -1)

    def _encode(self, layer: Layer, x: Tensor) -> Tensor:
        """One layer over whole prompts [U, P, D]; keeps their keys and values."""
        w = self._w
        query, key, value = self._qkv(layer, x, self._turns[: x.shape[1], None])
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        self._prompt_kv.append(
            (
                key.transpose(2, 3).flatten(0, 1).contiguous(),
                value.flatten(0, 1).contiguous(),
            )
        )
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=1.0, enable_gqa=w.heads != w.kv_heads
        )
        x = x + linear(mixed.transpose(1, 2).flatten(2), *layer.out)
        return x + self._feed(layer, x)

    def _qkv(self, layer: Layer, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, keys, and values [..., heads, d] of x [..., D]."""
        w = self._w
        flat = linear(F.rms_norm(x, x.shape[-1:], eps=layer.epsilon[0]), *layer.qkv)
        flat = flat.view(*x.shape[:-1], -1, w.width)
        turning, value = flat.split([w.heads + w.kv_heads, w.kv_heads], dim=-2)
        pairs = torch.view_as_complex(turning.to(turns.real.dtype).unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turns).flatten(-2).to(flat.dtype)
        query, key = turned.split([w.heads, w.kv_heads], dim=-2)
        return query, key, value

    def _feed(self, layer: Layer, x: Tensor) -> Tensor:
        both = linear(F.rms_norm(x, x.shape[-1:], eps=layer.epsilon[1]), *layer.gate_up)
        gate, up = both.chunk(2, dim=-1)
        return linear(layer.activation(gate) * up, *layer.down)

    def _logits(self, x: Tensor) -> Tensor:
        normed = F.rms_norm(x, x.shape[-1:], eps=self._w.epsilon)
        return linear(normed, *self._w.head)

    def _rotations(self, length: int) -> Tensor:
        """e^{i·position·frequency} [length, d/2], times the scaling some rotary schemes use."""
        work = torch.promote_types(self._dtype, torch.float32)
        positions = torch.arange(length, dtype=torch.float32, device=self._device)
        angles = torch.outer(positions, self._w.inverse_frequencies.float()).to(work)
        return torch.polar(torch.full_like(angles, self._w.rope_scale), angles)
