"""A policy trained in two processes is the one trained in one."""

from pathlib import Path

import pytest

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, moved, ran
from tests.roles.processes import arguments, path, prepare
from understudy.lm.local import LocalLM
from understudy.roles.policy.train import trained_weights
from understudy.run.metrics import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of either kind, 20 iterations of two updates each."""
    made = tmp_path_factory.mktemp("ddp")
    prepare(made)
    for name, *flags in (("plain",), ("two", "--workers", "2")):
        ran(*arguments(made, "grpo", name, 20), "--run.checkpoint_every", "10", *flags)
    return made


def test_two_processes_learn_what_one_does(folder: Path) -> None:
    plain, two = (checkpoint(path(folder, name)) for name in ("plain", "two"))
    first = trained_weights(LocalLM.load(folder / "model"))
    assert plain.step == 20
    assert moved(first, plain, "model") > 0.01
    assert apart(plain, two, "model") < CLOSE


def test_what_is_logged_and_kept_is_the_same(folder: Path) -> None:
    plain, two = (read(path(folder, name) / "metrics.jsonl") for name in ("plain", "two"))
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
    names = [
        sorted(f.name for f in (path(folder, n) / "episodes").iterdir()) for n in ("plain", "two")
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 20


@pytest.mark.parametrize(("begun", "workers"), [("plain", "2"), ("two", "1")])
def test_a_checkpoint_goes_on_with_another_number_of_workers(
    begun: str, workers: str, folder: Path
) -> None:
    half = cut(path(folder, begun), 10, f"{begun}-then-{workers}")
    ran("resume", str(half), "--run.progress", "false", "--workers", workers)
    assert apart(checkpoint(path(folder, "plain")), checkpoint(half), "model") < CLOSE


def test_divided_weights_learn_the_same_and_are_saved_whole(folder: Path) -> None:
    half = cut(path(folder, "plain"), 10, "plain-then-sharded")
    ran("resume", str(half), "--run.progress", "false", "--workers", "2", "--shard", "true")
    assert apart(checkpoint(path(folder, "plain")), checkpoint(half), "model") < CLOSE
    model = LocalLM.load(half / "model")
    assert moved(trained_weights(model), checkpoint(half), "model") == 0
