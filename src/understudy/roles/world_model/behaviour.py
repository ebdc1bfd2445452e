"""Actor and critic, learning inside the world model.

DreamerV3 (Hafner et al., Nature 2025), equations 6 to 11. The actor's gradient is REINFORCE for
discrete and continuous actions, so nothing is differentiated through a dream, and cores may dream
with caches. Dreams start from a sample of the batch's states instead of from all of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy import ops
from understudy.roles.world_model.config import BehaviourConfig, Size
from understudy.roles.world_model.cores.base import State
from understudy.roles.world_model.model import Batch, WorldModel, exponential
from understudy.roles.world_model.nets import MLP, TwoHotHead
from understudy.roles.world_model.spaces import Actions

LEAST_STD, MOST_STD = 0.1, 1.0


class Actor(nn.Module):
    """π(a | f): categorical with the uniform mixed in, or Normal(tanh μ, σ) with σ in 0.1 … 1."""

    def __init__(self, inputs: int, actions: Actions, size: Size, unimix: float) -> None:
        super().__init__()
        self.discrete, self.unimix = actions.discrete, unimix
        outputs = actions.size if actions.discrete else 2 * actions.size
        self.net = MLP(inputs, size.units, size.layers, outputs, outscale=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Parameters of the distribution [..., P]: log-probabilities, or mean and deviation."""
        out = self.net(features).float()
        if self.discrete:
            return ops.unimix(out, self.unimix)
        mean, raw = out.chunk(2, -1)
        deviation = (MOST_STD - LEAST_STD) * torch.sigmoid(raw + 2.0) + LEAST_STD
        return torch.cat([mean.tanh(), deviation], -1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions [..., A]; `noise` is exponential (discrete) or standard normal."""
        if self.discrete:
            return ops.sample_one_hot(parameters.exp(), noise)
        mean, deviation = parameters.chunk(2, -1)
        return mean + deviation * noise

    def mode(self, parameters: Tensor) -> Tensor:
        """The likeliest actions [..., A]."""
        if self.discrete:
            return F.one_hot(parameters.argmax(-1), parameters.shape[-1]).float()
        return parameters.chunk(2, -1)[0]

    def noise(self, generator: torch.Generator, *shape: int) -> Tensor:
        """What `draw` needs, [*shape]; drawn on the CPU, wherever the actor is."""
        device = next(self.parameters()).device
        if self.discrete:
            return exponential(generator, *shape, device=device)
        return torch.randn(shape, generator=generator).to(device)

    def judge(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of actions and entropy, in nats [...]."""
        if self.discrete:
            return (parameters * actions).sum(-1), ops.entropy(parameters)
        mean, deviation = parameters.chunk(2, -1)
        logp = -0.5 * ((actions - mean) / deviation).square() - deviation.log()
        nats = deviation.log() + 0.5 * math.log(2 * math.pi * math.e)
        return (logp - 0.5 * math.log(2 * math.pi)).sum(-1), nats.sum(-1)


class Behaviour(nn.Module):
    """Actor, critic, the slow critic that holds it back, and the range of returns."""

    low: Tensor
    high: Tensor

    def __init__(
        self, inputs: int, actions: Actions, size: Size, *, bins: int, even: bool, unimix: float
    ) -> None:
        super().__init__()
        self.actions = actions
        self.actor = Actor(inputs, actions, size, unimix)
        self.critic = TwoHotHead(inputs, size.units, size.layers, bins, even=even)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def follow(self, rate: float) -> None:
        """Moves the slow critic a step towards the critic."""
        with torch.no_grad():
            for slow, now in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(now, rate)

    def span(self, returns: Tensor, rate: float) -> Tensor:
        """max(1, range of the returns): an average over updates of the 5th and 95th percentile.

        The average starts at 0 and is not corrected for it. Small returns are not blown up.
        """
        found = torch.quantile(returns.detach().flatten(), torch.tensor([0.05, 0.95]).to(returns))
        self.low.lerp_(found[0], rate)
        self.high.lerp_(found[1], rate)
        return (self.high - self.low).clamp(min=1.0)


@dataclass(frozen=True, slots=True)
class Dream:
    """N imagined trajectories of H steps."""

    features: Tensor
    """[H + 1, N, F]"""
    actions: Tensor
    """[H, N, A]"""
    policy: Tensor
    """[H, N, P] parameters of the distributions that actions were drawn from, with their gradient."""


@dataclass(frozen=True, slots=True)
class Chance:
    """All the noise of N dreams of H steps."""

    latents: Tensor
    """[H, N, G, K]"""
    actions: Tensor
    """[H, N, A]"""
    words: Tensor | None
    """[H, N, n, V], where there is language."""

    @classmethod
    def drawn(
        cls,
        model: WorldModel,
        behaviour: Behaviour,
        horizon: int,
        rows: int,
        generator: torch.Generator,
    ) -> Chance:
        """Noise for `rows` dreams of `horizon` steps."""
        shape, language, device = (horizon, rows), model.language, model.device
        latents = exponential(
            generator, *shape, model.size.latents, model.size.classes, device=device
        )
        actions = behaviour.actor.noise(generator, *shape, behaviour.actions.size)
        words = None
        if language is not None:
            words = exponential(
                generator, *shape, language.count, language.vocabulary, device=device
            )
        return cls(latents, actions, words)

    def of(self, rows: Tensor) -> Chance:
        """That of some dreams, by their numbers."""
        words = None if self.words is None else self.words[:, rows]
        return Chance(self.latents[:, rows], self.actions[:, rows], words)


@torch.no_grad()
def imagine(
    model: WorldModel,
    behaviour: Behaviour,
    z: Tensor,
    state: State,
    chance: Chance,
    words: dict[str, Tensor] | None = None,
) -> Dream:
    """Acts in the model's predictions, from latents z [N, G·K] and the core's state before them.

    Args:
        model: the world model.
        behaviour: who acts.
        z: latents to start from [N, G·K].
        state: the core's, just before the token of z.
        chance: the noise, for as many steps as are dreamt.
        words: the words that came with z, where there is language.
    """
    features = [torch.cat([z, state["h"]], -1)]
    actions, policy = list[Tensor](), list[Tensor]()
    for t in range(len(chance.latents)):
        with torch.enable_grad():
            policy.append(behaviour.actor(features[t]))
        action = behaviour.actor.draw(policy[-1].detach(), chance.actions[t])
        h, state = model.core.step(model.token(z, model.given(action, words or {})), state)
        z = model.sample(model.prior(h), chance.latents[t])
        if model.language is not None and chance.words is not None:
            words = model.language.draw(h, chance.words[t])
        features.append(torch.cat([z, h], -1))
        actions.append(action)
    with torch.enable_grad():
        return Dream(torch.stack(features), torch.stack(actions), torch.stack(policy))


Span = Callable[[Tensor, float], Tensor]
"""`Behaviour.span`, or another way to the same."""


def dream_losses(
    model: WorldModel,
    behaviour: Behaviour,
    dream: Dream,
    config: BehaviourConfig,
    gamma: float,
    span: Span | None = None,
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """The actor's and the critic's losses on a dream.

    Args:
        model: predicts rewards and continuations.
        behaviour: who learns.
        dream: where.
        config: λ, entropy, rates.
        gamma: discount per step, 1 where the continuation head already predicts it.
        span: of the returns; by default the behaviour's, of these.

    Returns:
        Losses "actor" and "critic" [H, N]; the imagined returns of the starts [N]; numbers to log.
    """
    critic, features = behaviour.critic, dream.features[:-1]
    predicted = critic(features)
    with torch.no_grad():
        rewards = model.rewards(dream.features[1:])
        live = model.continues(dream.features) * gamma
        last = critic.value(dream.features[-1])
        values = torch.stack([*map(critic.mean, predicted), last])
        returns = ops.bootstrapped_returns(
            rewards.T, live[1:].T, values[1:].T, values[-1], config.lam
        ).T
        scale = (span or behaviour.span)(returns, config.scale_rate)
        # A state counts as much as it is likely to be reached, its own continuation included.
        weights = live[:-1].cumprod(0) / gamma
        advantages = (returns - values[:-1]) / scale
    logp, entropy = behaviour.actor.judge(dream.policy, dream.actions)
    losses = {
        "actor": -weights * (logp * advantages + config.entropy * entropy),
        "critic": weights * _critic_loss(behaviour, features, predicted, returns),
    }
    stats = {
        "behaviour/entropy": entropy.detach().mean(), "behaviour/return": returns.mean(),
        "behaviour/scale": scale, "behaviour/advantage": advantages.abs().mean(),
        "behaviour/value": values.mean(), "behaviour/continue": live[1:].mean(),
    }  # fmt: skip
    return losses, returns[0], stats


def _critic_loss(behaviour: Behaviour, features: Tensor, logp: Tensor, returns: Tensor) -> Tensor:
    """Cross-entropy to the returns, and to what the slow critic says (equation 9 of 2023)."""
    targets = torch.stack([returns, behaviour.slow.value(features)], -1)
    return behaviour.critic.loss(logp, targets).sum(-1)


def replay_value_loss(
    behaviour: Behaviour, features: Tensor, batch: Batch, ahead: Tensor, config: BehaviourConfig
) -> Tensor:
    """The critic's loss on what happened [B, T − 1]; its gradient does not reach the world model.

    In the original it does. But where returns depend on what cannot be known, that asks the model to
    remember how each episode ended, which drowns what there is to be learnt.

    λ-returns over real rewards, where the value of a state is what was imagined from it.

    Args:
        behaviour: whose critic.
        features: of the chunk [B, T, F].
        batch: the chunk.
        ahead: the imagined returns of its states [B, T]; NaN where no dream started: there the critic
            itself is asked.
        config: discount, λ.
    """
    features = features.detach()
    logp = behaviour.critic(features)
    with torch.no_grad():
        values = torch.where(ahead.isnan(), behaviour.critic.mean(logp), ahead)
        live = (~batch["is_terminal"]).float() * config.gamma
        lam = (~batch["is_last"]).float() * config.lam
        returns = ops.bootstrapped_returns(
            batch["reward"][:, 1:], live[:, 1:], values[:, 1:], values[:, -1], lam[:, 1:]
        )
        counts = (~batch["is_last"][:, :-1]).float()
    return counts * _critic_loss(behaviour, features[:, :-1], logp[:, :-1], returns)
