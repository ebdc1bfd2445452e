"""LaProp with adaptive gradient clipping and a linear warm-up, as DreamerV3 (Nature) trains.

LaProp (Ziyin et al., arXiv 2002.04839) divides by the root mean square first and takes the momentum
of that, so that no momentum is left of a gradient that was normalised by another scale. Adaptive
gradient clipping (Brock et al., arXiv 2102.06171) bounds each tensor's gradient by a share of the
tensor's own norm (theirs is unit-wise; Dreamer's, and this, is per tensor).
"""

# torch has no public name for operations on lists of tensors.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LaProp(torch.optim.Optimizer):
    """One optimizer for world model, actor and critic alike."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 4e-5,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
        clip: float = 0.3,
        warmup: int = 1000,
    ) -> None:
        """`clip` is AGC's share of a tensor's norm; 0 clips nothing. `warmup` counts steps."""
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "clip": clip, "warmup": warmup, "count": 0,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of all parameters that have a gradient."""
        if closure is not None:
            raise ValueError("LaProp takes no closure")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            group["count"] += 1
            grads = [p.grad for p in params]
            if group["clip"] > 0:
                grads = clip_adaptively(params, grads, group["clip"])
            for p in params:
                if not self.state[p]:
                    self.state[p] = {k: torch.zeros_like(p) for k in ("square", "momentum")}
            squares = [self.state[p]["square"] for p in params]
            momenta = [self.state[p]["momentum"] for p in params]
            _update(group, params, grads, squares, momenta)


def clip_adaptively(
    params: list[Tensor], grads: list[Tensor], clip: float, least: float = 1e-3
) -> list[Tensor]:
    """Scales each gradient g of a tensor p so that ‖g‖ ≤ clip · max(‖p‖, least)."""
    of_params = torch.stack(torch._foreach_norm(params))
    of_grads = torch.stack(torch._foreach_norm(grads))
    bounds = clip * of_params.clamp(min=least)
    scales = torch.where(of_grads > bounds, bounds / of_grads, 1.0)
    return list(torch._foreach_mul(grads, list(scales.unbind())))


def _update(
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    squares: list[Tensor],
    momenta: list[Tensor],
) -> None:
    """ν ← β₂ν + (1−β₂)g²; μ ← β₁μ + (1−β₁) g/(√ν̂ + ε); p ← p − lr μ̂. Hats remove the zero start."""
    (first, second), count = group["betas"], group["count"]
    torch._foreach_mul_(squares, second)
    torch._foreach_addcmul_(squares, grads, grads, 1 - second)
    scale = torch._foreach_sqrt(squares)
    torch._foreach_div_(scale, math.sqrt(1 - second**count))
    torch._foreach_add_(scale, group["eps"])
    torch._foreach_mul_(momenta, first)
    torch._foreach_addcdiv_(momenta, grads, scale, 1 - first)
    rate = group["lr"] * min(1.0, count / max(1, group["warmup"]))
    torch._foreach_add_(params, momenta, alpha=-rate / (1 - first**count))
