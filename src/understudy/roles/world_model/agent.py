"""World model and behaviour as one agent: how it acts, and one update of all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from understudy.roles.world_model.behaviour import (
    Behaviour,
    Chance,
    Span,
    dream_losses,
    imagine,
    replay_value_loss,
)
from understudy.roles.world_model.config import OUTCOME, WorldModelConfig, chosen
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
            Actions [N, A] on the model's device, 0 where the record ends an episode; the state for the next records.
        """
        model, behaviour = self.model, self.behaviour
        batch = {name: torch.from_numpy(v).to(model.device) for name, v in records.items()}
        state = model.core.reset(state, batch["is_first"])
        h = state["h"]
        logits = model.posterior(model.seen(batch), h)
        noise = (
            torch.ones_like(logits)
            if greedy
            else exponential(generator, *logits.shape, device=model.device)
        )
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


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of a batch are here: all, unless it is said."""

    first: int = 0
    rows: int | None = None
    """Of the whole batch."""
    span: Span | None = None
    """Of the whole batch's returns."""

    def whole(self, here: int) -> int:
        """Rows of the batch, of which `here` are here."""
        return here if self.rows is None else self.rows


WHOLE = Part()


def gradients(
    agent: Agent,
    batch: Batch,
    config: WorldModelConfig,
    generator: torch.Generator,
    part: Part = WHOLE,
) -> Updated:
    """Adds the gradient of the loss of everything to the agent's.

    Args:
        agent: who learns.
        batch: drawn sequences, [B, context + T, …].
        config: the settings.
        generator: where the randomness comes from.
        part: of what these sequences are a part; gradients and numbers are then the part's share.
    """
    model, behaviour, settings = agent.model, agent.behaviour, config.behaviour
    state, batch = opening(agent, batch, generator, part)
    rows, length = batch["reward"].shape
    latents = model.observe(batch, state, _noise(model, generator, rows, length, part))
    live = settings.gamma if config.nature else 1.0
    losses = model.losses(batch, latents, config.losses, live)
    whole = part.whole(rows)
    every = torch.randperm(whole * length, generator=generator)[: settings.starts]
    every = every.to(model.device)
    chance = Chance.drawn(model, behaviour, settings.horizon, len(every), generator)
    index = every - part.first * length
    chosen = ((index >= 0) & (index < rows * length)).nonzero()[:, 0]
    index, chance = index[chosen], chance.of(chosen)
    dream = imagine(
        model,
        behaviour,
        latents.z.detach().flatten(0, 1)[index],
        model.core.detach(model.core.starts(latents.observed.handle, index, before=True)),
        chance,
        _words(model, batch, index),
    )
    gamma = 1.0 if config.nature else settings.gamma
    dreamt, ahead, stats = dream_losses(model, behaviour, dream, settings, gamma, part.span)
    weights = weigh(config)
    if weights["replay_value"] > 0:
        known = ahead.new_full((rows * length,), torch.nan).index_put((index,), ahead)
        losses["replay_value"] = replay_value_loss(
            behaviour, latents.features, batch, known.unflatten(0, (rows, length)), settings
        )
    # A mean over a part, times how large a part it is.
    means = {name: loss.mean() * (rows / whole) for name, loss in losses.items()}
    if len(index):
        share = len(index) / len(every)
        means |= {name: loss.mean() * share for name, loss in dreamt.items()}
        stats = {name: value * share for name, value in stats.items()}
    else:
        stats = {name: torch.zeros_like(value) for name, value in stats.items()}
    torch.stack([weights[n.split("/")[0]] * mean for n, mean in means.items()]).sum().backward()
    stats |= {f"loss/{name}": mean.detach() for name, mean in means.items()}
    stores = CONTEXT in batch
    return Updated(stats, _states(model, latents, rows, length) if stores else None)


Gradients = Callable[[Agent, Batch, WorldModelConfig, torch.Generator], Updated]
"""`gradients`, or another way to the same."""


def update(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: WorldModelConfig,
    generator: torch.Generator,
    gradients: Gradients = gradients,
) -> Updated:
    """One step on the loss of everything: model, actor, critic.

    Args:
        agent: who learns.
        optimizer: over all its parameters but the slow critic's.
        batch: drawn sequences, [B, context + T, …].
        config: the settings.
        generator: where the randomness comes from.
        gradients: how the loss's gradient comes about.
    """
    optimizer.zero_grad(set_to_none=True)
    done = gradients(agent, batch, config, generator)
    optimizer.step()
    agent.behaviour.follow(config.behaviour.slow_rate)
    return done


def weigh(config: WorldModelConfig) -> dict[str, float]:
    """The weight of every loss, by the first part of its name."""
    losses = config.losses
    return {
        "decoder": losses.decoder, "reward": 1.0, "continue": 1.0,
        "token": losses.token, "outcome": chosen(losses.outcome, OUTCOME),
        "dynamics": chosen(losses.dynamics, 1.0 if config.nature else 0.5),
        "representation": losses.representation, "actor": 1.0, "critic": 1.0,
        "replay_value": chosen(config.behaviour.replay_value, 0.3 if config.nature else 0.0),
    }  # fmt: skip


def opening(
    agent: Agent, batch: Batch, generator: torch.Generator, part: Part = WHOLE
) -> tuple[State, Batch]:
    """The state that sequences start from, and the sequences without what it was made of."""
    model, before, rows = agent.model, agent.before, batch["reward"].shape[0]
    if CONTEXT in batch:
        return model.core.unpack(batch[CONTEXT]), batch
    state = model.core.init_state(rows)
    if before:
        past = {name: value[:, :before] for name, value in batch.items()}
        with torch.no_grad():
            noise = _noise(model, generator, rows, before, part)
            seen = model.observe(past, state, noise)
        return seen.observed.state, {name: value[:, before:] for name, value in batch.items()}
    return state, batch


def _noise(
    model: WorldModel, generator: torch.Generator, rows: int, length: int, part: Part
) -> Tensor:
    """Drawn for the whole batch, so that a row's is the same wherever it is."""
    shape = part.whole(rows), length, model.size.latents, model.size.classes
    drawn = exponential(generator, *shape, device=model.device)
    return drawn[part.first : part.first + rows]


def _words(model: WorldModel, batch: Batch, index: Tensor) -> dict[str, Tensor] | None:
    if model.language is None:
        return None
    name = model.language.name
    return {name: batch[name].flatten(0, 1)[index]}


def _states(model: WorldModel, latents: Latents, rows: int, length: int) -> Tensor:
    every = torch.arange(rows * length, device=model.device)
    states = model.core.detach(model.core.starts(latents.observed.handle, every))
    return model.core.pack(states).unflatten(0, (rows, length))
