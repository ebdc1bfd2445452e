"""Tasks of the DeepMind Control Suite as Gymnasium environments: `dmc/DOMAIN_TASK`.

Tassa et al. (2018), arXiv 1801.00690. An episode lasts 1,000 steps of the task's own clock, unless the
task ends it before.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from understudy.envs.base import EnvError

PREFIX = "dmc/"
LIMIT = 1000
INSTALL = "pip install 'understudy[dmc]'"


class ControlSuite(gymnasium.Env[Any, Any]):
    """One task; all its observations in one vector, in their own order."""

    def __init__(self, task: str, repeat: int = 1) -> None:
        """`task`: DOMAIN_TASK, as cartpole_swingup_sparse; `repeat`: steps that an action lasts.

        Raises:
            EnvError: no such task, dm_control is missing, or it does not fit the installed mujoco.
        """
        if repeat < 1:
            raise EnvError(f"env_options: repeat must be at least 1, not {repeat}")
        self.repeat = repeat
        self.game: Any = _load(task)
        shapes = [part.shape for part in self.game.observation_spec().values()]
        count = sum(int(np.prod(shape)) for shape in shapes)
        self.observation_space = spaces.Box(-np.inf, np.inf, (count,), np.float32)
        action = self.game.action_spec()
        low, high = (np.broadcast_to(x, action.shape) for x in (action.minimum, action.maximum))
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As gymnasium.Env's."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.game.task.random.seed(seed % 2**32)
        return _flat(self.game.reset()), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As gymnasium.Env's: terminated where the suite's discount is 0, truncated at the time limit."""
        now = self.game.step(action)
        total, times = float(now.reward), 1
        while times < self.repeat and not now.last():
            now = self.game.step(action)
            total, times = total + float(now.reward), times + 1
        terminated = now.last() and now.discount == 0
        return _flat(now), total, terminated, now.last() and not terminated, {}

    def close(self) -> None:
        """As gymnasium.Env's."""
        self.game.close()


def register(env: str) -> None:
    """Makes one id of the suite known to Gymnasium; dm_control is not asked."""
    if env.startswith(PREFIX) and env not in gymnasium.registry:
        gymnasium.register(
            env,
            entry_point="understudy.envs.control.dmc:ControlSuite",
            max_episode_steps=LIMIT,
            kwargs={"task": env.removeprefix(PREFIX)},
        )


def _load(task: str) -> Any:
    try:
        suite: Any = importlib.import_module("dm_control.suite")
    except ImportError as error:
        raise EnvError(f"env: {PREFIX}{task} needs dm_control; {INSTALL}") from error
    known: dict[str, tuple[str, str]] = {f"{a}_{b}": (a, b) for a, b in suite.ALL_TASKS}
    if task not in known:
        close = difflib.get_close_matches(task, known, 1, 0.0)
        raise EnvError(f"env: the suite has no task {task!r}; did you mean {PREFIX}{close[0]}?")
    try:
        return suite.load(*known[task], task_kwargs={"random": 0})
    except AttributeError as error:
        reason = f"dm_control does not fit the installed mujoco ({error})"
        raise EnvError(f"env: {PREFIX}{task} cannot be opened: {reason}; {INSTALL}") from error


def _flat(now: Any) -> Any:
    parts = [np.ravel(part) for part in now.observation.values()]
    return np.concatenate(parts).astype(np.float32)
