"""The forward pass for training over a transformers Llama's own weights, with prompts shared.

A prompt is encoded once and all its completions attend to it, so a group of G completions costs
P + G·L tokens instead of G·(P + L). The numbers are those of the model's own forward.

Left out: sliding windows, rotary scalings that depend on the length ("dynamic", "longrope"),
attention dropout. `why_not` says so, and such models take the slower path in `generate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

from understudy.lm.lora import is_linear, project

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


def completion_hidden(model: Any, batch: Batch, *, adapter: bool = True) -> Tensor:
    """Hidden states [B, L, D] that predict each token of the completions.

    Position 0 is the prompt's last hidden state; the last token of a completion is never fed.
    `adapter=False` leaves a LoRA adapter out.
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
    for layer in body.layers:
        prompt, key, value = _block(layer, prompt, rope, adapter=adapter)
        if fed.shape[1]:
            past = (key[batch.owners], value[batch.owners])
            own, _, _ = _block(layer, own, own_rope, adapter=adapter, past=past, mask=mask)
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


def _block(
    layer: Any,
    x: Tensor,
    rope: tuple[Tensor, Tensor],
    *,
    adapter: bool,
    past: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One decoder layer over x [N, L, D]; also its keys and values [N, KVH, L, d]."""
    attention, mlp = layer.self_attn, layer.mlp

    def heads(module: nn.Module, normed: Tensor) -> Tensor:
        flat = project(module, normed, adapter=adapter)
        return flat.view(*normed.shape[:2], -1, attention.head_dim).transpose(1, 2)

    normed = layer.input_layernorm(x)
    query = _rotate(heads(attention.q_proj, normed), *rope)
    key = _rotate(heads(attention.k_proj, normed), *rope)
    value = heads(attention.v_proj, normed)
    keys, values = key, value
    if past is not None:
        keys, values = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    mixed = F.scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=attention.scaling,
        enable_gqa=query.shape[1] != keys.shape[1],
    )
    x = x + project(attention.o_proj, mixed.transpose(1, 2).flatten(2), adapter=adapter)
    normed = layer.post_attention_layernorm(x)
    gate = mlp.act_fn(project(mlp.gate_proj, normed, adapter=adapter))
    up = project(mlp.up_proj, normed, adapter=adapter)
    return x + project(mlp.down_proj, gate * up, adapter=adapter), key, value


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [N, H, L, d] (Su et al. 2021, eq. 34), halves paired."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cos.unsqueeze(1) + turned * sin.unsqueeze(1)
