"""A policy trained in two processes is the one trained in one; checkpoints move both ways."""

from pathlib import Path

import pytest

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, go_on, moved
from tests.roles.processes import arguments, command, path, prepare
from understudy.lm.local import LocalLM
from understudy.roles.policy.train import trained_weights
from understudy.run.metrics import read

BEGUN = 10
"""Iterations that one process does; two do the next ten, of two updates each."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """20 iterations in one process; the last ten again in two."""
    made = tmp_path_factory.mktemp("ddp")
    prepare(made)
    args = arguments(made, "grpo", "plain", 20)
    assert command([*args, "--run.checkpoint_every", "5", "--run.keep", "9"]) == 0
    plain = path(made, "plain")
    return {"plain": plain, "two": go_on(cut(plain, BEGUN, "two"), "--workers", "2")}


def test_two_processes_learn_what_one_does(runs: dict[str, Path]) -> None:
    plain, two = checkpoint(runs["plain"]), checkpoint(runs["two"])
    before = checkpoint(cut(runs["plain"], BEGUN, "before")).tensors["model"]
    assert moved(before, plain, "model") > 0.01
    assert apart(plain, two, "model") < CLOSE


def test_what_is_logged_and_kept_is_the_same(runs: dict[str, Path]) -> None:
    plain, two = (read(runs[name] / "metrics.jsonl") for name in ("plain", "two"))
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
    names = [sorted(file.name for file in (run / "episodes").iterdir()) for run in runs.values()]
    assert names[0] == names[1]
    assert len(names[0]) == 20


def test_one_process_goes_on_where_two_were(runs: dict[str, Path]) -> None:
    half = go_on(cut(runs["two"], 15, "two-then-one"), "--workers", "1")
    assert apart(checkpoint(runs["plain"]), checkpoint(half), "model") < CLOSE


def test_divided_weights_learn_the_same_and_are_saved_whole(runs: dict[str, Path]) -> None:
    half = go_on(cut(runs["plain"], BEGUN, "sharded"), "--workers", "2", "--shard", "true")
    assert apart(checkpoint(runs["plain"]), checkpoint(half), "model") < CLOSE
    model = LocalLM.load(half / "model")
    assert moved(trained_weights(model), checkpoint(half), "model") == 0
