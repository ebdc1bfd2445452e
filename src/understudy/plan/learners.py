"""The estimates of the roles whose own network learns: environment steps, updates, questions, memory.

The real parts are made and rehearse a little, so that their numbers are counted, not computed.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from understudy.lm.spec import parse_spec
from understudy.plan.estimate import FLOAT, Estimate, body_of, priced, tokens_of
from understudy.roles.teacher.advice import GoalTeacher, PlanTeacher, Teacher
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.evaluate import HELD_OUT_SEED
from understudy.roles.teacher.planner import Options, Question
from understudy.roles.teacher.schedule import weight
from understudy.roles.teacher.setup import make_student, make_world
from understudy.roles.teacher.trial import try_out
from understudy.roles.teacher.update import gradients as student_gradients, minibatches, prepare
from understudy.roles.world_model.agent import gradients as agent_gradients
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.setup import make_agent, make_envs, make_replay
from understudy.roles.world_model.train import live
from understudy.rollout.steps import Segment, Stage, collect_steps
from understudy.rollout.world import MpeWorld, World
from understudy.run.seed import Seeds
from understudy.types import Message

REHEARSED = 4096
"""Environment steps, at most, in which a teacher's questions are counted."""
WRITTEN = 200
"""Tokens that a teacher's answer may have, where it is written."""


class _Questions:
    """Stands in for a planner: answers as the expert does, and counts what a model would be asked."""

    def __init__(self, config: TeacherConfig) -> None:
        spec = parse_spec(config.lm)
        self.lm, self.told, self.scored = config.lm, spec.kind != "pocket", spec.has_weights
        self.asked, self.read = 0, 0

    def answers(self, questions: Sequence[Question]) -> list[Options]:
        """See `roles.teacher.planner.Planner`."""
        for question in questions:
            text = (question.instructions if self.told else "") + question.prompt
            scored = question.options if self.scored else ()
            self.read += sum(tokens_of(self.lm, [Message("user", t)]) for t in (text, *scored))
        self.asked += len(questions)
        return [((question.expert(), 1.0),) for question in questions]


