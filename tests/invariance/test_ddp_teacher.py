"""A student taught in two processes is the one taught in one."""

from pathlib import Path

import pytest

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, moved, ran
from tests.roles.teacher.processes import arguments, path
from understudy.run.checkpoint import load
from understudy.run.metrics import read

ROUNDS, UPDATES = 5, 4
"""Of 4 × 16 steps each; two passes over two minibatches."""


def go(folder: Path, case: str, name: str, *flags: str) -> Path:
    steps = str(ROUNDS * 64)
    ran(
        *arguments(folder, case, name),
        "--steps",
        steps,
        "--run.checkpoint_every",
        "1",
        "--run.keep",
        "9",
        *flags,
    )
    return path(folder, case, name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A memory and a gate, in one process and in two; a team, in one."""
    made = tmp_path_factory.mktemp("ddp")
    return {
        "plain": go(made, "adaptive", "plain"),
        "two": go(made, "adaptive", "two", "--workers", "2"),
        "team": go(made, "agents", "plain"),
    }


def test_two_processes_learn_what_one_does(runs: dict[str, Path]) -> None:
    assert ROUNDS * UPDATES == 20
    plain, two = checkpoint(runs["plain"]), checkpoint(runs["two"])
    first = load(cut(runs["plain"], 0, "first") / "checkpoints")
    assert first is not None
    assert moved(first.tensors["student"], plain, "student") > 1e-3
    assert apart(plain, two, "student") < CLOSE


def test_what_is_logged_is_the_same(runs: dict[str, Path]) -> None:
    plain, two = (read(runs[name] / "metrics.jsonl") for name in ("plain", "two"))
    assert any("loss_distill" in row for row in plain)
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("begun", "workers"), [("team", "2"), ("two", "1")])
def test_a_checkpoint_goes_on_with_another_number_of_workers(
    begun: str, workers: str, runs: dict[str, Path]
) -> None:
    half = cut(runs[begun], 128, f"{begun}-then-{workers}")
    ran("resume", str(half), "--run.progress", "false", "--workers", workers)
    whole = runs["team" if begun == "team" else "plain"]
    assert apart(checkpoint(whole), checkpoint(half), "student") < CLOSE
