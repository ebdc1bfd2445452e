"""Many small networks of one shape, trained side by side: one product of matrices for all.

Their leading axis M runs over bootstrap replicates, policies or folds; M = 1 is one network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from understudy.roles.simulator.offline.config import OfflineError

FLOOR = 0.1
"""The share of the learning rate that is left at the end."""
CHUNK = 256
"""Gradient steps whose batches are drawn at once."""


class Networks(nn.Module):
    """M networks: two hidden layers, each with LayerNorm and ReLU; states [M, B, D] to [M, B, K]."""

    def __init__(
        self, count: int, width: int, hidden: int, out: int, rng: np.random.Generator
    ) -> None:
        """Weights and biases uniform within ±1/√fan-in, each network its own, all from `rng`."""
        super().__init__()
        self.shape = (count, width, hidden, out)
        self._parts = [
            *[(width, hidden), (1, hidden), (1, hidden), (1, hidden)],  # weight, bias, gain, shift
            *[(hidden, hidden), (1, hidden), (1, hidden), (1, hidden)],
            *[(hidden, out), (1, out)],
        ]
        bounds = [width, width, 0, 0, hidden, hidden, 0, 0, hidden, hidden]
        drawn = [
            rng.uniform(-1, 1, (count, a * b)) / math.sqrt(fan_in)
            if fan_in
            else np.full((count, a * b), float(at in (2, 6)))  # the gain is 1, the shift 0
            for at, ((a, b), fan_in) in enumerate(zip(self._parts, bounds, strict=True))
        ]
        # One flat row per network: its optimiser, its target and its gradient's norm are one
        # operation each.
        flat = np.concatenate(drawn, axis=1).astype(np.float32)
        self.flat = nn.Parameter(torch.from_numpy(flat))

    def forward(self, x: Tensor) -> Tensor:
        """[M, B, D] to [M, B, K]."""
        count, _, hidden, _ = self.shape
        cut = self.flat.split([a * b for a, b in self._parts], dim=1)
        parts = [p.view(count, a, b) for p, (a, b) in zip(cut, self._parts, strict=True)]
        for i in (0, 4):
            x = torch.baddbmm(parts[i + 1], x, parts[i])
            x = nn.functional.layer_norm(x, (hidden,))
            x = torch.relu(torch.addcmul(parts[i + 3], x, parts[i + 2]))
        return torch.baddbmm(parts[9], x, parts[8])


class Target:
    """The slow copy of networks that their own targets are computed by."""

    def __init__(self, online: Networks, rate: float, every: int = 0) -> None:
        """Soft steps of `rate`, or a hard copy `every` so many steps."""
        self.networks = restore(online.shape, online.flat.detach().clone()).requires_grad_(False)
        self._online, self._rate, self._every, self._steps = online, rate, every, 0

    def follow(self) -> None:
        """One step after the online networks."""
        self._steps += 1
        if not self._every:
            self.networks.flat.data.lerp_(self._online.flat.data, self._rate)
        elif self._steps % self._every == 0:
            self.networks.flat.data.copy_(self._online.flat.data)


def restore(shape: tuple[int, int, int, int], flat: Tensor) -> Networks:
    """Networks of a stored shape and weights.

    Raises:
        OfflineError: they do not fit each other.
    """
    networks = Networks(*shape, np.random.default_rng(0))
    if networks.flat.shape != flat.shape:
        raise OfflineError(
            f"weights {tuple(flat.shape)} do not fit networks of {tuple(networks.flat.shape)}"
        )
    networks.flat.data = flat
    return networks


def train(
    networks: Networks,
    loss: Callable[[Tensor], Tensor],
    draw: Callable[[int], Tensor],
    *,
    steps: int,
    learning_rate: float,
    clip: float = 0.0,
    after: Callable[[int], None] | None = None,
) -> None:
    """Adam on a loss of rows, drawn many batches ahead.

    Args:
        networks: what is trained.
        loss: of the rows of one batch [M, B]; the sum of the M networks' own losses.
        draw: the rows of the next n batches [n, M, B].
        steps: gradient steps.
        learning_rate: at the start.
        clip: greatest norm of each network's gradient; 0 for none.
        after: called after each step with its number.

    Raises:
        OfflineError: the loss is no longer finite.
    """
    optimizer = torch.optim.Adam([networks.flat], lr=learning_rate, fused=True)
    rows = draw(min(CHUNK, steps))
    for step in range(steps):
        at = step % CHUNK
        if at == 0 and step:
            rows = draw(min(CHUNK, steps - step))
        value = loss(rows[at])
        (gradient,) = torch.autograd.grad(value, [networks.flat])
        if clip:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient.mul_((clip / norm.clamp_min(1e-12)).clamp_max(1.0))
        networks.flat.grad = gradient
        falling = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = learning_rate * (FLOOR + (1 - FLOOR) * falling)
        optimizer.step()
        if after is not None:
            after(step)
        if at == CHUNK - 1 and not math.isfinite(float(value.detach())):
            raise OfflineError(f"the loss is {float(value.detach())} after {step + 1} steps")
