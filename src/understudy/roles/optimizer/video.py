"""An episode of a found policy as a moving picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from understudy.envs.control.register import make
from understudy.envs.control.vector import flatten
from understudy.envs.search.space import Point
from understudy.envs.search.task import Task
from understudy.rollout.video import write_gif
from understudy.run.errors import RunError

FRAME_MS = 40
FRAMES = 250
"""Of a longer episode only every so many steps are shown."""


def record(task: Task, point: Point, seed: int, out: Path) -> Path:
    """Plays one episode and writes it, as the environment draws it.

    Args:
        task: the environment and the policies.
        point: who plays.
        seed: of the episode.
        out: the GIF.

    Raises:
        RunError: the environment draws no pictures, a package it needs for that is missing, or the
            file cannot be written.
    """
    spec = task.arena.single.spec
    assert spec is not None, "an arena's environment is registered"
    if "rgb_array" not in task.arena.single.metadata.get("render_modes", ()):
        raise RunError(f"video: {spec.id} draws no pictures")
    limit = {"max_episode_steps": task.arena.limit}
    env = make(spec.id, {**spec.kwargs, **limit, "render_mode": "rgb_array"})
    try:
        return write_gif(_frames(env, task, point, seed), out, frame_ms=FRAME_MS)
    except gymnasium.error.Error as error:
        raise RunError(f"video: {spec.id} cannot be drawn ({error})") from error
    finally:
        env.close()


def _frames(env: Any, task: Task, point: Point, seed: int) -> Iterator[Any]:
    act = task.policy.bind(np.array([point])).rows(np.zeros(1, np.intp))
    every = math.ceil(task.arena.limit / FRAMES)
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    seen, _ = env.reset(seed=seed)
    yield env.render()
    for step in range(task.arena.limit):
        action = act(flatten(env.observation_space, seen)[None])[0]
        seen, _, terminated, truncated, _ = env.step(int(action) if discrete else action)
        over = terminated or truncated
        if over or step % every == 0:
            yield env.render()
        if over:
            return
