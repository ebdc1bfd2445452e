"""The world model's loop with its updates divided among processes.

The leader runs `train` as it is, with another `gradients`. Every process gets the present weights, its
rows of the batch and the state of the generator, draws the whole batch's noise and keeps its rows' of it,
and dreams on from those of the chosen states that are its own. In the middle of an update all wait once:
the range of returns, by which advantages are divided, is of all dreams. Losses are means, weighted by
the part of the batch they are over.

Acting and the replay are not divided: an environment's step is one of the loop's cheap things, and
there is one memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from understudy.roles.world_model.agent import Agent, Part, Updated, gradients
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.model import Batch
from understudy.roles.world_model.replay import Replay
from understudy.roles.world_model.setup import make_agent, make_envs
from understudy.roles.world_model.train import train
from understudy.run.run import Run
from understudy.run.seed import Seeds
from understudy.run.workers import Follower, Leader, Message, crew, share


def train_ddp(
    config: WorldModelConfig,
    run: Run,
    *,
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    envs: Envs,
    replay: Replay,
    held_out: Envs | None = None,
) -> None:
    """`train` in `config.workers` processes; the same weights, up to rounding.

    Raises:
        RunError: a worker failed or died.
    """
    with crew(serve, config, config.workers) as leader:
        train(
            config, run, agent=agent, optimizer=optimizer, envs=envs, replay=replay,
            held_out=held_out, gradients=partial(_divided, leader),
        )  # fmt: skip


def _divided(
    leader: Leader,
    agent: Agent,
    batch: Batch,
    config: WorldModelConfig,
    generator: torch.Generator,
) -> Updated:
    """See `agent.gradients`."""
    rows = len(batch["reward"])
    shares = [share(range(rows), rank, leader.size) for rank in range(leader.size)]
    messages: list[Message] = []
    for mine in shares[1:]:
        tensors = {f"batch.{name}": value[mine[0] : mine[-1] + 1] for name, value in batch.items()}
        tensors["generator"] = generator.get_state()
        messages.append(Message({"first": mine[0], "rows": rows}, tensors))
    leader.order("gradients", messages)
    leader.spread(_read(agent))

    def span(returns: Tensor, rate: float) -> Tensor:
        every = [returns, *(reply.tensors["returns"] for reply in leader.replies())]
        scale = agent.behaviour.span(torch.cat([r.flatten() for r in every]), rate)
        leader.spread([scale])
        return scale

    own = {name: value[: len(shares[0])] for name, value in batch.items()}
    done = gradients(agent, own, config, generator, Part(0, rows, span))
    leader.add_gradients(_trained(agent))
    replies = leader.replies()
    stats = {
        name: torch.stack([value, *(r.tensors[f"stats.{name}"] for r in replies)]).sum()
        for name, value in done.stats.items()
    }
    if done.states is None:
        return Updated(stats, None)
    return Updated(stats, torch.cat([done.states, *(r.tensors["states"] for r in replies)]))


def serve(config: WorldModelConfig, follower: Follower) -> None:
    """A follower's side."""
    seeds = Seeds(config.seed)
    agent = make_agent(config, make_envs(config, seeds, "envs", 1), seeds)

    def span(returns: Tensor, rate: float) -> Tensor:
        del rate  # the leader's average is the only one
        follower.reply(Message(tensors={"returns": returns}))
        scale = returns.new_zeros(())
        follower.spread([scale])
        return scale

    for _, order in follower.orders():
        follower.spread(_read(agent))
        generator = torch.Generator()
        generator.set_state(order.tensors.pop("generator"))
        batch = {name.removeprefix("batch."): value for name, value in order.tensors.items()}
        part = Part(order.fields["first"], order.fields["rows"], span)
        done = gradients(agent, batch, config, generator, part)
        follower.add_gradients(_trained(agent))
        found = {f"stats.{name}": value for name, value in done.stats.items()}
        if done.states is not None:
            found["states"] = done.states
        follower.reply(Message(tensors=found))


def _trained(agent: Agent) -> Iterator[torch.nn.Parameter]:
    return (p for p in agent.parameters() if p.requires_grad)


def _read(agent: Agent) -> Iterator[Tensor]:
    """All weights that change: those that are trained, and the slow critic's."""
    yield from _trained(agent)
    yield from agent.behaviour.slow.parameters()
