"""Small agents and chunks to try."""

from __future__ import annotations

import numpy as np
import torch

from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.replay import Replay
from understudy.roles.world_model.setup import make_agent, make_envs, make_replay
from understudy.roles.world_model.train import live
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
    envs.advance(None)
    state, generator = agent.model.core.init_state(len(envs)), noise(1)
    for _ in range(steps):
        state = live(agent, envs, replay, state, generator)
    return agent, envs, replay


def chunk(config: WorldModelConfig, steps: int = 60):
    agent, _, replay = played(config, steps)
    batch, drawn = replay.draw(config.replay.batch, np.random.default_rng(0))
    return agent, replay, batch, drawn
