"""Environments by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from understudy.envs import gsm8k, math_task
from understudy.envs.base import EnvError, Grade, Problem, Task
from understudy.envs.countdown import Countdown
from understudy.envs.grid.plan_task import PlanDoorKey
from understudy.envs.mpe.plan_task import PlanMpe
from understudy.envs.reasoning import ReasoningGym
from understudy.envs.search import propose_task
from understudy.envs.study import simulate_task
from understudy.envs.text_env import TextEnv
from understudy.envs.word_problems import WordProblems

Factory = Callable[..., Task]

_TASKS: dict[str, Factory] = {
    "word-problems": WordProblems,
    "gsm8k": gsm8k.GSM8K,
    "math": math_task.Math,
    "countdown": Countdown,
    "plan/doorkey": PlanDoorKey,
    "plan/mpe": PlanMpe,
    "simulate/low-mood": partial(simulate_task.Simulate, "low-mood"),
    **{
        propose_task.PREFIX + about: partial(propose_task.Propose, about)
        for about in propose_task.RANDOM
    },
}
GYM_PREFIX = "reasoning-gym/"


def register(name: str, factory: Factory) -> None:
    """Adds a task: `factory(split=…, **options)` makes one of its splits.

    Packages register theirs by an entry point of the group `understudy.envs`.
    """
    _TASKS[name] = factory


def names() -> list[str]:
    """All names that `make_task` knows, without the open-ended reasoning-gym/…, propose/… and simulate/…."""
    return sorted({*_TASKS, *(e.name for e in entry_points(group="understudy.envs"))})


def make_task(env: str, *, split: str, **options: Any) -> Task:
    """One split of a task.

    Raises:
        EnvError: unknown name, unknown option or bad value; the nearest valid name is given.
    """
    if env.startswith(GYM_PREFIX):
        return ReasoningGym(env.removeprefix(GYM_PREFIX), split, **options)
    factory = _find(env)
    parameters = inspect.signature(factory).parameters
    known = {name: p for name, p in parameters.items() if name != "split"}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option, value in options.items():
        if option not in known and takes_any:
            continue
        if option not in known:
            raise EnvError(
                f"{env}: unknown option {option!r}{_nearest(option, list(known))}; it has {', '.join(known)}"
            )
        usual = known[option].default
        if not _alike(value, usual):
            raise EnvError(
                f"{env}: option {option!r} must be of the same kind as {usual!r}, not {value!r}"
            )
    try:
        return factory(
            split=split, **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        )
    except (TypeError, ValueError) as error:
        raise EnvError(str(error) if str(error).startswith(env) else f"{env}: {error}") from error


def make(
    env: str, *, split: str = "train", options: Mapping[str, Any] | None = None, **settings: Any
) -> TextEnv:
    """A task as a Gymnasium environment; `settings` are those of `TextEnv`."""
    return TextEnv(make_task(env, split=split, **(options or {})), **settings)


def make_grader(env: str) -> Callable[[Problem, str], Grade]:
    """A task's grading rule without its problems, for answers from elsewhere.

    Raises:
        EnvError: unknown name, or a task whose rule needs more than the gold answer.
    """
    rules: dict[str, Callable[[Problem, str], Grade]] = {
        "gsm8k": gsm8k.grade_number,
        "word-problems": gsm8k.grade_number,
        "math": math_task.grade_boxed,
    }
    if env not in rules:
        raise EnvError(
            f"no grader for {env!r}{_nearest(env, list(rules))}; graders: {', '.join(rules)}"
        )
    return rules[env]


def _find(env: str) -> Factory:
    if env in _TASKS:
        return _TASKS[env]
    if env.startswith(propose_task.PREFIX):
        return partial(propose_task.Propose, env.removeprefix(propose_task.PREFIX))
    if env.startswith(simulate_task.PREFIX):
        return partial(simulate_task.Simulate, env.removeprefix(simulate_task.PREFIX))
    for entry in entry_points(group="understudy.envs"):
        if entry.name == env:
            return entry.load()
    raise EnvError(
        f"unknown environment {env!r}{_nearest(env, names())}; there are {', '.join(names())}, reasoning-gym/NAME, propose/GYMNASIUM_ID, simulate/STUDY.toml"
    )


def _alike(value: Any, usual: Any) -> bool:
    """Whether an option's value has the type of its default, as far as that tells the type."""
    if isinstance(usual, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        # An empty default is a list of any length; its factory knows what may be in it.
        alike = len(value) == len(usual) and all(map(_alike, value, usual))
        return alike or not usual
    if isinstance(usual, float):
        return type(value) in (int, float)
    return type(value) is type(usual) or not isinstance(usual, (bool, int, str))


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
