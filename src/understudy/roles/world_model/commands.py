"""What the command line runs for the world-model role: settings in, a finished run directory out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.config import CompareConfig, EvalConfig, WorldModelConfig
from understudy.roles.world_model.dream import DREAM, open_loop, save_dream
from understudy.roles.world_model.evaluate import evaluate
from understudy.roles.world_model.setup import make_agent, make_envs, make_optimizer, make_replay
from understudy.roles.world_model.summary import PARAMETERS
from understudy.roles.world_model.train import train
from understudy.roles.world_model.train_ddp import train_ddp
from understudy.run import checkpoint as checkpoints
from understudy.run.config import load
from understudy.run.errors import RunError
from understudy.run.run import Run
from understudy.run.seed import Seeds


def run_train(config: WorldModelConfig) -> Path:
    """Trains an agent in its world model; returns the run directory.

    Raises:
        Stopped: a signal asked for it; a checkpoint is written.
    """
    torch.set_num_threads(config.threads)
    # Made before there is a run, so that a mistake leaves none behind.
    make_agent(config, make_envs(config, Seeds(config.seed), "envs", 1), Seeds(config.seed))
    with Run.create("world_model", config.env, config, config.run) as run:
        envs = make_envs(config, run.seeds, "envs", config.envs)
        agent = make_agent(config, envs, run.seeds)
        (run.path / PARAMETERS).write_text(json.dumps(_parameters(agent)) + "\n", encoding="utf-8")
        loop = train if config.workers == 1 else train_ddp
        loop(
            config,
            run,
            agent=agent,
            optimizer=make_optimizer(config, agent),
            envs=envs,
            replay=make_replay(config, envs, agent),
            held_out=make_envs(config, run.seeds, "held-out", config.eval_episodes)
            if config.eval_episodes
            else None,
        )
        return run.path


def run_eval(config: EvalConfig) -> Path:
    """Plays held-out episodes with a trained agent, and dreams one of them.

    Raises:
        RunError: there is no trained agent there.
    """
    trained = replace(_settings(config), run=config.run)
    torch.set_num_threads(trained.threads)
    found = checkpoints.load(Path(config.agent) / "checkpoints")
    if found is None or "agent" not in found.tensors:
        raise RunError(
            f"agent: {config.agent} holds no agent; understudy world_model train makes one"
        )
    with Run.create("world_model", trained.env, config, config.run, verb="eval") as run:
        envs = make_envs(trained, run.seeds, "eval", config.episodes)
        agent = make_agent(trained, envs, run.seeds)
        agent.load_state_dict(found.tensors["agent"])
        generator = torch.Generator().manual_seed(run.seeds.integer("acting"))
        run.log(0, evaluate(agent, envs, generator, greedy=config.greedy).metrics())
        alone = make_envs(trained, run.seeds, "dream", 1)
        dream = open_loop(agent, alone, generator, seen=config.dream)
        save_dream(dream, run.path / DREAM)
        return run.path


def run_compare(config: CompareConfig) -> Path:
    """Every core and seed; returns the table's file."""
    base = config.base
    out = Path(base.run.root) / "world_model" / base.env.replace("/", "-") / "compare.json"
    rows: list[dict[str, Any]] = []
    for core in config.cores:
        for seed in config.seeds:
            run = replace(base.run, name=None)
            path = run_train(replace(base, core=core, seed=seed, run=run))
            row = {"core": core, "seed": seed, "run": str(path), "threshold": config.threshold}
            rows.append(row)
            out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return out


def play(method: str, config: WorldModelConfig) -> Path:
    """One run of a grid; returns its directory."""
    del method
    return run_train(config)


def _parameters(agent: Agent) -> dict[str, int]:
    """How many there are, and how many of them are trained."""
    model, behaviour = agent.model, agent.behaviour
    parts = {
        "core": model.core, "model": model, "actor": behaviour.actor, "critic": behaviour.critic,
    }  # fmt: skip
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    trained = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    return {**counts, "trained": trained}


def _settings(config: EvalConfig) -> WorldModelConfig:
    """The settings an agent was trained with."""
    file = Path(config.agent) / "config.toml"
    if not file.is_file():
        raise RunError(f"agent: {config.agent} is not a run directory (no config.toml)")
    return load(WorldModelConfig, ["--config", str(file)])
