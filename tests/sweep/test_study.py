"""A study is the same whoever does its parts, and whoever is killed meanwhile."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from benchmarks.ope_coverage import BEST, NEAR, simulate

import understudy
from tests.roles.processes import command
from tests.roles.simulator.scripted import short_study
from understudy.roles.simulator.offline.config import JudgeConfig
from understudy.roles.simulator.offline.judge import evaluate
from understudy.roles.simulator.offline.policies import Uniform
from understudy.run.errors import RunError
from understudy.run.executors import HERE, Died, Processes, Serial, gathered

SMALL = (
    "--make.people", "4", "--make.source.people", "16", "--make.source.canaries", "2",
    "--make.ask.pilot_people", "2", "--make.ask.pilot_rounds", "1",
    "--resamples", "5", "--learn.steps", "60", "--learn.target_rate", "0.1",
    "--judge.resamples", "100", "--judge.min_people", "4", "--true_people", "20",
)  # fmt: skip
APART = ("run.json", "timing.jsonl", ".lock", "config.toml", "cache.sqlite", "ledger.json")
"""What a clock, a process number or the number of workers is in."""


def _study(root: Path, name: str, *more: str) -> Path:
    if not (root / "days-4.toml").exists():
        short_study(root, 4)
    words = ["simulator", "run", "--make.study", str(root / "days-4.toml"), *SMALL, *more]
    words += ["--run.root", str(root), "--run.name", name, "--run.progress", "false"]
    assert command(words) == 0
    return next(root.glob(f"simulator/*/{name}"))


def _files(run: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in run.rglob("*")
        if file.is_file() and file.name not in APART and "tfevents" not in file.name
    }


def _same(one: Path, other: Path) -> None:
    ours, theirs = _files(one), _files(other)
    assert ours.keys() == theirs.keys()
    assert {"verdict.json", "fidelity.json", "truth.json", "policy-merged.safetensors"} <= {*ours}
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _study(tmp_path_factory.mktemp("study"), "one")


def _root(plain: Path) -> Path:
    return plain.parents[2]


def _kill(run: Path, killed: list[int]) -> None:
    """Kills a worker, with SIGKILL, once the first policy is there and others are being learnt."""
    while not list(run.glob("policy-*.safetensors")):
        time.sleep(0.002)
    child = active_children()[0]
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    killed.append(child.pid)


def test_a_study_by_processes_is_that_of_one_though_a_worker_is_killed(plain: Path):
    killed: list[int] = []
    run = plain.parent / "two"
    killer = threading.Thread(target=_kill, args=(run, killed), daemon=True)
    killer.start()
    _same(plain, _study(_root(plain), "two", "--workers", "2"))
    killer.join()
    assert len(killed) == 1
    assert json.loads((run / "run.json").read_text())["role"] == "simulator"


def test_a_study_by_ray_is_that_of_one_process(plain: Path, monkeypatch):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    # A worker of Ray begins in a directory of its own.
    monkeypatch.setenv("PYTHONPATH", str(Path(understudy.__file__).parents[1]))
    _same(plain, _study(_root(plain), "ray", "--ray", "local", "--workers", "2"))


class Backwards(Serial):
    workers = 3

    def each(self, work, items, stop=None) -> Iterator:
        yield from [(i, work(item)) for i, item in reversed(list(enumerate(items)))]


class Broken(Serial):
    workers = 2

    def each(self, work, items, stop=None) -> Iterator:
        yield 0, Died(3)


def test_policies_are_judged_in_any_order():
    config = JudgeConfig(gamma=0.8, resamples=100)
    people = simulate(40, np.random.default_rng(0))
    policies = [NEAR, BEST, Uniform(people.n_actions)]
    one, two = (
        evaluate(people, policies, config, np.random.default_rng(1), executor).to_json()
        for executor in (HERE, Backwards())
    )
    assert one == two
    # Nobody's judgement follows from who is judged beside.
    alone = evaluate(people, policies[:1], config, np.random.default_rng(1)).to_json()
    assert alone["policies"][0] == one["policies"][0]


def test_a_part_whose_worker_keeps_dying_is_said():
    with pytest.raises(RunError, match="a thing could not be done: its process died 3 times"):
        gathered(Broken(), abs, [1, 2], "a thing")


def test_a_worker_that_dies_with_nothing_to_do_is_replaced():
    with Processes(2) as executor:
        assert gathered(executor, abs, [-1, -2, -3]) == [1, 2, 3]
        for child in active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        time.sleep(0.5)
        assert gathered(executor, abs, [-4, -5]) == [4, 5]
