"""Small layers of the world model, and the one place where they get their first weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy import ops

ROWS = 512
"""Values read off at once."""


class RMSNorm(nn.Module):
    """x / √(mean x² + 10⁻⁴), times a learned scale; no offset, as in DreamerV3 (Nature)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Over the last axis, in float32 whatever x is."""
        return F.rms_norm(x.float(), self.scale.shape, self.scale, 1e-4).to(x.dtype)


class Linear(nn.Linear):
    """A linear layer that remembers how large its first weights are to be."""

    def __init__(
        self, inputs: int, outputs: int, *, outscale: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.outscale = outscale


class MLP(nn.Sequential):
    """Layers of Linear, RMSNorm and SiLU, and a plain last one where `outputs` is given."""

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        outputs: int | None = None,
        outscale: float = 1.0,
    ) -> None:
        parts = list[nn.Module]()
        for _ in range(layers):
            parts += [Linear(inputs, units), RMSNorm(units), nn.SiLU()]
            inputs = units
        if outputs is not None:
            parts.append(Linear(inputs, outputs, outscale=outscale))
        super().__init__(*parts)
        self.width = inputs if outputs is None else outputs


class TwoHotHead(nn.Module):
    """A scalar as a distribution over bins; zero weights in its last layer predict exactly 0."""

    bins: Tensor

    def __init__(self, inputs: int, units: int, layers: int, bins: int, *, even: bool) -> None:
        """`even`: bins of 2023, evenly spaced on symlog(y); else symexp-spaced bins on y itself."""
        super().__init__()
        self.even = even
        self.net = MLP(inputs, units, layers, bins, outscale=0.0)
        made = ops.even_bins(bins) if even else ops.symexp_bins(bins)
        self.register_buffer("bins", made, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [..., K] of features [..., D]."""
        return self.net(x).float().log_softmax(-1)

    def mean(self, logp: Tensor) -> Tensor:
        """The value [...] that log-probabilities [..., K] stand for."""
        found = ops.expected(logp, self.bins)
        return ops.symexp(found) if self.even else found

    @torch.no_grad()
    def value(self, x: Tensor) -> Tensor:
        """The value [...] of features [..., D], without a gradient.

        Few rows at a time: their log-probabilities, far larger than the values, then stay in the cache.
        """
        found = [self.mean(self(rows)) for rows in x.flatten(0, -2).split(ROWS)]
        return torch.cat(found).view(x.shape[:-1])

    def loss(self, logp: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy [...] to the two-hot target."""
        return ops.two_hot_loss(logp, ops.symlog(target) if self.even else target, self.bins)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Truncated normal weights of variance 1 / fan-in times outscale², zero biases.

    Touches the layers of this file and convolutions only: a core sets its own weights, which may be
    pretrained ones.
    """
    for layer in module.modules():
        if isinstance(layer, Linear):
            _fill(layer.weight, layer.in_features, layer.outscale, generator)
        elif isinstance(layer, nn.Conv2d):
            _fill(layer.weight, math.prod(layer.weight.shape[1:]), 1.0, generator)
        elif isinstance(layer, nn.Embedding):
            _fill(layer.weight, layer.embedding_dim, 1.0, generator)
        else:
            continue
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)


CUT = 0.87962566103423978
"""Standard deviation of a standard normal cut at ±2."""


def _fill(weight: Tensor, fan_in: int, scale: float, generator: torch.Generator) -> None:
    if scale == 0:
        nn.init.zeros_(weight)
        return
    deviation = scale / math.sqrt(fan_in) / CUT
    nn.init.trunc_normal_(
        weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator
    )


def one_hot(index: Tensor, classes: int) -> Tensor:
    """Float one-hot vectors [..., classes] of integers [...]."""
    return F.one_hot(index.long(), classes).float()


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Along the last axis; one part as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), -1)
