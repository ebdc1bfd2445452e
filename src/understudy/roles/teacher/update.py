"""PPO with a teacher: the clipped surrogate, the value's loss, entropy, and the distillation term.

PPO: Schulman et al., arXiv 1707.06347; the term: kickstarting, Schmitt et al., arXiv 1803.03835,
on the student's own states. Unlike LLM4Teach, the advantages are GAE's, and a state where the
gate is closed adds nothing to the term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from understudy import ops
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.student import Student, Team
from understudy.rollout.steps import Segment


@dataclass(frozen=True)
class Lesson:
    """A segment with what the update makes of it; [T, R] where nothing else is said."""

    segment: Segment
    advantages: Tensor
    returns: Tensor
    logprobs: Tensor
    gate: Tensor
    """Where the teacher is followed, 0 or 1."""


def prepare(segment: Segment, gate: Tensor | None, config: TeacherConfig) -> Lesson:
    """Advantages and returns of a segment."""
    advantages = ops.gae(
        segment.rewards.T,
        segment.values.T,
        segment.next_values.T,
        segment.terminated.T,
        segment.ended.T,
        config.gamma,
        config.gae_lambda,
    ).T
    logprobs = ops.selective_log_softmax(segment.logits, segment.actions)
    every = torch.ones_like(segment.values)
    return Lesson(
        segment, advantages, advantages + segment.values, logprobs, every if gate is None else gate
    )


def gradients(
    student: Student | Team, some: Lesson, config: TeacherConfig, weight: float, share: float = 1.0
) -> dict[str, float]:
    """Adds the gradient of a minibatch's loss to the student's.

    Args:
        student: the network.
        some: the minibatch, its advantages already normalised.
        config: the settings.
        weight: of the distillation term.
        share: every term is a mean over steps; where these are a part of a minibatch, how large a part.

    Returns:
        The terms, as their share of the whole minibatch's.
    """
    segment, teacher = some.segment, some.segment.teacher
    outlook = student.unroll(segment.features, segment.hidden, segment.starts)
    logprobs = ops.selective_log_softmax(outlook.logits, segment.actions)
    surrogate, clipped = ops.ppo_clip(
        logprobs, some.logprobs, some.advantages, config.clip, config.clip
    )
    value = ops.value_loss(outlook.values, some.returns, segment.values, config.value_clip)
    entropy = ops.entropy(outlook.logits).mean()
    loss = config.value_coef * value.mean()
    if config.method != "cloning":
        loss = loss + surrogate.mean() - config.entropy_coef * entropy
    stats = {
        "loss_policy": surrogate.mean(),
        "loss_value": value.mean(),
        "entropy": entropy,
        "clipped": clipped.float().mean(),
    }
    if teacher is not None and weight > 0:
        apart = ops.distillation(outlook.logits, teacher, config.distill.loss)
        distill = (some.gate * apart).mean()
        loss = loss + weight * distill
        stats |= {"loss_distill": distill}
    (share * loss).backward()
    return {name: share * float(value.detach()) for name, value in stats.items()}


Gradients = Callable[[Student | Team, Lesson, TeacherConfig, float], dict[str, float]]
"""`gradients`, or another way to the same."""


def update(
    student: Student | Team,
    optimizer: torch.optim.Optimizer,
    lesson: Lesson,
    config: TeacherConfig,
    weight: float,
    rng: np.random.Generator,
    gradients: Gradients = gradients,
) -> dict[str, float]:
    """Some passes over one segment; returns means over its minibatches."""
    parts = list[dict[str, float]]()
    for _ in range(config.epochs):
        for some in minibatches(lesson, config.minibatch, student.recurrent, rng):
            advantages = some.advantages
            if advantages.numel() > 1:
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            optimizer.zero_grad(set_to_none=True)
            stats = gradients(student, replace(some, advantages=advantages), config, weight)
            norm = torch.nn.utils.clip_grad_norm_(student.parameters(), config.max_grad_norm)
            optimizer.step()
            parts.append({**stats, "grad_norm": float(norm)})
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def minibatches(
    lesson: Lesson, size: int, recurrent: bool, rng: np.random.Generator
) -> Iterator[Lesson]:
    """The lesson in random parts of `size` steps: of any steps, or of whole rows for a memory."""
    (steps, rows), device = lesson.advantages.shape, lesson.advantages.device
    if recurrent:
        order = torch.from_numpy(rng.permutation(rows)).to(device)
        for chosen in order.split(max(1, size // steps)):
            yield rows_of(lesson, chosen)
    else:
        order = torch.from_numpy(rng.permutation(steps * rows)).to(device)
        for chosen in order.split(size):
            yield _pick(lesson, partial(_steps, chosen), chosen % rows)


def rows_of(lesson: Lesson, rows: Tensor) -> Lesson:
    """The part of a lesson that is of some rows; of a minibatch of single steps, some steps."""
    return _pick(lesson, partial(_columns, rows), rows)


def _columns(chosen: Tensor, x: Tensor) -> Tensor:
    return x[:, chosen]


def _steps(chosen: Tensor, x: Tensor) -> Tensor:
    return x.flatten(0, 1)[chosen][None]


_PICKED = ("starts", "actions", "values")
"""What the loss reads of a segment, besides features, memory and teacher."""


def _pick(lesson: Lesson, pick: Callable[[Tensor], Tensor], rows: Tensor) -> Lesson:
    """The part of a lesson that `pick` takes; `rows` are the rows it is of."""
    segment = lesson.segment
    some = replace(
        segment,
        features={name: pick(value) for name, value in segment.features.items()},
        hidden=segment.hidden[rows],
        teacher=None if segment.teacher is None else pick(segment.teacher),
        **{name: pick(getattr(segment, name)) for name in _PICKED},
    )
    return Lesson(
        some,
        pick(lesson.advantages),
        pick(lesson.returns),
        pick(lesson.logprobs),
        pick(lesson.gate),
    )
