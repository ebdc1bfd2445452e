"""Symmetric logarithms, and scalars as distributions over exponentially spaced bins.

DreamerV3 (Hafner et al., Nature 2025), "Robust predictions". The version of 2023 (arXiv 2301.04104)
puts evenly spaced bins on symlog(y): it is `two_hot(symlog(y), even_bins(n))` and
`symexp(expected(...))`; the Nature version puts y itself on `symexp_bins(n)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

LIMIT = 20.0
"""Bins reach from -symexp(20) to symexp(20), as in the paper."""


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|) (equation 9): near 0 the identity, far from it a logarithm."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(|x|) − 1): the inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(x.abs())


def even_bins(count: int, limit: float = LIMIT) -> Tensor:
    """`count` (odd) evenly spaced values from -limit to limit; exactly symmetric about 0."""
    if count < 3 or count % 2 == 0:
        raise ValueError(f"bins must be odd and at least 3, not {count}")
    # linspace rounds its two halves differently: one half is made and mirrored.
    half = torch.linspace(-limit, 0.0, count // 2 + 1)
    return torch.cat([half, -half[:-1].flip(0)])


def symexp_bins(count: int, limit: float = LIMIT) -> Tensor:
    """Symexp of `even_bins` (equation 10): dense near 0, exactly symmetric about it."""
    return symexp(even_bins(count, limit))


def two_hot(x: Tensor, bins: Tensor) -> Tensor:
    """Weights on the two bins about each value, with mean x (equation 8).

    Args:
        x: values [...]; beyond the outermost bins they count as those.
        bins: rising values [K].

    Returns:
        Weights [..., K], at least 0, summing to 1, at most two of them not 0.
    """
    below, share = _between(x, bins)
    weights = torch.zeros(*x.shape, len(bins), dtype=x.dtype, device=x.device)
    weights.scatter_(-1, below[..., None], (1 - share)[..., None])
    return weights.scatter_(-1, below[..., None] + 1, share[..., None])


def _between(x: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """The bin below each value, and the weight of the one above."""
    x = x.clamp(bins[0], bins[-1])
    above = torch.searchsorted(bins, x.contiguous(), right=True).clamp(1, len(bins) - 1)
    below = above - 1
    return below, (x - bins[below]) / (bins[above] - bins[below])


def expected(logp: Tensor, bins: Tensor) -> Tensor:
    """Mean over `bins`, each counted with its mirror image.

    Bins of 10⁸ with opposite signs would leave rounding errors that drown small values; here only the
    difference of their probabilities is multiplied, so that equal ones give exactly 0.

    Args:
        logp: log-probabilities [..., K], K odd.
        bins: symmetric about 0 [K].

    Returns:
        Means [...].
    """
    p, half = logp.exp(), len(bins) // 2
    pairs = p[..., half + 1 :] - p[..., :half].flip(-1)
    return p[..., half] * bins[half] + pairs @ bins[half + 1 :]


def two_hot_loss(logp: Tensor, x: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy −Σ two_hot(x) log p in nats, read at the two bins alone.

    Args:
        logp: log-probabilities [..., K].
        x: constants [...], or several for each distribution [..., M].
        bins: rising values [K].

    Returns:
        Losses of x's shape.
    """
    if x.ndim < logp.ndim:
        return two_hot_loss(logp, x[..., None], bins)[..., 0]
    below, share = _between(x, bins)
    lower, upper = logp.gather(-1, torch.cat([below, below + 1], -1)).chunk(2, -1)
    return -((1 - share) * lower + share * upper)