def plan_teacher(config: TeacherConfig) -> Estimate:
    """A trial and some rounds are rehearsed, with the scripted expert in the model's place.

    A text is asked about once, and fewer and fewer are new: what comes after the rehearsal is taken
    to be new as often as in its second half.
    """
    seeds = Seeds(config.seed)
    world = make_world(config, config.envs)
    student = make_student(config, world, seeds)
    per_round = config.horizon * world.rows // world.agents
    rounds = math.ceil(config.steps / per_round)
    asks = config.method != "ppo" and config.distill.weight > 0 and config.advice.who == "lm"
    weights = [weight(config.distill, r * per_round) for r in range(rounds if asks else 0)]
    taught = sum(one > 0 for one in weights)
    noted = _Questions(config)
    teacher = _teacher(config, noted, world) if asks else None
    if teacher is not None and config.advice.trial:
        trial = make_world(config, config.advice.trial)
        try_out(teacher, trial, HELD_OUT_SEED // 2, config.gamma, seeds.generator("trial"))
    stage, segments = Stage.begin(world, 0, student.start(world.rows)), list[Segment]()
    asked = [noted.asked]
    for round_ in range(max(1, min(taught, math.ceil(REHEARSED / per_round)))):
        rng = seeds.generator("rehearsal", round_)
        segments = [collect_steps(stage, student, config.horizon, rng, teacher)]
        asked.append(noted.asked)
    lesson = prepare(segments[0], None, config)
    rng = seeds.generator("minibatches")
    parts = list(minibatches(lesson, config.minibatch, config.student.recurrent, rng))
    with _kept(student) as kept:
        student_gradients(student, parts[0], config, 0.0)
    evaluated = 1 + math.ceil(rounds / math.ceil(config.eval_every / per_round))
    taken = {
        "steps": rounds * per_round,
        "updates": rounds * config.epochs * len(parts),
        "memory": _memory(student, kept) | (_weights(config.lm) if asks else {}),
        "notes": (f"held-out episodes besides: ≤ {evaluated * config.eval_episodes:,}",),
    }
    if not asks:
        return Estimate(None, **taken)  # pyright: ignore[reportArgumentType]
    calls = _texts(asked, taught) * (1 if noted.scored else config.advice.samples)
    read = round(calls * noted.read / max(1, noted.asked))
    return priced(config.lm, calls, read, 0 if noted.scored else calls * WRITTEN, **taken)


def _teacher(config: TeacherConfig, noted: _Questions, world: World) -> Teacher:
    advice = config.advice
    if isinstance(world, MpeWorld):
        return GoalTeacher(noted, world.env.task, hard=advice.hard, hear=advice.hear)
    return PlanTeacher(noted, hard=advice.hard)


def _texts(asked: Sequence[int], taught: int) -> int:
    """Distinct texts of a whole run, from how many there were before and after each round."""
    done = len(asked) - 1
    half = done // 2
    rate = (asked[-1] - asked[half]) / (done - half)
    return math.ceil(asked[-1] + max(0, taught - done) * rate)


def _weights(lm: str) -> dict[str, int]:
    body = body_of(lm)
    return {} if body is None else {"the language model's weights": body.parameters * FLOAT}


def plan_world_model(config: WorldModelConfig) -> Estimate:
    """The agent is made, lives until there is a batch, and takes one gradient; nobody is asked."""
    seeds, settings = Seeds(config.seed), config.replay
    envs = make_envs(config, seeds, "envs", config.envs)
    agent = make_agent(config, envs, seeds)
    replay = make_replay(config, envs, agent)
    generator = torch.Generator().manual_seed(config.seed)
    carry = agent.model.core.init_state(len(envs))
    envs.advance(None)
    while not replay.ready:
        carry = live(agent, envs, replay, carry, generator)
    batch, _ = replay.draw(settings.batch, np.random.default_rng(config.seed))
    with _kept(agent) as kept:
        agent_gradients(agent, batch, config, generator)
    per_update = settings.batch * settings.length
    least = max(settings.prefill, per_update // 4)
    owed = int((config.steps - least) * settings.ratio / per_update) + 1
    step = sum(np.dtype(kind).itemsize * math.prod(shape) for shape, kind in replay.fields.values())
    # A ring doubles until it is full; resets are steps of it, too.
    room, rows = min(1024, replay.room), min(replay.room, config.steps // config.envs)
    while room < rows:
        room = min(replay.room, 2 * room)
    memory = _memory(agent, kept) | {"replay": room * config.envs * step}
    notes = (f"a remembered step: {step:,} B", f"held-out episodes besides: {config.eval_episodes}")
    updates = owed if config.steps >= least else 0
    return Estimate(None, steps=config.steps, updates=updates, memory=memory, notes=notes)


@contextmanager
def _kept(module: nn.Module) -> Generator[dict[int, int]]:
    """Bytes by address of what is kept for a gradient, a module's own weights left out."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    held: dict[int, int] = {}
    alive: list[Tensor] = []  # an address is that of one thing only as long as the thing is there

    def note(x: Tensor) -> Tensor:
        at = x.untyped_storage().data_ptr()
        if at not in own and at not in held:
            held[at] = x.untyped_storage().nbytes()
            alive.append(x.detach())
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        yield held


def _memory(module: nn.Module, kept: dict[int, int]) -> dict[str, int]:
    """Bytes of a network that is trained by an optimizer with two moments."""
    trained = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    whole = sum(x.nbytes for x in (*module.parameters(), *module.buffers()))
    return {
        "weights": whole,
        "gradients": trained,
        "the optimizer's two moments": 2 * trained,
        "activations of a backward pass": sum(kept.values()),
    }
