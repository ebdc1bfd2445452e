"""From settings to the parts of a run: worlds, the student, the teacher."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

import torch

from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.minigrid import MinigridVector
from understudy.lm.open import opened
from understudy.lm.spec import parse_spec
from understudy.roles.teacher.advice import PlanTeacher
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.planner import (
    Book,
    BookPlanner,
    ExpertPlanner,
    LanguageModel,
)
from understudy.roles.teacher.student import MapEncoder, PaperEncoder, Student, initialise
from understudy.rollout.world import GridWorld, World
from understudy.run.config import ConfigError
from understudy.run.run import Run
from understudy.run.seed import Seeds

BOOK = "plans.jsonl"
HELD_OUT_SEED = 1_000_000_000
"""Held-out episodes are of environments seeded from here on; training seeds lie below."""


def make_world(config: TeacherConfig, envs: int) -> World:
    """`envs` environments of the configured kind.

    Raises:
        EnvError: there is no such environment, or its package is not installed.
    """
    if config.env in RULES:
        return GridWorld(DoorKeyVector(config.env, envs))
    return GridWorld(MinigridVector(config.env, envs, **config.options), missions_vary=True)


def make_student(config: TeacherConfig, world: World, seeds: Seeds) -> Student:
    """The student with its first weights."""
    image = world.features(world.reset(0))["image"]
    width, height = image.shape[1:3]
    settings = config.student
    encoder = (
        MapEncoder(width, height, settings.width, mission=getattr(world, "missions_vary", False))
        if settings.encoder == "map"
        else PaperEncoder(width, height)
    )
    student = Student(
        encoder, world.actions, width=settings.width, recurrent=settings.recurrent
    )
    initialise(student, seeds.generator("student"))
    return student


def make_optimizer(student: Student, config: TeacherConfig) -> torch.optim.Optimizer:
    """Adam, as PPO's implementations have it."""
    return torch.optim.Adam(student.parameters(), lr=config.learning_rate, eps=1e-5)


def make_teacher(config: TeacherConfig, run: Run, stack: ExitStack) -> PlanTeacher:
    """The teacher; a language model stays open as long as `stack`.

    Raises:
        LMError: the model cannot be opened.
        RunError: the recorded plans cannot be read.
    """
    advice = config.advice
    if advice.who in ("expert", "noisy", "paper"):
        planner = ExpertPlanner(advice.noise if advice.who == "noisy" else 0.0)
        return PlanTeacher(planner, hard=advice.hard, through_lava=advice.who == "paper")
    if advice.plans is not None:
        book = Book.open(Path(advice.plans), None)
        return PlanTeacher(BookPlanner(book, None), hard=advice.hard)
    lm = stack.enter_context(opened(config.lm, run_folder=run.path, max_usd=advice.max_usd))
    ask = LanguageModel(
        lm,
        samples=advice.samples,
        temperature=advice.temperature,
        instructions=parse_spec(config.lm).kind != "pocket",
    )
    book = Book.open(run.path / BOOK, ask.key)
    digest = hashlib.sha256(json.dumps(ask.key).encode()).hexdigest()[:16]
    shared = Book.open(Path(config.run.root) / "teacher" / "plans" / f"{digest}.jsonl", ask.key)
    return PlanTeacher(BookPlanner(book, BookPlanner(shared, ask).rows), hard=advice.hard)
