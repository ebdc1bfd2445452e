"""What an environment shows and accepts, in the kinds that a world model knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from understudy.envs.base import EnvError

Kind = Literal["vector", "discrete", "image", "token"]


@dataclass(frozen=True, slots=True)
class Key:
    """One part of an observation."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    """As stored: vectors and discrete values [n], images [height, width, channels], tokens [n]."""
    dtype: str
    classes: int = 0
    """discrete and token: how many values there are."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What an agent may do."""

    size: int
    """Features of an action in the model: one-hot classes, or one per dimension."""
    discrete: bool
    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]
    start: int = 0

    def to_env(self, action: np.ndarray[Any, Any]) -> Any:
        """One action [size] of the model as the environment wants it."""
        if self.discrete:
            return int(action.argmax()) + self.start
        unit = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0
        return (self.low + unit * (self.high - self.low)).astype(self.low.dtype)


WHOLE = "observation"
"""Name of an observation that is not a dictionary."""


def keys_of(space: gymnasium.Space[Any]) -> tuple[Key, ...]:
    """The parts of an observation, by name.

    A `Discrete` or `MultiDiscrete` part of a dictionary whose name begins with `token` is language.

    Raises:
        EnvError: a part is of a kind no encoder is for.
    """
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {WHOLE: space}
    return tuple(_key(name, part) for name, part in sorted(parts.items()))


def _key(name: str, space: gymnasium.Space[Any]) -> Key:
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        if np.any(np.asarray(space.start) != 0):
            raise EnvError(f"env: observation {name!r} is {space}; discrete parts must start at 0")
        counts = np.atleast_1d(space.n if isinstance(space, spaces.Discrete) else space.nvec)
        kind: Kind = "token" if name.startswith("token") else "discrete"
        return Key(name, kind, (counts.size,), "int64", int(counts.max()))
    if isinstance(space, spaces.MultiBinary):
        return Key(name, "vector", (int(np.prod(space.shape)),), "float32")
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8 and len(space.shape) == 3:
            return Key(name, "image", space.shape, "uint8")
        return Key(name, "vector", (int(np.prod(space.shape)),), "float32")
    raise EnvError(
        f"env: observation {name!r} is {type(space).__name__}; a world model knows Box, Discrete, "
        "MultiDiscrete, MultiBinary and a Dict of these"
    )


def actions_of(space: gymnasium.Space[Any]) -> Actions:
    """What the agent may do.

    Raises:
        EnvError: neither Discrete nor a bounded Box.
    """
    if isinstance(space, spaces.Discrete):
        none = np.zeros(0, np.float32)
        return Actions(int(space.n), True, none, none, int(space.start))
    if (
        isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and np.isfinite([space.low, space.high]).all()
    ):
        return Actions(space.shape[0], False, space.low, space.high)
    raise EnvError(f"env: actions {space}; an actor knows Discrete and one-dimensional bounded Box")


def flatten(
    keys: tuple[Key, ...], observation: Any, *, blank: bool = False
) -> dict[str, np.ndarray[Any, Any]]:
    """An observation as one array per key; `blank` replaces every token by 0."""
    parts: Mapping[str, Any] = (
        observation if isinstance(observation, Mapping) else {WHOLE: observation}
    )
    found: dict[str, np.ndarray[Any, Any]] = {}
    for key in keys:
        value = np.asarray(parts[key.name], key.dtype).reshape(key.shape)
        found[key.name] = np.zeros_like(value) if blank and key.kind == "token" else value
    return found
