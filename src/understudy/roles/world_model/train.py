"""The world-model loop: act, remember, and train on what is remembered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from understudy.roles.world_model.agent import Agent, Gradients, gradients, update
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.cores.base import State as CoreState
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.evaluate import evaluate
from understudy.roles.world_model.replay import CONTEXT, Replay
from understudy.run.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from understudy.run.progress import Progress
from understudy.run.run import Run

RECENT = 20
"""Training episodes in the mean that the log calls `return`."""


@dataclass
class State:
    """What a checkpoint holds: everything a step reads that the seed does not give."""

    agent: Agent
    optimizer: torch.optim.Optimizer
    envs: Envs
    replay: Replay
    carry: CoreState
    """The core's state before the present records."""
    ticks: int = 0
    """Passes of the loop: records of every environment, resets included."""
    updates: int = 0
    logged: int = 0
    """Lines of the log."""
    recent: list[float] = field(default_factory=list[float])
    """Returns of the last episodes."""
    succeeded: list[float] = field(default_factory=list[float])
    """Whether each succeeded, where the environment says so."""
    sums: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    """Numbers of the updates since the last line of the log, added up."""
    summed: int = 0

    def save(self, run: Run) -> None:
        """Writes a checkpoint."""
        optimizer, scalars = pack_optimizer(self.optimizer)
        replay, queue = self.replay.get_state()
        tensors = {
            "agent": dict(self.agent.state_dict()),
            "optimizer": optimizer,
            "replay": replay,
            "carry": self.carry,
            "records": {name: torch.from_numpy(v) for name, v in self.envs.records.items()},
            "sums": self.sums,
        }
        state = {
            "optimizer": scalars, "replay": queue, "envs": self.envs.get_state(),
            "ticks": self.ticks, "updates": self.updates, "logged": self.logged,
            "recent": self.recent, "succeeded": self.succeeded, "summed": self.summed,
        }  # fmt: skip
        run.checkpoint(self.envs.steps, tensors, state)

    def load(self, found: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        state = found.state
        self.agent.load_state_dict(found.tensors["agent"])
        unpack_optimizer(self.optimizer, found.tensors["optimizer"], state["optimizer"])
        self.replay.set_state(found.tensors["replay"], state["replay"])
        records = {name: tensor.numpy() for name, tensor in found.tensors["records"].items()}
        self.envs.set_state(state["envs"], records)
        self.carry = on(self.agent.model.device, found.tensors["carry"])
        self.sums = on(self.agent.model.device, found.tensors["sums"])
        self.ticks, self.updates, self.logged = state["ticks"], state["updates"], state["logged"]
        self.recent, self.succeeded = state["recent"], state["succeeded"]
        self.summed = state["summed"]


def train(
    config: WorldModelConfig,
    run: Run,
    *,
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    envs: Envs,
    replay: Replay,
    held_out: Envs | None = None,
    gradients: Gradients = gradients,
) -> None:
    """Trains `agent` in place.

    Args:
        config: the settings; `config.steps` environment steps.
        run: where everything is written; if it holds a checkpoint, training goes on from there.
        agent: who acts and learns.
        optimizer: over its parameters.
        envs: where it acts.
        replay: what it remembers; empty.
        held_out: where it is evaluated at the end, one episode in each.
        gradients: how the gradient of a batch comes about.
    """
    state = State(agent, optimizer, envs, replay, agent.model.core.init_state(len(envs)))
    found = run.restore()
    if found is not None:
        state.load(found)
    else:
        envs.advance(None)
    title = f"{config.core} on {config.env}"
    started, spent, began = time.monotonic(), time.process_time(), envs.steps
    with Progress(config.steps, title, start=began, enabled=run.config.progress) as bar:
        while envs.steps < config.steps and not run.stop_requested:
            _act(state, run)
            for _ in range(_due(config, state)):
                _learn(config, state, run, gradients)
            if envs.steps // config.log_every > state.logged or envs.steps >= config.steps:
                clocks = {"seconds": time.monotonic() - started, "cpu": time.process_time() - spent}
                stats, last = _line(state), envs.steps >= config.steps
                if last and held_out is not None:
                    stats |= evaluate(agent, held_out, _generator(run, "evaluation")).metrics()
                run.log(envs.steps, stats, timing=clocks)
                started, spent = time.monotonic(), time.process_time()
                state.logged = envs.steps // config.log_every
                if last or state.logged % config.run.checkpoint_every == 0:
                    state.save(run)
            shown = float(np.mean(state.recent)) if state.recent else 0.0
            bar.update(envs.steps, **{"return": shown, "updates": state.updates})
        if run.stop_requested and envs.steps < config.steps:
            state.save(run)


def live(
    agent: Agent, envs: Envs, replay: Replay, carry: CoreState, generator: torch.Generator
) -> CoreState:
    """One drawn action in every environment; what led to it is remembered.

    Args:
        agent: who acts.
        envs: where; they have records.
        replay: what it remembers them with.
        carry: the core's state before the present records.
        generator: where the randomness comes from.

    Returns:
        The core's state before the next records.
    """
    records = envs.records
    action, after = agent.act(records, carry, generator, greedy=False)
    kept = {**records, "action": action.cpu().numpy()}
    if CONTEXT in replay.fields:
        kept[CONTEXT] = agent.model.core.pack(carry).cpu().numpy()
    replay.add(kept)
    envs.advance(kept["action"])
    return after


def _act(state: State, run: Run) -> None:
    generator = _generator(run, "acting", state.ticks)
    state.carry = live(state.agent, state.envs, state.replay, state.carry, generator)
    state.ticks += 1
    ended = state.envs.finished
    state.recent = [*state.recent, *(e.total for e in ended)][-RECENT:]
    found = [e.success for e in ended if e.success is not None]
    state.succeeded = [*state.succeeded, *found][-RECENT:]
    state.envs.finished.clear()


def _due(config: WorldModelConfig, state: State) -> int:
    """Updates that are owed to the ratio of replayed to lived steps."""
    settings = config.replay
    least = max(settings.prefill, settings.batch * settings.length // 4)
    if state.envs.steps < least or not state.replay.ready:
        return 0
    per_update = settings.batch * settings.length
    return int((state.envs.steps - least) * settings.ratio / per_update) + 1 - state.updates


def _learn(config: WorldModelConfig, state: State, run: Run, gradients: Gradients) -> None:
    """One update."""
    rng = run.seeds.generator("replay", state.updates)
    batch, drawn = state.replay.draw(config.replay.batch, rng)
    generator = _generator(run, "update", state.updates)
    batch = on(state.agent.model.device, batch)
    done = update(state.agent, state.optimizer, batch, config, generator, gradients)
    if done.states is not None:
        state.replay.refresh(drawn, done.states)
    for name, value in done.stats.items():
        state.sums[name] = state.sums[name] + value if name in state.sums else value
    state.updates, state.summed = state.updates + 1, state.summed + 1


def _line(state: State) -> dict[str, float]:
    """What the log says now."""
    # Sorted, as a checkpoint gives them back: the line of a resumed run is the same, byte for byte.
    stats = {name: float(total) / state.summed for name, total in sorted(state.sums.items())}
    state.sums, state.summed = {}, 0
    stats["updates"] = float(state.updates)
    if state.recent:
        stats["return"] = float(np.mean(state.recent))
    if state.succeeded:
        stats["success"] = float(np.mean(state.succeeded))
    stats |= {f"unigram/{name}": nats for name, nats in state.replay.unigram().items()}
    return stats


def on(device: torch.device, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors, moved to a device."""
    return {name: value.to(device) for name, value in tensors.items()}


def _generator(run: Run, *names: Any) -> torch.Generator:
    return torch.Generator().manual_seed(run.seeds.integer(*names))
