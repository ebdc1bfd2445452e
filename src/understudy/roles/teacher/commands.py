"""What the command line runs for the teacher role: settings in, a finished run directory out."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from understudy.roles.teacher.advice import Teacher
from understudy.roles.teacher.config import CompareConfig, EvalConfig, Method, TeacherConfig
from understudy.roles.teacher.evaluate import (
    HELD_OUT_SEED,
    Act,
    evaluate,
    student_acts,
    teacher_acts,
)
from understudy.roles.teacher.gate import Gate
from understudy.roles.teacher.setup import (
    check_teacher,
    make_optimizer,
    make_student,
    make_teacher,
    make_world,
)
from understudy.roles.teacher.summary import REPORT_CARD
from understudy.roles.teacher.train import train
from understudy.roles.teacher.train_ddp import train_ddp
from understudy.roles.teacher.trial import COMPETITIVE, Trial, try_out
from understudy.roles.teacher.video import record
from understudy.rollout.world import World
from understudy.run import checkpoint as checkpoints
from understudy.run.config import load
from understudy.run.errors import RunError
from understudy.run.run import Run


def run_train(config: TeacherConfig) -> Path:
    """Trains a student; returns the run directory.

    Raises:
        Stopped: a signal asked for it; a checkpoint is written.
    """
    world, held_out = make_world(config, config.envs), make_world(config, config.eval_episodes)
    taught = config.method != "ppo" and config.distill.weight > 0
    if taught:
        check_teacher(config)
    with Run.create("teacher", config.env, config, config.run) as run, ExitStack() as stack:
        student = make_student(config, world, run.seeds)
        teacher = trial = gate = None
        if taught:
            teacher = make_teacher(config, world, run, stack)
            trial = _trial(config, run, teacher)
            if trial is not None and config.distill.schedule == "adaptive":
                gate = Gate(teacher, trial.values)
        dismissed = trial is not None and not trial.passed and _may_dismiss(config)
        loop = train if config.workers == 1 else train_ddp
        loop(
            config,
            run,
            world=world,
            held_out=held_out,
            student=student,
            optimizer=make_optimizer(student, config),
            teacher=None if dismissed else teacher,
            gate=None if dismissed else gate,
        )
        if teacher is not None:
            _write_card(run.path, teacher, trial)
        return run.path


def run_eval(config: EvalConfig) -> Path:
    """Plays held-out episodes with a teacher or with a trained student."""
    base = config.base
    weights = None
    if config.who == "student":
        base, weights = _of_run(config), _weights(Path(config.student))
    else:
        check_teacher(base)
    world = make_world(base, config.episodes)
    with (
        Run.create("teacher", base.env, config, base.run, verb="eval") as run,
        ExitStack() as stack,
    ):
        run.restore()  # it has no checkpoints: one that was stopped begins anew
        student = make_student(base, world, run.seeds)
        if weights is not None:
            student.load_state_dict(weights)
        teacher = make_teacher(base, world, run, stack) if weights is None else None

        def actor(world: World) -> Act:
            rng = run.seeds.generator("evaluation", 0)
            return teacher_acts(teacher, rng) if teacher else student_acts(student, world, rng)

        run.log(0, evaluate(world, actor(world)).metrics())
        if teacher is not None:
            _write_card(run.path, teacher)
        if config.video:
            record(base, actor(make_world(base, 1)), run.path / "media" / "episode.gif")
        return run.path


def run_compare(config: CompareConfig) -> Path:
    """Every method and seed; returns the table's file."""
    base = config.base
    out = Path(base.run.root) / "teacher" / base.env.replace("/", "-") / "compare.json"
    rows: list[dict[str, Any]] = []
    for method in config.methods:
        for seed in config.seeds:
            path = _compare_one(config, method, seed)
            row = {"method": method, "seed": seed, "run": str(path)}
            rows.append({**row, "steps": base.steps, "threshold": config.threshold})
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return out


def play(method: str, config: TeacherConfig | EvalConfig) -> Path:
    """One run of a grid; returns its directory."""
    del method
    return run_eval(config) if isinstance(config, EvalConfig) else run_train(config)


def _compare_one(config: CompareConfig, method: Method, seed: int) -> Path:
    base = replace(config.base, seed=seed, run=replace(config.base.run, name=None))
    if method == "teacher":
        return run_eval(
            EvalConfig(who="teacher", episodes=base.eval_episodes, seed=seed, base=base)
        )
    if method == "ppo":
        # Alone it may need many more steps; it stops where it is as good as is asked for.
        steps = config.ppo_steps or base.steps
        stop = config.threshold if config.ppo_steps else base.stop_at
        return run_train(replace(base, method="ppo", steps=steps, stop_at=stop))
    return run_train(replace(base, method=method))


def _may_dismiss(config: TeacherConfig) -> bool:
    """Cloning has nothing but the teacher, and where agents compete a trial says little."""
    return config.method != "cloning" and config.env not in COMPETITIVE


def _trial(config: TeacherConfig, run: Run, teacher: Teacher) -> Trial | None:
    """Tries the teacher on environments that are neither trained nor tested on."""
    if not config.advice.trial:
        return None
    world = make_world(config, config.advice.trial)
    rng = run.seeds.generator("trial")
    return try_out(teacher, world, HELD_OUT_SEED // 2, config.gamma, rng)


def _write_card(path: Path, teacher: Teacher, trial: Trial | None = None) -> None:
    found = {
        "met": dict(sorted(teacher.met.items(), key=lambda item: (-item[1], item[0]))),
        "asked": sum(teacher.met.values()),
        "texts": len(teacher.met),
        "fallbacks": teacher.fallbacks,
        "trial": None if trial is None else trial.summary(),
    }
    (path / REPORT_CARD).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _of_run(config: EvalConfig) -> TeacherConfig:
    """The settings a student was trained with, with this command's run directory."""
    file = Path(config.student) / "config.toml"
    if not file.is_file():
        raise RunError(f"student: {config.student} is not a run directory (no config.toml)")
    return replace(load(TeacherConfig, ["--config", str(file)]), run=config.base.run)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    found = checkpoints.load(path / "checkpoints")
    if found is None or "student" not in found.tensors:
        raise RunError(f"{path}: holds no student; train one with understudy teacher train")
    return found.tensors["student"]
