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
    return _LinearScan.apply(a, b, h)


class _SelectiveScan(torch.autograd.Function):
    """The scan of `selective_scan`, one step's decays at a time: they are never all in memory."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `selective_scan`."""
        delta, u, a, inward, outward, keep, h = inputs
        ctx.set_materialize_grads(False)
        states = delta.new_empty(*delta.shape[:2], *a.shape)
        outputs = list[Tensor]()
        scaled = delta * u
        for t, state in enumerate(states.unbind(1)):
            torch.mul(inward[:, t, :, None], scaled[:, t, None], out=state)
            h = state.addcmul_(_decay(delta, a, keep, t), h)
            outputs.append(_across(outward[:, t], h))
        ctx.save_for_backward(*inputs, states)
        return torch.stack(outputs, dim=1), states

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Backwards in time; each step's decay is made again."""
        delta, u, a, inward, outward, keep, first, states = ctx.saved_tensors
        scaled, carry, of_a = delta * u, torch.zeros_like(first), torch.zeros_like(a)
        length = delta.shape[1]
        of_delta, of_scaled, of_inward, of_outward = ([None] * length for _ in range(4))
        of_y, of_states = grads
        for t in range(length - 1, -1, -1):
            if of_states is not None:
                carry = carry + of_states[:, t]
            if of_y is not None:
                carry = torch.addcmul(carry, outward[:, t, :, None], of_y[:, t, None])
                of_outward[t] = _along(states[:, t], of_y[:, t])
            of_scaled[t] = _across(inward[:, t], carry)
            of_inward[t] = _along(carry, scaled[:, t])
            carry = carry * _decay(delta, a, keep, t)
            exponent = carry * (states[:, t - 1] if t else first)
            of_delta[t] = (exponent * a).sum(1)
            of_a = of_a + (exponent * delta[:, t, None]).sum(0)
        of_scaled = torch.stack(of_scaled, dim=1)
        return (
            torch.stack(of_delta, dim=1) + of_scaled * u,
            of_scaled * delta,
            of_a,
            torch.stack(of_inward, dim=1),
            torch.stack(of_outward, dim=1) if of_y is not None else None,
            None,
            carry,
        )


def _decay(delta: Tensor, a: Tensor, keep: Tensor, t: int) -> Tensor:
    return (delta[:, t, None] * a).exp_().mul_(keep[:, t, None, None])


def _across(weights: Tensor, states: Tensor) -> Tensor:
    """[B, C] of weights [B, N] and states [B, N, C]."""
    return (weights[:, None] @ states).squeeze(1)


def _along(states: Tensor, channels: Tensor) -> Tensor:
    """[B, N] of states [B, N, C] and channels [B, C]."""
    return (states @ channels[..., None]).squeeze(-1)


def selective_scan(
    delta: Tensor,
    u: Tensor,
    a: Tensor,
    inward: Tensor,
    outward: Tensor,
    is_first: Tensor,
    h: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mamba's recurrence h_t = exp(δ_t a) h_{t-1} + δ_t u_t b_t, y_t = h_t c_t (Gu & Dao 2023, eq. 2).

    Args:
        delta: [B, T, C] step widths δ > 0.
        u: [B, T, C] inputs.
        a: [N, C] rates, below 0.
        inward: [B, T, N] b.
        outward: [B, T, N] c.
        is_first: [B, T] bool; where true, nothing is left of h_{t-1}.
        h: [B, N, C] the state before.

    Returns:
        Outputs y [B, T, C] and states [B, T, N, C]; both are differentiable, once.
    """
    keep = (~is_first).to(delta.dtype)
    return _SelectiveScan.apply(delta, u, a.contiguous(), inward, outward, keep, h)


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
