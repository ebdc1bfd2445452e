"""A student taught in two processes is the one taught in one; checkpoints move both ways."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, go_on, moved
from tests.roles.processes import command
from tests.roles.teacher.cases import played
from tests.roles.teacher.processes import arguments, path
from understudy.roles.teacher.config import StudentConfig
from understudy.roles.teacher.update import gradients, minibatches, prepare, rows_of
from understudy.run.metrics import read

ROUND, ROUNDS, UPDATES = 64, 6, 4
"""Steps of a round; rounds, of which two processes do all but the first; updates in each."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student with a memory, and a gate: in one process; all but the first round again in two."""
    made = tmp_path_factory.mktemp("ddp")
    args = [*arguments(made, "adaptive", "plain"), "--steps", str(ROUNDS * ROUND)]
    assert command([*args, "--run.checkpoint_every", "1", "--run.keep", "9"]) == 0
    plain = path(made, "adaptive", "plain")
    return {"plain": plain, "two": go_on(cut(plain, ROUND, "two"), "--workers", "2")}


def test_two_processes_learn_what_one_does(runs: dict[str, Path]) -> None:
    assert (ROUNDS - 1) * UPDATES == 20
    plain, two = checkpoint(runs["plain"]), checkpoint(runs["two"])
    before = checkpoint(cut(runs["plain"], ROUND, "before")).tensors["student"]
    assert moved(before, plain, "student") > 1e-3
    assert apart(plain, two, "student") < CLOSE


def test_what_is_logged_is_the_same(runs: dict[str, Path]) -> None:
    plain, two = (read(run / "metrics.jsonl") for run in runs.values())
    assert any("loss_distill" in row for row in plain[2:])
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)


def test_one_process_goes_on_where_two_were(runs: dict[str, Path]) -> None:
    half = go_on(cut(runs["two"], 4 * ROUND, "two-then-one"), "--workers", "1")
    assert apart(checkpoint(runs["plain"]), checkpoint(half), "student") < CLOSE


@pytest.mark.parametrize("bounds", [(0, 8, 16), (0, 1, 16), (0, 5, 9, 16)])
@pytest.mark.parametrize("method", ["ppo+teacher", "cloning"])
def test_the_parts_of_a_minibatch_add_up_to_it(method: str, bounds: tuple[int, ...]) -> None:
    """Agents with a network each, not all of which have a step in every part."""
    student_config = StudentConfig(shared=False, width=16)
    config, student, segment = played(
        env="mpe/simple_spread", method=method, student=student_config
    )
    rng = np.random.default_rng(0)
    random = rng.dirichlet(np.ones(segment.logits.shape[-1]), segment.actions.shape)
    segment.teacher = torch.from_numpy(random.astype(np.float32))
    lesson = prepare(segment, None, config)
    some = next(minibatches(lesson, 16, False, rng))
    twin = copy.deepcopy(student)
    whole = gradients(student, some, config, 0.7)
    parts = [
        gradients(twin, rows_of(some, torch.arange(a, b)), config, 0.7, (b - a) / 16)
        for a, b in itertools.pairwise(bounds)
    ]
    for name, value in whole.items():
        assert sum(part[name] for part in parts) == pytest.approx(value, rel=1e-4, abs=1e-6), name
    largest = 0.0
    for a, b in zip(student.parameters(), twin.parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
            largest = max(largest, float(a.grad.abs().max()))
    assert largest > 1e-3
