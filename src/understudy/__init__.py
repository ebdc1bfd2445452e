"""understudy: a language model in any part of the reinforcement-learning loop.

The names below are the Python API that stays; `understudy.launch` does what the command line does. They
are imported when they are first asked for, so that `import understudy` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.api import launch, read_metrics, resume
    from understudy.conformance import check_role
    from understudy.envs.check import check_env, check_task
    from understudy.envs.registry import make_task, register
    from understudy.envs.text_env import TextEnv
    from understudy.lm.check import check_lm
    from understudy.lm.open import open_lm
    from understudy.types import Episode, Message, UnderstudyError

__version__ = "0.1.0"

__all__ = [
    "Episode",
    "Message",
    "TextEnv",
    "UnderstudyError",
    "check_env",
    "check_lm",
    "check_role",
    "check_task",
    "launch",
    "make_task",
    "open_lm",
    "read_metrics",
    "register",
    "resume",
]

_HOME = {
    "api": ("launch", "read_metrics", "resume"),
    "conformance": ("check_role",),
    "envs.check": ("check_env", "check_task"),
    "envs.registry": ("make_task", "register"),
    "envs.text_env": ("TextEnv",),
    "lm.check": ("check_lm",),
    "lm.open": ("open_lm",),
    "types": ("Episode", "Message", "UnderstudyError"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"understudy.{home}"), name)
    raise AttributeError(f"module 'understudy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
