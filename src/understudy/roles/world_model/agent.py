"""World model and behaviour as one agent: how it acts, and one update of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from understudy.roles.world_model.behaviour import (
    Behaviour,
    dream_losses,
    imagine,
    replay_value_loss,
)
from understudy.roles.world_model.config import WorldModelConfig, chosen
from understudy.roles.world_model.cores.base import State
from understudy.roles.world_model.model import Batch, Latents, WorldModel, exponential
from understudy.roles.world_model.replay import CONTEXT, Array


class Agent(nn.Module):
    """A world model and who acts in it."""

    def __init__(self, model: WorldModel, behaviour: Behaviour, before: int = 0) -> None:
        """`before`: steps at the front of every drawn sequence that only make the core's state."""
        super().__init__()
        self.model, self.behaviour, self.before = model, behaviour, before

    @torch.no_grad()
    def act(
        self,
        records: Mapping[str, Array],
        state: State,
        generator: torch.Generator,
        *,
        greedy: bool,
    ) -> tuple[Tensor, State]:
        """Actions for the present records, and the core's state after them.

        Args:
            records: one of each of N environments.
            state: the core's, of N rows, before these records.
            generator: where the randomness comes from.
            greedy: take the likeliest actions, on the likeliest latents.

        Returns:
            Actions [N, A], 0 where the record ends an episode; the state for the next records.
        """
        model, behaviour = self.model, self.behaviour
        batch = {name: torch.from_numpy(value) for name, value in records.items()}
        state = model.core.reset(state, batch["is_first"])
        h = state["h"]
        logits = model.posterior(model.seen(batch), h)
        noise = torch.ones_like(logits) if greedy else exponential(generator, *logits.shape)
        z = model.sample(logits, noise)
        parameters = behaviour.actor(torch.cat([z, h], -1))
        if greedy:
            action = behaviour.actor.mode(parameters)
        else:
            drawn = behaviour.actor.noise(generator, len(h), behaviour.actions.size)
            action = behaviour.actor.draw(parameters, drawn)
        action = action.masked_fill(batch["is_last"][:, None], 0.0)
        _, state = model.core.step(model.token(z, model.given(action, batch)), state)
        return action, state


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update leaves."""

    stats: dict[str, Tensor]
    """Numbers to log."""
    states: Tensor | None
    """The core's state after each step [B, T, n], where states are stored."""


def update(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: WorldModelConfig,
    generator: torch.Generator,
) -> Updated:
    """One step on the loss of everything: model, actor, critic.

    Args:
        agent: who learns.
        optimizer: over all its parameters but the slow critic's.
        batch: drawn sequences, [B, context + T, …].
        config: the settings.
        generator: where the randomness comes from.
    """
    model, behaviour, settings = agent.model, agent.behaviour, config.behaviour
    state, batch = opening(agent, batch, generator)
    rows, length = batch["reward"].shape
    latents = model.observe(batch, state, _noise(model, generator, rows, length))
    live = settings.gamma if config.nature else 1.0
    losses = model.losses(batch, latents, config.losses, live)
    index = torch.randperm(rows * length, generator=generator)[: settings.starts]
    dream = imagine(
        model,
        behaviour,
        latents.z.detach().flatten(0, 1)[index],
        model.core.detach(model.core.starts(latents.observed.handle, index, before=True)),
        settings.horizon,
        generator,
        _words(model, batch, index),
    )
    gamma = 1.0 if config.nature else settings.gamma
    dreamt, ahead, stats = dream_losses(model, behaviour, dream, settings, gamma)
    losses |= dreamt
    if weigh(config)["replay_value"] > 0:
        known = torch.full((rows * length,), torch.nan).index_put((index,), ahead)
        losses["replay_value"] = replay_value_loss(
            behaviour, latents.features, batch, known.unflatten(0, (rows, length)), settings
        )
    weights = weigh(config)
    means = {name: loss.mean() for name, loss in losses.items()}
    total = torch.stack([weights[name.split("/")[0]] * mean for name, mean in means.items()]).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    optimizer.step()
    behaviour.follow(settings.slow_rate)
    stats |= {f"loss/{name}": mean.detach() for name, mean in means.items()}
    stores = CONTEXT in batch
    return Updated(stats, _states(model, latents, rows, length) if stores else None)


def weigh(config: WorldModelConfig) -> dict[str, float]:
    """The weight of every loss, by the first part of its name."""
    losses = config.losses
    return {
        "decoder": losses.decoder, "reward": 1.0, "continue": 1.0, "token": losses.token,
        "dynamics": chosen(losses.dynamics, 1.0 if config.nature else 0.5),
        "representation": losses.representation, "actor": 1.0, "critic": 1.0,
        "replay_value": chosen(config.behaviour.replay_value, 0.3 if config.nature else 0.0),
    }  # fmt: skip


def opening(agent: Agent, batch: Batch, generator: torch.Generator) -> tuple[State, Batch]:
    """The state that sequences start from, and the sequences without what it was made of."""
    model, before, rows = agent.model, agent.before, batch["reward"].shape[0]
    if CONTEXT in batch:
        return model.core.unpack(batch[CONTEXT]), batch
    state = model.core.init_state(rows)
    if before:
        past = {name: value[:, :before] for name, value in batch.items()}
        with torch.no_grad():
            seen = model.observe(past, state, _noise(model, generator, rows, before))
        return seen.observed.state, {name: value[:, before:] for name, value in batch.items()}
    return state, batch


def _noise(model: WorldModel, generator: torch.Generator, rows: int, length: int) -> Tensor:
    return exponential(generator, rows, length, model.size.latents, model.size.classes)


def _words(model: WorldModel, batch: Batch, index: Tensor) -> dict[str, Tensor] | None:
    if model.language is None:
        return None
    name = model.language.name
    return {name: batch[name].flatten(0, 1)[index]}


def _states(model: WorldModel, latents: Latents, rows: int, length: int) -> Tensor:
    every = torch.arange(rows * length)
    states = model.core.detach(model.core.starts(latents.observed.handle, every))
    return model.core.pack(states).unflatten(0, (rows, length))
