"""The forward pass for training over a transformers Llama's own weights, with prompts shared.

A prompt is encoded once and all its completions attend to it, so a group of G completions costs
P + G·L tokens instead of G·(P + L). The numbers are those of the model's own forward.

Left out: sliding windows, rotary scalings that depend on the length ("dynamic", "longrope"),
attention dropout. `why_not` says so, and such models take the slower path in `generate.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

from understudy.lm.lora import is_linear, project
from understudy.lm.packed import Packed, attend

STATIC_ROPE = frozenset({"default", "linear", "llama3", "yarn"})
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def why_not(model: Any) -> str | None:
    """Why this module's arithmetic does not cover `model`; None when it does."""
    if type(model) not in (LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM):
        return f"{type(model).__name__} is not Llama, Qwen2 or Mistral"
    config = model.config
    rope = config.rope_parameters or {}
    if rope.get("rope_type", "default") not in STATIC_ROPE:
        return f"rotary scaling {rope.get('rope_type')!r} depends on the length"
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        return "sliding-window attention"
    if isinstance(model, MistralForCausalLM) and config.sliding_window is not None:
        return "sliding-window attention"
    if 2 * model.model.rotary_emb.inv_freq.numel() != head_dim(model):
        return "partial rotary embedding"
    for layer in model.model.layers:
        for name in PROJECTIONS:
            owner = layer.self_attn if hasattr(layer.self_attn, name) else layer.mlp
            if not is_linear(getattr(owner, name)):
                return f"{name} is neither a linear layer nor plain LoRA over one"
    return None if is_linear(model.lm_head) else "the output layer is not linear"


def head_dim(model: Any) -> int:
    """Features per attention head."""
    config = model.config
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


@dataclass(frozen=True, slots=True)
class Batch:
    """U prompts and the B completions that follow them."""

    prompts: Tensor
    """[U, P] token ids, right-padded."""
    prompt_lengths: Tensor
    """[U]."""
    owners: Tensor
    """[B] the prompt of each completion, ascending."""
    completions: Tensor
    """[B, L] token ids, right-padded."""


def completion_hidden(
    model: Any, batch: Batch, *, adapter: bool = True, checkpointing: bool = False
) -> Tensor:
    """Hidden states [B, L, D] that predict each token of the completions.

    Position 0 is the prompt's last hidden state; the last token of a completion is never fed.
    `adapter=False` leaves a LoRA adapter out; `checkpointing` keeps a block's inputs alone.
    """
    body = model.model
    fed = batch.completions[:, :-1]
    prompt = body.embed_tokens(batch.prompts)
    own = body.embed_tokens(fed)
    positions = torch.arange(prompt.shape[1], device=prompt.device)[None]
    own_positions = batch.prompt_lengths[batch.owners, None] + torch.arange(
        fed.shape[1], device=prompt.device
    )
    rope = body.rotary_emb(prompt, positions)
    own_rope = body.rotary_emb(prompt, own_positions)
    mask = _visible(batch, fed.shape[1])

    def both(layer: Any, prompt: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []

        def alone(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            kept[:] = key, value
            return _attention(layer, query, key, value)

        prompt = _block(layer, prompt, rope, alone, adapter=adapter)
        if not fed.shape[1]:
            return prompt, own

        def behind(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys = torch.cat([kept[0][batch.owners], key], dim=2)
            values = torch.cat([kept[1][batch.owners], value], dim=2)
            return _attention(layer, query, keys, values, mask)

        return prompt, _block(layer, own, own_rope, behind, adapter=adapter)

    for layer in body.layers:
        prompt, own = _passed(checkpointing, both, layer, prompt, own)
    rows = torch.arange(prompt.shape[0], device=prompt.device)
    last = prompt[rows, batch.prompt_lengths - 1][batch.owners, None]
    return body.norm(torch.cat([last, own], dim=1))


def _visible(batch: Batch, length: int) -> Tensor:
    """[B, 1, length, P + length]: the prompt's real tokens, and the completion up to oneself."""
    device = batch.prompts.device
    real = torch.arange(batch.prompts.shape[1], device=device) < batch.prompt_lengths[:, None]
    seen = real[batch.owners, None, None].expand(-1, 1, length, -1)
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return torch.cat([seen, causal.expand(seen.shape[0], 1, -1, -1)], dim=-1)


def packed_hidden(
    model: Any, packed: Packed, *, adapter: bool = True, checkpointing: bool = False
) -> Tensor:
    """Hidden states [M, D] that predict each token of the completions, without any padding."""
    body = model.model
    x = body.embed_tokens(packed.ids)[None]
    rope = body.rotary_emb(x, packed.positions)

    def one(layer: Any, x: Tensor) -> Tensor:
        def within(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
            return attend(layer.self_attn, q, k, v, packed)[None]

        return _block(layer, x, rope, within, adapter=adapter)

    for layer in body.layers:
        x = _passed(checkpointing, one, layer, x)
    return body.norm(x[0].index_select(0, packed.predicting))


def _passed(checkpointing: bool, block: Callable[..., Any], *args: Any) -> Any:
    """`block(*args)`; if checkpointed, only the arguments are kept, and the rest is made again."""
    if not checkpointing or not torch.is_grad_enabled():
        return block(*args)
    # There is no dropout, so no state of a generator to keep.
    return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False)


def _attention(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """What queries [N, H, L, d] see under `mask`, causal if there is none: [N, L, H·d]."""
    mixed = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=layer.self_attn.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return mixed.transpose(1, 2).flatten(2)


def _block(
    layer: Any,
    x: Tensor,
    rope: tuple[Tensor, Tensor],
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    *,
    adapter: bool,
) -> Tensor:
    """One decoder layer over x [N, L, D].

    `attend` makes [N, L, H·d] of queries [N, H, L, d], keys and values [N, KVH, L, d].
    """
    attention, mlp = layer.self_attn, layer.mlp

    def heads(module: nn.Module, normed: Tensor) -> Tensor:
        flat = project(module, normed, adapter=adapter)
        return flat.view(*normed.shape[:2], -1, attention.head_dim).transpose(1, 2)

    normed = layer.input_layernorm(x)
    query = _rotate(heads(attention.q_proj, normed), *rope)
    key = _rotate(heads(attention.k_proj, normed), *rope)
    mixed = attend(query, key, heads(attention.v_proj, normed))
    x = x + project(attention.o_proj, mixed, adapter=adapter)
    normed = layer.post_attention_layernorm(x)
    gate = mlp.act_fn(project(mlp.gate_proj, normed, adapter=adapter))
    up = project(mlp.up_proj, normed, adapter=adapter)
    return x + project(mlp.down_proj, gate * up, adapter=adapter)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [N, H, L, d] (Su et al. 2021, eq. 34), halves paired."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cos.unsqueeze(1) + turned * sin.unsqueeze(1)
