"""Log-probabilities of chosen tokens without the [B, L, V] table of all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

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
    *,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    product: Product = F.linear,
    chunk: int = CHUNK,
) -> Tensor:
    """Log-probabilities [B, L] of ids under softmax((W h + b) / temperature), in single precision.

    Where B · L · V is more than `chunk`, positions go through the head in parts whose logits are
    made again in the backward pass, so that neither pass ever holds more than `chunk` of them.

    Args:
        hidden_BLD: hidden states that predict each token.
        weight_VD: the output layer.
        ids_BL: the tokens.
        temperature: of the distribution.
        bias_V: the output layer's bias, if any.
        product: how hidden states are multiplied with the output layer.
        chunk: most logits held at once.
    """

    def score(hidden: Tensor, ids: Tensor) -> Tensor:
        return selective_log_softmax(product(hidden, weight_VD, bias_V).float() / temperature, ids)

    rows = max(1, chunk // len(weight_VD))
    if ids_BL.numel() <= rows:
        return score(hidden_BLD, ids_BL)
    parts = zip(hidden_BLD.flatten(0, 1).split(rows), ids_BL.flatten().split(rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([score(*part) for part in parts]).view(ids_BL.shape)
    scored = [
        checkpoint(score, *part, use_reentrant=False, preserve_rng_state=False) for part in parts
    ]
    return torch.cat([s for s in scored if s is not None]).view(ids_BL.shape)
