"""Procedural problems: the same every time, right, and never in two splits."""

import re

import numpy as np
import pytest

from understudy.envs.arithmetic import evaluate
from understudy.envs.base import Problem
from understudy.envs.countdown import Countdown
from understudy.envs.diagnose import diagnose
from understudy.envs.fingerprints import fingerprint
from understudy.envs.word_problems import WordProblems


def arithmetic(problem):
    return tuple(expression for expression, _, _ in problem.info["steps"])


def test_a_problem_depends_on_split_seed_and_index_only():
    a, b = WordProblems("test", size=50), WordProblems("test", size=1000)
    assert [a.problem(i) for i in range(50)] == [b.problem(i) for i in range(50)]
    assert a.problem(7) != WordProblems("test", seed=1).problem(7)
    assert a.problem(7).question != WordProblems("train").problem(7).question


def test_no_computation_and_no_question_is_in_two_splits():
    seen: dict[object, str] = {}
    for split in ("train", "validation", "test"):
        task = WordProblems(split, levels=(1, 2))  # short ones would meet soonest
        for problem in (task.problem(i) for i in range(3000)):
            for mark in (arithmetic(problem), fingerprint(problem)):
                assert seen.setdefault(mark, split) == split


@pytest.mark.parametrize("levels", [(1, 1), (2, 3), (6, 6)])
def test_every_step_is_right_and_told(levels):
    task = WordProblems("train", levels=levels)
    for problem in (task.problem(i) for i in range(300)):
        assert levels[0] <= problem.level <= levels[1]
        count = re.search(r"has (\d+)", problem.question)[1]
        for expression, result, _ in problem.info["steps"]:
            assert expression.startswith(count)
            assert evaluate(expression) == result
            assert re.search(rf"\b{re.split('[-+*/]', expression)[1]}\b", problem.question)
            count = str(result)
        assert problem.answer == count


def test_demonstrations_are_right_in_every_style():
    task = WordProblems("train", calculator_share=0.5, unmarked_share=0.5)
    rng, kinds, tools = np.random.default_rng(0), set(), 0
    for i in range(400):
        problem = task.problem(i)
        worked = task.demonstration(problem, rng)
        found = diagnose(problem, worked)
        kinds.add(found.kind)
        tools += "<<" in worked
        assert found.equations == found.equations_right == problem.level
        assert task.grade(problem, worked).correct is (True if "####" in worked else None)
    assert kinds == {"correct", "format"}
    assert 150 < tools < 250


def test_distractors_change_no_answer_and_are_there():
    quiet, noisy = (WordProblems("train", distractors=d) for d in (0.0, 1.0))
    lengths = [
        sum(task.problem(i).question.count(".") - task.problem(i).level for i in range(200))
        for task in (quiet, noisy)
    ]
    assert lengths[0] == 200  # the first sentence and one for each step, but the question
    assert lengths[1] > 300


def test_countdown_is_always_solvable_and_checks_the_numbers():
    task, rng = Countdown("train", numbers=4), np.random.default_rng(0)
    for i in range(300):
        problem = task.problem(i)
        assert task.grade(problem, task.demonstration(problem, rng)).correct is True
    assert task.grade(problem, f"#### {problem.answer}").correct in (False, True)
    assert task.grade(problem, f"#### {problem.answer}+0").correct is False
    assert task.grade(problem, "none").correct is None


@pytest.mark.parametrize(
    ("expression", "correct"),
    [
        ("5*(1+2)", True), ("$5*3", True), ("3*5=15", True), ("3*5 = 16", True), ("5*3*1", True), ("5+5+5", False),
        ("15", False), ("2.5*3*2", False), ("1+3", False), ("1$2+3", None), ("1 2+3", None), ("5*3!", None),
    ],
)  # fmt: skip
def test_countdown_reads_only_the_given_numbers(expression: str, correct: bool | None):
    problem = Problem("p", "q", "15", info={"numbers": (1, 2, 3, 5)})
    assert Countdown("train").grade(problem, f"#### {expression}").correct is correct
