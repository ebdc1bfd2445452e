"""What the command line runs for the world-model role: settings in, a finished run directory out."""

from __future__ import annotations

from pathlib import Path

import torch

from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.setup import make_agent, make_envs, make_optimizer, make_replay
from understudy.roles.world_model.train import train
from understudy.run.run import Run


def run_train(config: WorldModelConfig) -> Path:
    """Trains an agent in its world model; returns the run directory.

    Raises:
        Stopped: a signal asked for it; a checkpoint is written.
    """
    torch.set_num_threads(config.threads)
    with Run.create("world_model", config.env, config, config.run) as run:
        envs = make_envs(config, run.seeds, "envs", config.envs)
        agent = make_agent(config, envs, run.seeds)
        train(
            config,
            run,
            agent=agent,
            optimizer=make_optimizer(config, agent),
            envs=envs,
            replay=make_replay(config, envs, agent),
        )
        return run.path
