"""Every registered environment that needs no file keeps the rules, and a broken one is caught."""

import pytest

from understudy.envs.base import EnvError, Grade, Problem
from understudy.envs.check import check_env, check_task
from understudy.envs.registry import make_task
from understudy.envs.text_env import TextEnv


@pytest.mark.parametrize("name", ["word-problems", "countdown"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tasks(name: str, split: str):
    check_task(make_task(name, split=split))


@pytest.mark.parametrize(
    "name",
    [
        "propose/random-control",
        "propose/random-tables",
        "propose/FrozenLake-v1",
        "simulate/low-mood",
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_searches(name: str, split: str):
    check_task(make_task(name, split=split), problems=12)


@pytest.mark.parametrize(
    "name", ["word-problems", "countdown", "propose/FrozenLake-v1", "simulate/low-mood"]
)
@pytest.mark.parametrize("mode", ["whole", "stepwise"])
def test_environments(name: str, mode: str):
    check_env(TextEnv(make_task(name, split="train"), mode=mode), steps=300)


class Fickle:
    """Another problem at every look."""

    name, split, looks = "fickle", "train", 0

    def __len__(self) -> int:
        return 10

    def problem(self, index: int) -> Problem:
        self.looks += 1
        return Problem(str(index), f"What is {self.looks} + 1?", str(self.looks + 1))

    def grade(self, problem: Problem, response: str) -> Grade:
        return Grade(response == problem.answer, response)


class Generous(Fickle):
    """Anything is right."""

    def problem(self, index: int) -> Problem:
        return Problem(str(index), "What is 1 + 1?", "2")

    def grade(self, problem: Problem, response: str) -> Grade:
        return Grade(True, response)


@pytest.mark.parametrize("task", [Fickle(), Generous()], ids=["fickle", "generous"])
def test_a_broken_task_is_caught(task: Fickle):
    with pytest.raises(EnvError):
        check_task(task)
