"""Policies from offline data: Double DQN, discrete CQL, behaviour cloning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.data.transitions import Floats, Offline, Scaler
from understudy.roles.simulator.offline.config import LearnConfig
from understudy.roles.simulator.offline.networks import Networks, Target, train
from understudy.roles.simulator.offline.policies import Learned

Progress = Callable[[int, Learned], None]
"""Called every so often with the steps done and the policy as it is."""


def learn(
    data: Offline,
    config: LearnConfig,
    rng: np.random.Generator,
    *,
    name: str = "",
    every: int = 0,
    progress: Progress | None = None,
) -> Learned:
    """A policy from the training people's transitions.

    Double DQN (arXiv 1509.06461, equation 4) regresses Q(s, a) on r + γ Q̄(s', argmaxₐ Q(s', a)),
    without the second term where nothing follows; CQL (arXiv 2006.04779, equation 4) adds
    α (log Σₐ exp Q(s, a) − Q(s, a)) for the action taken; cloning is the cross-entropy of actions.

    Args:
        data: the training people.
        config: how.
        rng: of the weights and the batches; its state decides the policy to the last bit.
        name: what the policy is called; the method's name without it.
        every: gradient steps between two calls of `progress`.
        progress: sees the policy on the way, as for selecting or pruning; may raise to stop.

    Raises:
        OfflineError: the training diverged.
    """
    scaler = Scaler.fit(data)
    networks = Networks(1, data.width, config.hidden, data.n_actions, rng)
    scale = 1.0 if config.method == "bc" else value_scale(data.rewards, config.gamma)
    learned = Learned(
        networks,
        scaler,
        greedy=config.method != "bc",
        name=name or config.method,
        scale=scale,
        record=json.dumps({"people": data.n, "decisions": len(data.actions), **asdict(config)}),
    )
    target = Target(networks, config.target_rate, config.target_every)

    def after(step: int) -> None:
        target.follow()
        if progress is not None and every and (step + 1) % every == 0:
            progress(step + 1, learned)

    train(
        networks,
        _loss(data, config, scaler, scale, networks, target),
        lambda n: torch.from_numpy(rng.integers(len(data.actions), size=(n, config.batch))),
        steps=config.steps,
        learning_rate=config.learning_rate,
        clip=config.clip,
        after=after,
    )
    return replace(learned, networks=networks.requires_grad_(False))


def value_scale(rewards: Floats, gamma: float) -> float:
    """What outputs of a network are multiplied by to be values: a typical size of a return."""
    size = float(np.abs(rewards).mean()) / (1 - gamma)
    return size if size > 1e-12 else 1.0


def _loss(
    data: Offline,
    config: LearnConfig,
    scaler: Scaler,
    scale: float,
    networks: Networks,
    target: Target,
) -> Callable[[Tensor], Tensor]:
    # Rows, then people's last states: every state once, whether it is before a decision or after.
    found = np.empty((len(data.actions) + data.n, data.width), np.float32)
    scaler.write(data.states, found[: -data.n])
    scaler.write(np.where(data.terminal[:, None], 0.0, data.final_states), found[-data.n :])
    states = torch.from_numpy(found)
    actions = torch.from_numpy(data.actions)
    if config.method == "bc":

        def cloning(rows: Tensor) -> Tensor:
            logits = networks(states[rows][None])[0]
            return torch.nn.functional.cross_entropy(logits, actions[rows])

        return cloning

    following = torch.from_numpy(data.following)
    # Q is learnt in units of `scale`; the masked discount is 0 where nothing follows.
    rewards = _float(data.rewards / scale)
    discount = _float(config.gamma * ~data.done)

    def q_learning(rows: Tensor) -> Tensor:
        batch = states[torch.stack([rows, following[rows]])]
        # The network's view of s and of s' in one product; the latter only chooses actions.
        q = networks(batch.view(1, -1, batch.shape[-1]))[0].view(2, len(rows), -1)
        with torch.no_grad():
            best = q[1].argmax(1, keepdim=True)
            after = target.networks(batch[1:])[0].gather(1, best)[:, 0]
            goal = torch.addcmul(rewards[rows], discount[rows], after)
        taken = q[0].gather(1, actions[rows][:, None])[:, 0]
        loss = (taken - goal).square().mean()
        if config.method == "cql":
            # The penalty is of Q in the rewards' own units, divided by scale² as the rest is.
            q0 = q[0] * scale
            gap = (q0.logsumexp(1) - taken * scale).mean()
            loss = loss + config.alpha * gap / scale**2
        return loss

    return q_learning


def _float(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
