"""An episode as a moving picture: every step as the original environment draws it, as a GIF."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.minigrid import MinigridMemory
from understudy.envs.grid.register import make_room
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.evaluate import HELD_OUT_SEED, Act
from understudy.rollout.video import write_gif
from understudy.run.errors import RunError

FRAME_MS = 150
MODULES = {
    "simple_spread": "mpe2.simple_spread_v3",
    "simple_tag": "mpe2.simple_tag_v3",
    "simple_speaker_listener": "mpe2.simple_speaker_listener_v4",
}


def record(config: TeacherConfig, act: Act, out: Path) -> Path:
    """Plays the first held-out episode and writes it.

    Args:
        config: which environment.
        act: who plays; it is shown a batch of one environment.
        out: the GIF.

    Raises:
        RunError: a package for drawing is missing, or the file cannot be written.
        EnvError: minigrid is missing.
    """
    play = _particles if config.env.startswith("mpe/") else _grid
    return write_gif(play(config, act), out, frame_ms=FRAME_MS)


def _grid(config: TeacherConfig, act: Act) -> Iterator[Any]:
    if config.env in RULES:
        env = make_room(config.env, render_mode="rgb_array")
    else:
        env = MinigridMemory(config.env, render_mode="rgb_array", **config.options)
    observation, _ = env.reset(seed=HELD_OUT_SEED)
    yield env.render()
    starts, over = torch.ones(1, dtype=torch.bool), False
    while not over:
        batch = {"image": observation["image"][None], "mission": (observation["mission"],)}
        observation, _, terminated, truncated, _ = env.step(int(act(batch, starts)[0]))
        yield env.render()
        over, starts = terminated or truncated, torch.zeros(1, dtype=torch.bool)


def _particles(config: TeacherConfig, act: Act) -> Iterator[Any]:
    """mpe2's own game from the same seed, which ours equals."""
    module = MODULES[config.env.removeprefix("mpe/")]
    try:
        made = importlib.import_module(module)
    except ImportError as error:
        raise RunError(
            f"a video of {config.env} needs mpe2; pip install understudy[mpe]"
        ) from error
    env = made.parallel_env(render_mode="rgb_array", **config.options)
    observation, _ = env.reset(seed=HELD_OUT_SEED)
    yield env.render()
    starts = torch.ones(len(env.agents), dtype=torch.bool)
    while env.agents:
        batch = {agent: seen[None] for agent, seen in observation.items()}
        actions = act(batch, starts).tolist()
        observation, *_ = env.step(dict(zip(env.agents, actions, strict=True)))
        yield env.render()
        starts = torch.zeros_like(starts)
    env.close()
