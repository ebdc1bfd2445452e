"""Proposing as a language environment: its worlds, its moments, its grades."""

import json

import numpy as np
import pytest

from understudy.envs.base import Demonstrates, EnvError
from understudy.envs.control.tabular_optimum import optimum, policy_value
from understudy.envs.registry import make_task
from understudy.envs.search import lines
from understudy.envs.search.histories import Searched, moment
from understudy.envs.search.propose_task import gym_worlds, reward
from understudy.envs.search.random_control import KINDS, RandomControl, Shape
from understudy.envs.search.random_tables import RandomTables
from understudy.envs.search.space import box

TASKS = ("propose/random-control", "propose/random-tables", "propose/FrozenLake-v1")
SHAPE = Shape(joints=2, angles=True, outputs=2, discrete=False, kind="survive")


@pytest.mark.parametrize("name", TASKS)
def test_a_demonstration_beats_all_that_was_tried_and_a_copy_of_the_best_does_not(name: str):
    task = make_task(name, split="test")
    assert isinstance(task, Demonstrates)
    for index in range(12):
        problem = task.problem(index)
        shown = task.demonstration(problem, np.random.default_rng(0))
        grade = task.grade(problem, shown)
        assert grade.correct is True
        assert grade.score == pytest.approx(1.0)
        returns = problem.info["returns"]
        assert problem.info["worth"] > max(returns, default=-np.inf)


def test_what_was_tried_before_is_no_progress():
    task = make_task("propose/random-control", split="test")
    copied = 0
    for index in range(20):
        problem = task.problem(index)
        head, _, columns = problem.question.partition("\nReturns ")[2].partition("\n")
        columns = columns.removesuffix("\nNext:")
        # The first digit behind each letter: the best trial.
        best = "".join(columns[i : i + 2] for i in range(0, len(columns), len(head) + 1))
        if head.isdigit():
            copied += 1
            grade = task.grade(problem, best)
            assert grade.correct is False
            assert grade.score is not None
            assert grade.score < 0.26
    assert copied > 10


def test_an_unreadable_answer_is_not_wrong():
    task = make_task("propose/random-tables", split="test")
    grade = task.grade(task.problem(0), "A1")
    assert grade.correct is None
    assert "must match" in grade.reason


def test_splits_and_problems_differ_and_stay():
    train, test = (make_task("propose/random-control", split=s) for s in ("train", "test"))
    questions = [task.problem(i).question for task in (train, test) for i in range(20)]
    assert len(set(questions)) == len(questions)
    assert [
        make_task("propose/random-control", split="train").problem(i).question for i in range(20)
    ] == questions[:20]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("propose/CartPole-v9", {}, "CartPole"),
        ("propose/random-control", {"file": "x"}, "environment they are of"),
        ("propose/random-control", {"fiel": "x"}, "'file'"),
        ("propose/Taxi-v4", {}, "500 parameters"),
    ],
)
def test_what_cannot_be_is_one_line(name: str, options: dict, says: str):
    with pytest.raises(EnvError) as caught:
        make_task(name, split="train", **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("earned", "expected"),
    [(-1.0, 0.0), (0.5, 0.125), (1.0, 0.125), (2.0, 0.625), (3.0, 1.0), (9.0, 1.0)],
)
def test_the_reward_grows_with_the_gain(earned: float, expected: float):
    assert reward(earned, np.array([0.0, 1.0]), 3.0) == pytest.approx(expected)


def test_without_trials_only_a_good_point_is_rewarded():
    assert [reward(e, np.array([]), 3.0) for e in (2.0, 3.0)] == [0.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_is_worth_the_same_in_any_company(kind: str):
    worlds = RandomControl(Shape(2, True, 2, False, kind), 5, seed=3)
    points = worlds.space.sample(5 * 40, np.random.default_rng(0)).reshape(5, 40, -1)
    together = worlds.score(points)
    assert np.isfinite(together).all()
    for i in (0, 17, 39):
        np.testing.assert_array_equal(worlds.score(points[:, i : i + 1])[:, 0], together[:, i])


def test_upright_poles_fall_without_a_hand_and_pushing_back_holds_them():
    shape = Shape(joints=1, angles=False, outputs=1, discrete=False, kind="survive")
    worlds = RandomControl(shape, 64, seed=1)
    idle, weights = np.zeros(3, int), []
    for place in (-60, -15, 0, 15, 60):
        weights += [[place, speed, 0] for speed in (-60, -15, 0, 15, 60)]
    tried = np.broadcast_to([idle, *weights], (64, 26, 3))
    returns = worlds.score(tried)
    assert (returns <= 60).all()
    assert (returns.max(axis=1) > returns[:, 0] + 10).mean() > 0.3


def test_the_worth_of_a_table_is_that_of_dynamic_programming():
    worlds = RandomTables((3, 4), 6, seed=0)
    points = worlds.space.sample(6 * 50, np.random.default_rng(0)).reshape(6, 50, -1)
    scores, tables = worlds.score(points), worlds.tables()
    for i, table in enumerate(tables):
        assert scores[i, :5] == pytest.approx([policy_value(table, p) for p in points[i, :5]])
        assert (scores[i] <= optimum(table) + 1e-9).all()


def test_experts_put_right_what_is_wrong_and_leave_the_rest():
    worlds = RandomTables((4, 4), 8, seed=1)
    points = worlds.space.sample(8 * 50, np.random.default_rng(0)).reshape(8, 50, -1)
    experts = worlds.experts(points)
    best = [optimum(table) for table in worlds.tables()]
    worth = worlds.score(experts)
    assert (worth >= worlds.score(points) - 0.05).all()
    np.testing.assert_allclose(worth.mean(axis=1), best, atol=0.1, rtol=0.1)
    assert (experts == points).mean() > 0.25


def test_a_later_moment_has_better_trials():
    space = box(["a"], -6.0, 6.0, 0.1)
    digits = np.arange(9, dtype=np.int8).reshape(1, 9, 1)
    searched = Searched(space, digits, digits[..., 0].astype(float), np.arange(9))
    for seed in range(50):
        found = moment(searched, 0, np.random.default_rng(seed))
        best = max((value for _, value, _ in found.rows), default=-1.0)
        assert found.worth > best
        if found.rows:
            # The nearest point that makes seven tenths of the way to 8.
            assert found.worth == np.ceil(best + 0.7 * (8 - best))


def test_a_run_can_be_learnt_from(tmp_path):
    worlds = gym_worlds("CartPole-v1", 0)
    points = worlds.space.sample(40, np.random.default_rng(0)).tolist()
    rows = [
        {"point": p, "returns": [float(i), float(i)], "generation": i // 8}
        for i, p in enumerate(points)
    ]
    file = tmp_path / "trials.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make_task("propose/CartPole-v1", split="train", file=str(file))
    problem = task.problem(3)
    assert task.grade(problem, problem.answer).correct
    assert problem.info["worth"] > max(problem.info["returns"], default=-1.0)
    lines.read(problem.answer, worlds.space)
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"point": [1], "returns": [0.0], "generation": 0}) + "\n")
    with pytest.raises(EnvError, match=":1: a point needs 5"):
        make_task("propose/CartPole-v1", split="train", file=str(other))
