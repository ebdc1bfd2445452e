"""What the state-space cores compute over time: a linear recurrence and a short causal convolution.

Both begin anew inside a sequence wherever an episode does, and start from a given state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _LinearScan(torch.autograd.Function):
    """h_t = a_t · h_{t-1} + b_t, one pass forwards and one backwards, no graph of T nodes.

    Autograd over a loop that indexes a_t is quadratic in T: every index's backward writes a whole tensor.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h: Tensor) -> Tensor:
        """See `linear_scan`."""
        out = torch.empty_like(b)
        first = h
        for t, (a_t, b_t, out_t) in enumerate(
            zip(a.unbind(1), b.unbind(1), out.unbind(1), strict=True)
        ):
            h = torch.addcmul(b_t, a_t, first if t == 0 else h, out=out_t)
        ctx.save_for_backward(a, out, first)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of a, b and the first state: g_t = dL/dh_t + a_{t+1} · g_{t+1}."""
        a, out, first = ctx.saved_tensors
        total = torch.empty_like(out)
        steps = list(zip(grads[0].unbind(1), total.unbind(1), strict=True))
        decays = a.unbind(1)
        later = None
        for t in range(len(steps) - 1, -1, -1):
            grad, here = steps[t]
            if later is None:
                here.copy_(grad)
            else:
                torch.addcmul(grad, decays[t + 1], later, out=here)
            later = here
        previous = torch.cat([first[:, None], out[:, :-1]], dim=1)
        return total * previous, total, decays[0] * total[:, 0]


def linear_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """States [B, T, …] of h_t = a_t · h_{t-1} + b_t from h_{-1} = h [B, …]; a, b [B, T, …]."""
    return _LinearScan.apply(a.contiguous(), b.contiguous(), h.contiguous())


def convolve(x: Tensor, past: Tensor, weight: Tensor, bias: Tensor | None, age: Tensor) -> Tensor:
    """Depthwise causal convolution that sees nothing of earlier episodes.

    Args:
        x: [B, T, C].
        past: [B, K - 1, C] the inputs before.
        weight: [C, 1, K].
        bias: [C] or None.
        age: [B, T] how many inputs of its own episode come before each one (K or more alike).

    Returns:
        [B, T, C].
    """
    length, width = x.shape[1], weight.shape[-1]
    padded = torch.cat([past, x], dim=1)
    out = x * weight[:, 0, -1]
    if bias is not None:
        out = out + bias
    for back in range(1, width):
        shifted = padded[:, width - 1 - back : width - 1 - back + length]
        seen = (age >= back)[..., None].to(x.dtype)
        out = out + shifted * seen * weight[:, 0, width - 1 - back]
    return out


def ages(is_first: Tensor, limit: int) -> Tensor:
    """How long ago each step's episode began [B, T], or `limit` more where it was before the chunk."""
    time = torch.arange(is_first.shape[1], device=is_first.device)
    start = torch.where(is_first, time, -limit).cummax(dim=1).values
    return time - start


def pasts(x: Tensor, past: Tensor, age: Tensor, width: int) -> Tensor:
    """The last width - 1 inputs after each step [B, T, width - 1, C], zero where of an earlier episode."""
    padded = torch.cat([past, x], dim=1)
    windows = padded[:, 1:].unfold(1, width - 1, 1).transpose(2, 3)
    back = torch.arange(width - 2, -1, -1, device=x.device)
    return windows * (age[..., None] >= back)[..., None].to(x.dtype)


def segment_sums(a: Tensor) -> Tensor:
    """Sums [..., T, T] of a [..., T] over (s, t], at row t and column s; -inf where s > t.

    Made without differences of long sums, which would lose digits (Dao & Gu 2024, listing 1).
    """
    length = a.shape[-1]
    shape = (length, length)
    below = torch.ones(shape, dtype=torch.bool, device=a.device).tril(-1)
    terms = a[..., None].expand(*a.shape, length).masked_fill(~below, 0)
    above = ~torch.ones(shape, dtype=torch.bool, device=a.device).tril()
    return terms.cumsum(-2).masked_fill(above, -torch.inf)
