"""An optimizer's episodes are the same whoever plays them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.roles.processes import command
from understudy.envs.control.vector import Arena
from understudy.envs.search.task import Moments, Task
from understudy.roles.optimizer.build import build_policy
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.optimizer.scoring import SharedTask
from understudy.run.executors import Died, Serial
from understudy.run.run import folder


class Backwards(Serial):
    """Three workers, the last of which is always the first to be done."""

    workers = 3

    def each(self, work, items, stop=None) -> Iterator:
        self.parts = [(part.points, part.seeds) for part in items]
        yield from [(i, work(item)) for i, item in reversed(list(enumerate(items)))]


class Broken(Serial):
    workers = 2

    def each(self, work, items, stop=None) -> Iterator:
        yield 0, Died(3)


def _points(task: Task, count: int) -> list:
    rng = np.random.default_rng(3)
    return [task.space.point(grid) for grid in task.space.sample(count, rng)]


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", "understudy/Pong-v0"])
@pytest.mark.parametrize(("points", "seeds"), [(5, 2), (1, 7), (4, 4), (2, 1)])
def test_a_batch_can_be_cut_anywhere(env: str, points: int, seeds: int):
    config, executor = OptimizerConfig(env=env), Backwards()
    with Arena(env) as arena:
        policy = build_policy(config.policy, arena, None)
        plain, shared = Task(arena, policy), SharedTask(arena, policy, None, config, executor)
        tried, drawn = _points(plain, points), [11 * i for i in range(seeds)]
        one, two = plain.score(tried, drawn), shared.score(tried, drawn)
        assert np.array_equal(one[0].returns, two[0].returns)
        assert np.array_equal(one[0].lengths, two[0].lengths)
        assert one[1] == two[1]
        assert 2 <= len(executor.parts) <= 3
        assert any(one[1]) == (env == "FrozenLake-v1")


def test_a_running_scale_sees_all_of_it():
    config = OptimizerConfig()
    with Arena(config.env) as arena:
        policy = build_policy(config.policy, arena, None)
        running = Moments.none(4)
        SharedTask(arena, policy, running, config, Broken()).score(
            [*_points(Task(arena, policy), 3)], [1, 2]
        )
        assert running.count > 0


def test_a_worker_that_keeps_dying_is_said():
    config = OptimizerConfig()
    with Arena(config.env) as arena:
        policy = build_policy(config.policy, arena, None)
        task = SharedTask(arena, policy, None, config, Broken())
        with pytest.raises(
            Exception, match="the scoring of points could not be done: its process died 3 times"
        ):
            task.score(_points(task, 3), [1])


def test_a_search_by_processes_is_that_of_one(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = [
        "optimizer",
        "train",
        "--env",
        "Acrobot-v1",
        "--proposer",
        "cma",
        "--debug",
        "--run.root",
        ".",
    ]
    args += ["--run.progress", "false"]
    assert command([*args, "--run.name", "one"]) == 0
    assert command([*args, "--run.name", "two", "--workers", "2"]) == 0
    one, two = (folder(".", "optimizer", "Acrobot-v1") / name for name in ("one", "two"))
    for name in ("metrics.jsonl", "trials.jsonl", "result.json", "best_policy.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
