"""The teacher's loop with its updates divided among processes.

The leader runs `train` as it is, with another `gradients`, which sends every follower the present
weights and its share of a minibatch and adds up what they give back. Advantages are normalised before
they are divided, and every term of the loss is a mean over steps, so that the parts' gradients, each
weighted by its part of the steps, add up to the whole's.

Acting is not divided. The environments of a world are stepped as one batch whose state is in the
checkpoint, and the teacher is asked once for all rows that show the same text: divided, the same
question would be paid for more than once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.evaluate import Evaluation
from understudy.roles.teacher.gate import Gate
from understudy.roles.teacher.setup import make_student, make_world
from understudy.roles.teacher.student import Student, Team
from understudy.roles.teacher.train import train
from understudy.roles.teacher.update import Lesson, gradients, rows_of
from understudy.rollout.steps import Advise, Segment
from understudy.rollout.world import World
from understudy.run.run import Run
from understudy.run.seed import Seeds
from understudy.run.workers import Follower, Leader, Message, crew, share


def train_ddp(
    config: TeacherConfig,
    run: Run,
    *,
    world: World,
    held_out: World,
    student: Student | Team,
    optimizer: torch.optim.Optimizer,
    teacher: Advise | None = None,
    gate: Gate | None = None,
) -> Evaluation | None:
    """`train` in `config.workers` processes; the same weights, up to rounding.

    Raises:
        RunError: a worker failed or died.
    """
    with crew(serve, config, config.workers) as leader:

        def divided(
            student: Student | Team, some: Lesson, config: TeacherConfig, weight: float
        ) -> dict[str, float]:
            return _divided(leader, student, some, config, weight)

        return train(
            config, run, world=world, held_out=held_out, student=student, optimizer=optimizer,
            teacher=teacher, gate=gate, gradients=divided,
        )  # fmt: skip


def _divided(
    leader: Leader, student: Student | Team, some: Lesson, config: TeacherConfig, weight: float
) -> dict[str, float]:
    """See `update.gradients`."""
    rows = some.advantages.shape[1]
    shares = [share(torch.arange(rows).tolist(), rank, leader.size) for rank in range(leader.size)]
    parts = [rows_of(some, torch.tensor(chosen, dtype=torch.long)) for chosen in shares]
    leader.order(
        "gradients",
        [
            Message({"weight": weight, "share": len(chosen) / rows}, _packed(part))
            for chosen, part in zip(shares[1:], parts[1:], strict=True)
        ],
    )
    leader.spread(student.parameters())
    found = [_part(student, parts[0], config, weight, len(shares[0]) / rows)]
    leader.add_gradients(student.parameters())
    found += [reply.fields["stats"] for reply in leader.replies()]
    names = max(found, key=len)
    return {name: sum(stats.get(name, 0.0) for stats in found) for name in names}


def serve(config: TeacherConfig, follower: Follower) -> None:
    """A follower's side."""
    student = make_student(config, make_world(config, 1), Seeds(config.seed))
    for _, order in follower.orders():
        follower.spread(student.parameters())
        job = order.fields
        stats = _part(student, _unpacked(order.tensors), config, job["weight"], job["share"])
        follower.add_gradients(student.parameters())
        follower.reply(Message({"stats": stats}))


def _part(
    student: Student | Team, some: Lesson, config: TeacherConfig, weight: float, share: float
) -> dict[str, float]:
    """Nothing where there are more processes than rows: a mean of nothing is no number."""
    return gradients(student, some, config, weight, share) if share else {}


_SEGMENT = ("starts", "hidden", "actions", "values", "teacher")
_LESSON = ("advantages", "returns", "logprobs", "gate")
_UNREAD = ("logits", "next_values", "rewards", "terminated", "ended")
"""What a segment has and the loss does not read."""


def _packed(some: Lesson) -> dict[str, Tensor]:
    """All that the loss reads."""
    segment = some.segment
    found = {name: getattr(segment, name) for name in _SEGMENT}
    found |= {name: getattr(some, name) for name in _LESSON}
    found |= {f"features.{name}": value for name, value in segment.features.items()}
    return {name: value for name, value in found.items() if value is not None}


def _unpacked(tensors: dict[str, Tensor]) -> Lesson:
    features = {
        name.removeprefix("features."): value
        for name, value in tensors.items()
        if name.startswith("features.")
    }
    nothing = dict.fromkeys(_UNREAD, torch.empty(0))
    read = {name: tensors.get(name) for name in _SEGMENT}
    segment = Segment(features=features, **nothing, **read)  # pyright: ignore[reportArgumentType]
    return Lesson(segment, **{name: tensors[name] for name in _LESSON})
