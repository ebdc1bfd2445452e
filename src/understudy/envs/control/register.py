"""Makes this package's control environments known to Gymnasium, and opens any of them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium

from understudy.envs.base import EnvError
from understudy.envs.control import dmc

HERE = "understudy.envs.control"
LIMIT = 100
"""Longest episode of an environment that has no limit of its own."""
OWN = {
    "understudy/Nim-v0": ("nim:Nim", 20),
    "understudy/Maze-v0": ("maze:Maze", 100),
    "understudy/Pong-v0": ("pong:Pong", 400),
}
EXTRAS = {"mujoco": "gymnasium[mujoco]", "box2d": "gymnasium[box2d]"}


def register() -> None:
    """Registers the ids of `OWN`; once is as good as often."""
    for name, (target, limit) in OWN.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=f"{HERE}.{target}", max_episode_steps=limit)


def make(env: str, options: Mapping[str, Any] | None = None) -> gymnasium.Env[Any, Any]:
    """One environment, with `max_episode_steps` of 100 where it has none of its own.

    Args:
        env: a Gymnasium id, as CartPole-v1 or understudy/Nim-v0, dmc/DOMAIN_TASK, or MODULE:ID where
            importing a module is what registers the id, as popgym:popgym-RepeatFirstEasy-v0.
        options: what it is made with, as {"is_slippery": False}; `max_episode_steps` is one.

    Raises:
        EnvError: no such environment, a package it needs is missing, or it rejects an option.
    """
    register()
    dmc.register(env)
    given = dict(options or {})
    name = _registered(env)
    try:
        spec = gymnasium.spec(name)
        if spec.max_episode_steps is None:
            given.setdefault("max_episode_steps", LIMIT)
        return gymnasium.make(name, disable_env_checker=True, **given)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((text for word, text in EXTRAS.items() if word in str(error).lower()), None)
        hint = f"pip install '{extra}'" if extra else "a package it needs is missing"
        raise EnvError(f"env: {env} cannot be opened ({error}); {hint}") from error
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(name, [*gymnasium.registry], 1, 0.4)
        hint = f"did you mean {close[0]}?" if close else "see gymnasium.pprint_registry()"
        raise EnvError(f"env: {env} cannot be opened ({error}); {hint}") from error
    except (TypeError, ValueError) as error:
        raise EnvError(f"env_options: {env} rejects {given} ({error})") from error


def _registered(env: str) -> str:
    """The id behind `env`, once the module before its colon, if any, is imported."""
    module, _, name = env.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise EnvError(f"env: {env} cannot be opened ({error})") from error
    return name


def limit_of(env: gymnasium.Env[Any, Any]) -> int:
    """Steps after which an episode of `make`'s environment is cut off."""
    assert env.spec is not None
    assert env.spec.max_episode_steps is not None, "make gives every environment a limit"
    return env.spec.max_episode_steps
