"""From settings to the parts of a run: worlds, the student, the teacher."""

from __future__ import annotations

import difflib
import hashlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import ACTIONS
from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.egocentric import vocabulary
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.minigrid import MinigridVector
from understudy.envs.grid.plans import INSTRUCTIONS
from understudy.envs.mpe.vector import TASKS, MpeVector
from understudy.lm.open import opened
from understudy.lm.spec import parse_spec
from understudy.roles.teacher.advice import GoalTeacher, PlanTeacher, Teacher
from understudy.roles.teacher.book import Book
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.planner import BookPlanner, ExpertPlanner, LanguageModel, Planner
from understudy.roles.teacher.questions import GOAL_INSTRUCTIONS
from understudy.roles.teacher.student import (
    MapEncoder,
    PaperEncoder,
    Student,
    Team,
    VectorEncoder,
    initialise,
)
from understudy.rollout.world import GridWorld, MpeWorld, World
from understudy.run.config import ConfigError
from understudy.run.device import device_of
from understudy.run.run import Run
from understudy.run.seed import Seeds

BOOK = "plans.jsonl"
"""A run's book of answers, in its directory."""
MPE = "mpe/"


def make_world(config: TeacherConfig, envs: int) -> World:
    """`envs` environments of the configured kind.

    Raises:
        EnvError: there is no such environment, or its package is not installed.
    """
    if config.env.startswith(MPE):
        options: dict[str, Any] = dict(config.options)
        return MpeWorld(MpeVector(config.env.removeprefix(MPE), envs, **options))
    raw = config.student.encoder == "paper"
    if config.env in RULES:
        if config.options:
            raise ConfigError(f"options: {config.env} has none")
        return GridWorld(DoorKeyVector(config.env, envs), raw=raw)
    if not config.env.startswith(("MiniGrid-", "BabyAI-")):
        known = [*RULES, *(MPE + task for task in TASKS)]
        near = difflib.get_close_matches(config.env, known, 1, 0.3) or known
        raise EnvError(
            f"no environment {config.env!r}; did you mean {near[0]!r}? There are "
            f"{', '.join(known)}, and every MiniGrid and BabyAI id"
        )
    env = MinigridVector(config.env, envs, **config.options)
    actions = int(getattr(env.single_action_space, "n", 0))
    if actions != len(ACTIONS):
        raise EnvError(
            f"{config.env}: has {actions} actions; a student needs MiniGrid's {len(ACTIONS)}: "
            f"{', '.join(ACTIONS)}"
        )
    return GridWorld(env, missions_vary=True, raw=raw)


def make_student(config: TeacherConfig, world: World, seeds: Seeds) -> Student | Team:
    """The student with its first weights."""
    settings = config.student
    if isinstance(world, MpeWorld):
        shapes = {k: v.shape[1] for k, v in world.features(world.reset(0)).items() if v.dim() == 2}
        seen = "all" if settings.central else "own"

        def one() -> Student:
            return Student(
                VectorEncoder("own", shapes["own"], settings.width),
                world.actions,
                width=settings.width,
                recurrent=settings.recurrent,
                critic_encoder=VectorEncoder(seen, shapes[seen], settings.width),
            )

        student = one() if settings.shared else Team([one() for _ in range(world.agents)])
    else:
        student = Student(
            _map_encoder(config, world),
            world.actions,
            width=settings.width,
            recurrent=settings.recurrent,
        )
    initialise(student, seeds.generator("student"))
    return student.to(device_of(config.run.device))


def _map_encoder(config: TeacherConfig, world: World) -> MapEncoder | PaperEncoder:
    observation = world.reset(0)
    width, height = observation["image"].shape[1:3]
    if config.student.encoder == "map":
        told = "mission" in world.features(observation)
        return MapEncoder(vocabulary(width, height), config.student.width, mission=told)
    return PaperEncoder(width, height)


def make_optimizer(student: torch.nn.Module, config: TeacherConfig) -> torch.optim.Optimizer:
    """Adam, as PPO's implementations have it."""
    return torch.optim.Adam(student.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)


def check_teacher(config: TeacherConfig) -> None:
    """Opens what the teacher needs once, before there is a run: an error then leaves none behind.

    Raises:
        LMError: the model cannot be opened.
        RunError: the recorded answers cannot be read.
    """
    if config.advice.plans is not None:
        Book.open(Path(config.advice.plans))
    elif config.advice.who == "lm":
        with opened(config.lm, max_usd=config.advice.max_usd, device=device_of(config.run.device)):
            pass


def make_teacher(config: TeacherConfig, world: World, run: Run, stack: ExitStack) -> Teacher:
    """The teacher; a language model stays open as long as `stack`.

    Raises:
        LMError: the model cannot be opened.
        RunError: the recorded answers cannot be read.
    """
    advice = config.advice
    planner = _planner(config, world, run, stack)
    if isinstance(world, MpeWorld):
        return GoalTeacher(planner, world.env.task, hard=advice.hard, hear=advice.hear)
    return PlanTeacher(planner, hard=advice.hard, through_lava=advice.who == "paper")


def _planner(config: TeacherConfig, world: World, run: Run, stack: ExitStack) -> Planner:
    advice = config.advice
    if advice.who in ("expert", "noisy", "paper"):
        return ExpertPlanner(advice.noise if advice.who == "noisy" else 0.0)
    if advice.plans is not None:
        return BookPlanner(Book.open(Path(advice.plans)))
    device = device_of(config.run.device)
    lm = stack.enter_context(
        opened(config.lm, run_folder=run.path, max_usd=advice.max_usd, device=device)
    )
    ask = LanguageModel(
        lm,
        samples=advice.samples,
        temperature=advice.temperature,
        instructions=parse_spec(config.lm).kind != "pocket",
    )
    key = ask.key(GOAL_INSTRUCTIONS if isinstance(world, MpeWorld) else INSTRUCTIONS)
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    shared = Book.open(Path(config.run.root) / "teacher" / "plans" / f"{digest}.jsonl", key)
    return BookPlanner(Book.open(run.path / BOOK, key), BookPlanner(shared, ask).rows)
