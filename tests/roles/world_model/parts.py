"""Small agents and chunks to try."""

from __future__ import annotations

import numpy as np
import torch

from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.replay import CONTEXT, Replay
from understudy.roles.world_model.setup import make_agent, make_envs, make_replay
from understudy.run.config import load
from understudy.run.seed import Seeds


def settings(*flags: str) -> WorldModelConfig:
    return load(WorldModelConfig, ["--debug", *flags])


def made(config: WorldModelConfig) -> tuple[Agent, Envs, Replay]:
    seeds = Seeds(config.seed)
    envs = make_envs(config, seeds, "envs", config.envs)
    agent = make_agent(config, envs, seeds)
    return agent, envs, make_replay(config, envs, agent)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def played(config: WorldModelConfig, steps: int = 60) -> tuple[Agent, Envs, Replay]:
    """An agent and what it remembers after some steps."""
    agent, envs, replay = made(config)
    records, state = envs.advance(None), agent.model.core.init_state(len(envs))
    generator = noise(1)
    for _ in range(steps):
        before = state
        action, state = agent.act(records, state, generator, greedy=False)
        kept = {**records, "action": action.numpy()}
        if CONTEXT in replay.fields:
            kept[CONTEXT] = agent.model.core.pack(before).numpy()
        replay.add(kept)
        records = envs.advance(action.numpy())
    return agent, envs, replay


def chunk(config: WorldModelConfig, steps: int = 60):
    agent, _, replay = played(config, steps)
    batch, drawn = replay.draw(config.replay.batch, np.random.default_rng(0))
    return agent, replay, batch, drawn
