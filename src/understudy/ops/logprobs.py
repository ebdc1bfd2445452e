"""Log-probabilities of chosen tokens without the [B, L, V] table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK = 1 << 22
"""Most logits held at once (16 MiB in single precision)."""

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def selective_log_softmax(logits_BLV: Tensor, ids_BL: Tensor) -> Tensor:
    """Log softmax(logits)[id] = logit[id] − logsumexp(logits), [B, L]; no table of log-probabilities."""
    chosen = logits_BLV.gather(-1, ids_BL[..., None])[..., 0]
    return chosen - logits_BLV.logsumexp(-1)


def token_logprobs(
    hidden_BLD: Tensor,
    weight_VD: Tensor,
    ids_BL: Tensor,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    *,
    product: Product = F.linear,
    chunk: int = CHUNK,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Log-probabilities [B, L] of ids under softmax((W h + b) / temperature).

    Where B · L · V is more than `chunk`, positions go through the
    head in parts whose logits are made again in the backward pass, so that neither pass ever holds
    more than `chunk` of them; then the result can be differentiated once.

    Args:
        hidden_BLD: hidden states that predict each token.
        weight_VD: the output layer.
        ids_BL: the tokens.
        temperature: of the distribution.
        bias_V: the output layer's bias, if any.
        product: how matrices are multiplied, x · weightᵀ + bias.
        chunk: most logits held at once.
        dtype: of the sums over the vocabulary, for which half precision is too coarse, and of the
            result, whatever the type of the weights.

    Raises:
        ValueError: there is not one hidden state per token, or the temperature is not positive.
    """
    if hidden_BLD.shape[:-1] != ids_BL.shape:
        raise ValueError(
            f"token_logprobs: hidden states {list(hidden_BLD.shape)} for tokens "
            f"{list(ids_BL.shape)}; there must be one per token"
        )
    if temperature <= 0:
        raise ValueError(f"token_logprobs: temperature is {temperature}; it must be above 0")
    rows = max(1, chunk // len(weight_VD))
    if ids_BL.numel() <= rows:
        logits = product(hidden_BLD, weight_VD, bias_V).to(dtype)
        # A division by 1 would be one more copy of the logits, in both passes.
        scaled = logits if temperature == 1 else logits / temperature
        return selective_log_softmax(scaled, ids_BL)
    head = _Head(product, temperature, dtype, rows)
    flat: Any = _InParts.apply(hidden_BLD.flatten(0, -2), weight_VD, ids_BL.flatten(), bias_V, head)
    return flat.view(ids_BL.shape)


class _Head(NamedTuple):
    """How a part's logits are made, the first time and again."""

    product: Product
    temperature: float
    dtype: torch.dtype
    rows: int

    def logits(self, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        logits = self.product(hidden_ND, weight_VD, bias_V).to(self.dtype)
        return logits if self.temperature == 1 else logits.div_(self.temperature)


class _InParts(torch.autograd.Function):
    """`rows` positions at a time. With p = softmax(z / τ): ∂ log p[id] / ∂z = (1[id] − p) / τ."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        ids_N: Tensor,
        bias_V: Tensor | None,
        head: _Head,
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, ids_N, bias_V)
        ctx.head = head
        parts = zip(hidden_ND.split(head.rows), ids_N.split(head.rows), strict=True)
        return torch.cat(
            [selective_log_softmax(head.logits(h, weight_VD, bias_V), i) for h, i in parts]
        )

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, ids_N, bias_V = ctx.saved_tensors
        head: _Head = ctx.head
        for_hidden, for_weight, _, for_bias, *_ = ctx.needs_input_grad
        # Sums over parts are kept in the wider type: many small halves would be lost.
        wide = torch.promote_types(weight_VD.dtype, torch.float32)
        d_hidden = torch.empty_like(hidden_ND) if for_hidden else None
        d_weight = torch.zeros_like(weight_VD, dtype=wide) if for_weight else None
        d_bias = torch.zeros_like(bias_V, dtype=wide) if for_bias else None
        for start in range(0, len(ids_N), head.rows):
            part = slice(start, start + head.rows)
            hidden, ids, grad = hidden_ND[part], ids_N[part, None], grads[0][part, None]
            grad = grad / head.temperature
            d_logits = head.logits(hidden, weight_VD, bias_V).softmax(-1).mul_(-grad)
            d_logits.scatter_add_(-1, ids, grad)
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden_ND.dtype)
            if d_hidden is not None:
                d_hidden[part] = head.product(d_logits, weight_VD.t(), None)
            if d_weight is not None:
                d_weight += head.product(d_logits.t(), hidden.t(), None)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(weight_VD.dtype),
            None,
            None if d_bias is None else d_bias.to(bias_V.dtype),
            None,
        )
