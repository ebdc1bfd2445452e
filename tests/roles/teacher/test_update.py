"""One update: which steps it sees, and which way it goes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.roles.teacher.cases import segment, vector_student
from understudy import ops
from understudy.roles.teacher.config import DistillConfig, TeacherConfig
from understudy.roles.teacher.update import minibatches, prepare, update

CONFIG = TeacherConfig(
    epochs=3, minibatch=8, learning_rate=1e-2, entropy_coef=0.0, value_coef=0.0, max_grad_norm=100.0
)


def lesson(student, config=CONFIG, gate=None, seed=0, **changes):
    made = segment(student, np.random.default_rng(seed), steps=8, rows=6)
    return prepare(replace(made, **changes), gate, config)


def go(student, made, config=CONFIG, weight=0.0):
    optimizer = torch.optim.SGD(student.parameters(), lr=config.learning_rate)
    return update(student, optimizer, made, config, weight, np.random.default_rng(1))


def logprobs(student, made, actions=None):
    some = made.segment
    outlook = student.unroll(some.features, some.hidden, some.starts)
    return ops.selective_log_softmax(outlook.logits, some.actions if actions is None else actions)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("size", [1, 8, 16, 20, 48, 99])
def test_minibatches_cover_every_step_once(recurrent, size):
    made = lesson(vector_student(recurrent=recurrent))
    number = torch.arange(48.0).reshape(8, 6)
    made = replace(
        made,
        advantages=number,
        returns=number + 0.5,
        segment=replace(made.segment, values=number + 0.25),
    )
    seen, widths = Counter(), []
    for some in minibatches(made, size, recurrent, np.random.default_rng(0)):
        seen.update(some.advantages.flatten().tolist())
        widths.append(some.advantages.numel())
        # All of a step's numbers go together.
        assert torch.equal(some.returns, some.advantages + 0.5)
        assert torch.equal(some.segment.values, some.advantages + 0.25)
        where = some.advantages.long()
        assert torch.equal(
            some.segment.features["own"], made.segment.features["own"].flatten(0, 1)[where]
        )
        assert torch.equal(some.segment.teacher, made.segment.teacher.flatten(0, 1)[where])
        if recurrent:  # whole rows in their order, each with its own memory
            assert (where.diff(dim=0) == 6).all()
            assert torch.equal(some.segment.hidden, made.segment.hidden[where[0]])
    assert seen == Counter(range(48))
    most = max(1, size // 8) * 8 if recurrent else size
    assert set(widths[:-1]) <= {min(most, 48)}
    first = next(minibatches(made, 8, recurrent, np.random.default_rng(0))).advantages
    assert not torch.equal(
        first, next(minibatches(made, 8, recurrent, np.random.default_rng(1))).advantages
    )


def test_the_loss_of_a_memory_does_not_depend_on_the_parts():
    student = vector_student(recurrent=True)
    made = lesson(student)
    parts = [
        logprobs(student, some) for some in minibatches(made, 16, True, np.random.default_rng(0))
    ]
    whole = logprobs(student, made)
    torch.testing.assert_close(torch.cat(parts, 1).sum(), whole.sum())
    torch.testing.assert_close(whole, made.logprobs)  # the ratio before the first step is 1


def test_a_better_actions_probability_rises():
    student = vector_student()
    made = lesson(student)
    better = (made.segment.actions == 2).float() * 2 - 1
    made = replace(made, advantages=better)
    before = logprobs(student, made).exp()
    go(student, made)
    rise = logprobs(student, made).exp() - before
    assert (rise * better).mean() > 1e-3
    assert rise[better > 0].mean() > 0 > rise[better < 0].mean()


def test_the_value_goes_to_the_returns():
    student, config = vector_student(), replace(CONFIG, value_coef=1.0)
    made = lesson(student, config)
    made = replace(made, advantages=torch.zeros_like(made.advantages))
    before = logprobs(student, made)
    first = go(student, made, config)["loss_value"]
    assert go(student, made, config)["loss_value"] < first - 0.1
    assert not torch.equal(before, logprobs(student, made))  # they share an encoder


def test_entropy_is_wanted():
    student, config = vector_student(), replace(CONFIG, entropy_coef=1.0)
    made = lesson(student, config)
    made = replace(made, advantages=torch.zeros_like(made.advantages))
    first = go(student, made, config)["entropy"]
    assert go(student, made, config)["entropy"] > first


@pytest.mark.parametrize("loss", ["ce", "forward_kl", "reverse_kl"])
def test_advice_draws_the_student_to_it(loss):
    student, config = vector_student(), replace(CONFIG, distill=DistillConfig(loss=loss))
    made = lesson(student, config)
    made = replace(made, advantages=torch.zeros_like(made.advantages))
    first = go(student, made, config, weight=1.0)["loss_distill"]
    assert go(student, made, config, weight=1.0)["loss_distill"] < first - 1e-3


def test_a_closed_gate_takes_no_advice():
    closed = _after(torch.zeros(8, 6), 5.0)
    without = _after(None, 0.0)
    opened = _after(torch.ones(8, 6), 5.0)
    for a, b, c in zip(closed, without, opened, strict=True):
        assert torch.equal(a, b)
        assert a.shape == c.shape
    assert any(not torch.equal(a, c) for a, c in zip(closed, opened, strict=True))


def _after(gate, weight):
    student = vector_student()
    go(student, lesson(student, gate=gate), weight=weight)
    return [p.detach().clone() for p in student.parameters()]


def test_the_gate_chooses_the_states():
    student = vector_student()
    gate = torch.zeros(8, 6)
    gate[:, :3] = 1
    config = replace(CONFIG, epochs=1, minibatch=48)
    made = lesson(student, config, gate=gate)
    made = replace(made, advantages=torch.zeros_like(made.advantages))
    outlook = student.unroll(made.segment.features, made.segment.hidden, made.segment.starts)
    apart = ops.distillation(outlook.logits, made.segment.teacher).detach()
    found = go(student, made, config, weight=1.0)["loss_distill"]
    assert found == pytest.approx(float(apart[:, :3].sum() / 48), rel=1e-5)


def test_cloning_ignores_rewards():
    config = replace(CONFIG, method="cloning", entropy_coef=0.5)
    results = []
    for rewards in (torch.zeros(8, 6), torch.full((8, 6), 50.0)):
        student = vector_student()
        go(student, lesson(student, config, rewards=rewards), config, weight=1.0)
        results.append([p.detach().clone() for p in student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    student = vector_student()
    made = lesson(student, config)
    first = go(student, made, config, weight=1.0)["loss_distill"]
    assert go(student, made, config, weight=1.0)["loss_distill"] < first


def test_a_part_of_one_step_is_no_nan():
    student = vector_student()
    config = replace(CONFIG, minibatch=47)  # the last part has one step
    stats = go(student, lesson(student, config), config)
    assert all(np.isfinite(list(stats.values())))
    assert all(torch.isfinite(p).all() for p in student.parameters())


def test_advantages_end_with_the_episode():
    student = vector_student()
    config = replace(CONFIG, gamma=0.9, gae_lambda=0.5)
    ended = torch.zeros(8, 6, dtype=torch.bool)
    ended[3, :3] = True
    ended[3, 3:] = True
    terminated = ended.clone()
    terminated[3, 3:] = False  # cut, not over
    made = lesson(student, config, ended=ended, terminated=terminated)
    some = made.segment
    delta = some.rewards[3] - some.values[3]
    torch.testing.assert_close(made.advantages[3, :3], delta[:3])
    torch.testing.assert_close(made.advantages[3, 3:], (delta + 0.9 * some.next_values[3])[3:])
    step = some.rewards[2] + 0.9 * some.next_values[2] - some.values[2]
    torch.testing.assert_close(made.advantages[2], step + 0.45 * made.advantages[3])
    torch.testing.assert_close(made.returns, made.advantages + some.values)
