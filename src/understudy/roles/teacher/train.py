"""The teacher role: a teacher advises, a small student learns by PPO, and outgrows it.

The whole loop, top to bottom: act for a while, asking the teacher what it would have done; compute
advantages; update on rewards and advice; let the weight of the advice fade. Once it is 0 the
teacher is asked no more. Each round's noise follows from (seed, steps so far), and the
environments' state is in the checkpoint, so a run that was stopped goes on as if nothing had
happened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from understudy.roles.teacher.advice import Teacher
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.evaluate import (
    HELD_OUT_SEED,
    Evaluation,
    evaluate,
    student_acts,
)
from understudy.roles.teacher.gate import Gate
from understudy.roles.teacher.schedule import weight
from understudy.roles.teacher.student import Student, Team
from understudy.roles.teacher.update import Gradients, gradients, prepare, update
from understudy.rollout.steps import Advise, Segment, Stage, collect_steps
from understudy.rollout.world import World
from understudy.run.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from understudy.run.progress import Progress
from understudy.run.run import Run


@dataclass
class State:
    """What a checkpoint holds: everything a round reads that the seed does not give."""

    student: Student | Team
    optimizer: torch.optim.Optimizer
    stage: Stage
    teacher: Advise | None = None
    gate: Gate | None = None
    steps: int = 0
    """Environment steps so far."""
    evaluated: int = 0
    """Steps at the last evaluation."""
    best: float | None = None
    """The best mean return of an evaluation."""
    over: bool = False
    """Whether training is done."""

    def save(self, run: Run, *, best: bool = False) -> None:
        """Writes a checkpoint at the end of a round."""
        optimizer, scalars = pack_optimizer(self.optimizer)
        world, rest = _split(self.stage.world.get_state())
        tensors = {
            "student": dict(self.student.state_dict()),
            "optimizer": optimizer,
            "world": world,
            "stage": {
                "starts": self.stage.starts,
                "hidden": self.stage.hidden,
                "returns": torch.from_numpy(self.stage.returns),
            },
        }
        state = {
            "optimizer": scalars,
            "world": rest,
            "evaluated": self.evaluated,
            "best": self.best,
            "over": self.over,
            # A plain function may advise too; it keeps no counts.
            "teacher": self.teacher.counts() if isinstance(self.teacher, Teacher) else None,
            "gate": None if self.gate is None else self.gate.get_state(),
        }
        run.checkpoint(self.steps, tensors, state, best=best)

    def load(self, found: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        self.steps, self.evaluated = found.step, int(found.state["evaluated"])
        self.best, self.over = found.state["best"], bool(found.state["over"])
        self.student.load_state_dict(found.tensors["student"])
        unpack_optimizer(self.optimizer, found.tensors["optimizer"], found.state["optimizer"])
        arrays = {k: v.numpy() for k, v in found.tensors.get("world", {}).items()}
        stage = found.tensors["stage"]
        self.stage.observation = self.stage.world.set_state({**found.state["world"], **arrays})
        device = self.stage.hidden.device
        self.stage.starts = stage["starts"].to(device)
        self.stage.hidden = stage["hidden"].to(device)
        self.stage.returns = stage["returns"].numpy()
        if isinstance(self.teacher, Teacher):
            self.teacher.recount(found.state["teacher"])
        if self.gate is not None:
            self.gate.set_state(found.state["gate"])


def train(
    config: TeacherConfig,
    run: Run,
    *,
    world: World,
    held_out: World,
    student: Student | Team,
    optimizer: torch.optim.Optimizer,
    teacher: Advise | None = None,
    gate: Gate | None = None,
    gradients: Gradients = gradients,
) -> Evaluation | None:
    """Trains `student` in place; returns its last evaluation.

    Args:
        config: the settings; `config.steps` environment steps.
        run: where everything is written; if it holds a checkpoint, training goes on from there.
        world: the environments to learn in.
        held_out: the environments of the evaluation, one episode each.
        student: the network.
        optimizer: over its parameters.
        teacher: who advises; None for PPO alone.
        gate: where the teacher is still followed (the adaptive schedule).
        gradients: how the gradient of a minibatch comes about.
    """
    seed = run.seeds.integer("envs") % (HELD_OUT_SEED // 2)
    stage = Stage.begin(world, seed, student.start(world.rows))
    state = State(student, optimizer, stage, teacher, gate)
    found = run.restore()
    evaluation = None
    if found is not None:
        state.load(found)
    else:
        evaluation = evaluate(held_out, _acts(state, held_out, run))
        run.log(0, evaluation.metrics())
        state.save(run)
    per_round = config.horizon * world.rows // world.agents
    title = f"{config.method} on {config.env}"
    with Progress(config.steps, title, start=state.steps, enabled=run.config.progress) as bar:
        while not state.over and not run.stop_requested:
            started = time.monotonic()
            now = _weight(config, state)
            advise: Advise | None = teacher if now > 0 else None
            if gate is not None and advise is not None:
                advise = gate.watch(advise)
            acting = run.seeds.generator("acting", state.steps)
            segment = collect_steps(stage, student, config.horizon, acting, advise)
            mask = None if gate is None or advise is None else gate.mask(segment.values)
            _set_rate(config, state)
            collected = time.monotonic()
            shuffling = run.seeds.generator("minibatches", state.steps)
            lesson = prepare(segment, mask, config)
            stats = update(student, optimizer, lesson, config, now, shuffling, gradients)
            state.steps += per_round
            stats |= _collected(segment, now, mask)
            state.over, better = state.steps >= config.steps, False
            if state.over or state.steps - state.evaluated >= config.eval_every:
                evaluation = evaluate(held_out, _acts(state, held_out, run))
                stats |= evaluation.metrics()
                better = _note(config, state, evaluation)
            done = time.monotonic()
            clocks = {"seconds": done - started, "collecting": collected - started}
            run.log(state.steps, stats, timing=clocks)
            if (
                state.over
                or better
                or (state.steps // per_round) % config.run.checkpoint_every == 0
            ):
                state.save(run, best=better)
            bar.update(state.steps, success=stats.get("success", 0.0), best=state.best or 0.0)
        if run.stop_requested and not state.over:
            state.save(run)
    return evaluation


def _weight(config: TeacherConfig, state: State) -> float:
    if state.teacher is None or (state.gate is not None and state.gate.closed):
        return 0.0
    return weight(config.distill, state.steps)


def _set_rate(config: TeacherConfig, state: State) -> None:
    left = 1.0 - state.steps / config.steps if config.anneal else 1.0
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * left


def _acts(state: State, held_out: World, run: Run) -> Any:
    return student_acts(state.student, held_out, run.seeds.generator("evaluation", state.steps))


def _note(config: TeacherConfig, state: State, evaluation: Evaluation) -> bool:
    """Whether the student is the best so far; `over` where it is as good as is asked for."""
    state.evaluated = state.steps
    reached = evaluation.mean if config.env.startswith("mpe/") else evaluation.success
    state.over |= config.stop_at is not None and reached >= config.stop_at
    better = state.best is None or evaluation.mean > state.best
    state.best = evaluation.mean if better else state.best
    return better


def _collected(segment: Segment, now: float, mask: torch.Tensor | None) -> dict[str, float]:
    """What the training episodes that ended in this round brought."""
    stats = {"weight": now}
    if segment.returns:
        stats["return"] = float(np.mean(segment.returns))
        stats["success"] = float(np.mean([value > 0 for value in segment.returns]))
    if segment.teacher is not None:
        agreed = segment.teacher.gather(-1, segment.actions[..., None])[..., 0]
        stats["agreement"] = float(agreed.mean())
    if mask is not None:
        stats["followed"] = float(mask.mean())
    return stats


def _split(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Arrays as tensors, and the rest."""
    arrays = {k: torch.from_numpy(v) for k, v in state.items() if isinstance(v, np.ndarray)}
    return arrays, {k: v for k, v in state.items() if k not in arrays}
