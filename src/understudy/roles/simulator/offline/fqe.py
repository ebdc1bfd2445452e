"""Fitted Q evaluation with networks: all policies and all bootstrap replicates side by side.

Le, Voloshin & Yue 2019 (arXiv 1903.08738): Q̂ is regressed on r + γ Σₐ π(a|s') Q̄(s', a), the second
term 0 where nothing follows and never outside what rewards allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.data.transitions import Floats, Offline, Scaler
from understudy.roles.simulator.offline.config import FqeConfig
from understudy.roles.simulator.offline.learn import value_scale
from understudy.roles.simulator.offline.networks import Networks, Target, restore, train


@dataclass(frozen=True, eq=False)
class NetworkFqe:
    """What R resamples of the people say of M policies; by convention the first is the data."""

    values: Floats
    """[R, M]"""
    drift: Floats
    """How far values still moved in the last fifth of the training, as a share of the range [M]."""
    residual: Floats
    """Root mean square Bellman residual over the data, as a share of the range [M]."""


def value_bounds(rewards: Floats, gamma: float) -> tuple[float, float]:
    """Between what no discounted return of these rewards [least, greatest, …] can be.

    An episode has one reward at least, and may end after it.
    """
    low, high = float(rewards.min()), float(rewards.max())
    return min(low, low / (1 - gamma)), max(high, high / (1 - gamma))


def fqe(
    data: Offline,
    policies: Sequence[tuple[Floats, Floats]],
    counts: Floats,
    config: FqeConfig,
    rng: np.random.Generator,
    *,
    gamma: float,
    bounds: tuple[float, float],
) -> NetworkFqe:
    """Evaluates policies on resamples of the people.

    Args:
        data: the people.
        policies: of each, π(a|s) at the decisions and π(a|s') at what followed, both [N, K].
        counts: how often each person is in each resample [R, P]; the first row all ones.
        config: of the networks.
        rng: of weights and batches; policies share the batches of a resample.
        gamma: discount per decision.
        bounds: least and greatest value, as of `value_bounds`.

    Raises:
        OfflineError: the training diverged.
    """
    many, resamples = len(policies), len(counts)
    scaler, scale = Scaler.fit(data), value_scale(data.rewards, gamma)
    networks = Networks(resamples * many, data.width, config.hidden, data.n_actions, rng)
    target = Target(networks, config.target_rate)
    states, following = (_float(scaler(x)) for x in (data.states, data.next_states))
    actions = torch.from_numpy(data.actions)
    next_shares = torch.stack([_float(after) for _, after in policies])
    rewards, discount = _float(data.rewards / scale), _float(gamma * ~data.done)
    low, high = (b / scale for b in bounds)
    which = torch.arange(many).repeat(resamples)[:, None]

    def goals(rows: Tensor, of: Networks) -> Tensor:
        """Targets [R · M, B]."""
        with torch.no_grad():
            shares = next_shares[which, rows]
            value = (of(following[rows]) * shares).sum(-1).clamp(low, high)
            return rewards[rows] + discount[rows] * value

    def loss(drawn: Tensor) -> Tensor:
        rows = drawn.repeat_interleave(many, dim=0)
        q = networks(states[rows]).gather(2, actions[rows][..., None])[..., 0]
        return (q - goals(rows, target.networks)).square().mean(1).sum()

    def values() -> Floats:
        with torch.no_grad():
            # The target is the online networks' mean over the last steps: less noise of batches.
            q = target.networks(states[data.starts].expand(resamples * many, -1, -1)).numpy()
        q = np.clip(q.astype(np.float64) * scale, *bounds).reshape(resamples, many, data.n, -1)
        shares = np.stack([now[data.starts] for now, _ in policies])
        return np.einsum("rp,rmpk,mpk->rm", counts, q, shares) / data.n

    earlier: list[Floats] = []

    def after(step: int) -> None:
        target.follow()
        if step == config.steps * 4 // 5:
            earlier.append(values())

    draw = _draw(data, counts, config.batch, rng)
    train(networks, loss, draw, steps=config.steps, learning_rate=config.learning_rate, after=after)
    found, span = values(), bounds[1] - bounds[0]
    with torch.no_grad():
        # Only of the first resample, the data: all replicates at all rows would be much memory.
        first = restore((many, *networks.shape[1:]), target.networks.flat[:many])
        q = first(states.expand(many, -1, -1)).gather(2, actions.expand(many, -1)[..., None])
        value = (first(following.expand(many, -1, -1)) * next_shares).sum(-1).clamp(low, high)
        error = q[..., 0] - rewards - discount * value
    return NetworkFqe(
        values=found,
        drift=np.abs(found[0] - earlier[0][0]) / span,
        residual=error.square().mean(1).sqrt().numpy().astype(np.float64) * scale / span,
    )


def _draw(
    data: Offline, counts: Floats, batch: int, rng: np.random.Generator
) -> Callable[[int], Tensor]:
    """Draws rows of each resample [n, R, B]: a person's rows as often as the person is there."""
    lists = [
        np.repeat(np.arange(len(data.actions)), some[data.person].astype(np.int64))
        for some in counts
    ]
    sizes = np.array([len(rows) for rows in lists])
    table = np.zeros((len(lists), sizes.max()), dtype=np.int64)
    for i, rows in enumerate(lists):
        table[i, : len(rows)] = rows

    def draw(n: int) -> Tensor:
        at = (rng.random((n, len(lists), batch)) * sizes[:, None]).astype(np.int64)
        return torch.from_numpy(table[np.arange(len(lists))[:, None], at])

    return draw


def _float(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
