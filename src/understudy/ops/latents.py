"""Vectors of categorical latents: mixing with the uniform, sampling, divergences with free bits.

DreamerV3 (Hafner et al., Nature 2025), "World model learning", equations 2 to 5. Latents have shape
[..., G, K]: G categoricals of K classes each.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unimix(logits: Tensor, mix: float = 0.01) -> Tensor:
    """Log-probabilities of (1 − mix) softmax(logits) + mix / K over the last axis.

    No class ever has less than mix / K, so that divergences and log-probabilities stay bounded.
    """
    if mix == 0:
        return logits.log_softmax(-1)
    return torch.log((1 - mix) * logits.softmax(-1) + mix / logits.shape[-1])


def sample_one_hot(p: Tensor, noise: Tensor) -> Tensor:
    """One draw per categorical as one-hot vectors; no gradient.

    Args:
        p: probabilities [..., K].
        noise: independent exponential variates of p's shape: the greatest p / noise is class k with
            probability p_k (the exponential race).
    """
    chosen = (p.detach() / noise).argmax(-1, keepdim=True)
    return torch.zeros_like(noise).scatter_(-1, chosen, 1.0)


def straight_through(one_hot: Tensor, p: Tensor) -> Tensor:
    """The sample going forward, the probabilities' gradient going back (Bengio et al., 2013)."""
    return one_hot + (p - p.detach())


def divergence(logp: Tensor, logq: Tensor) -> Tensor:
    """KL(p ‖ q) of vectors of categoricals, summed over both: [..., G, K] → [...]."""
    return (logp.exp() * (logp - logq)).sum((-2, -1))


def balanced_kl(logp: Tensor, logq: Tensor, free: float = 1.0) -> tuple[Tensor, Tensor]:
    """The dynamics and the representation loss (equation 4).

    max(free, KL(sg(p) ‖ q)) moves the prior q to the posterior p, max(free, KL(p ‖ sg(q))) the
    posterior to the prior. The divergence is summed over the latents and then clamped per element:
    an element that is already below `free` nats has no gradient, whatever the others do.

    Args:
        logp: posterior log-probabilities [..., G, K].
        logq: prior log-probabilities [..., G, K].
        free: nats that cost nothing.

    Returns:
        Both losses [...].
    """
    dynamics = divergence(logp.detach(), logq).clamp(min=free)
    representation = divergence(logp, logq.detach()).clamp(min=free)
    return dynamics, representation
