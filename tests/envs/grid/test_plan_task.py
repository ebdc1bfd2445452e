"""Planning in door-key rooms as a task: promises kept, worked answers right, scores what is earned."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.envs.base import Demonstrates, Problem, Task
from understudy.envs.check import check_task
from understudy.envs.grid import expert
from understudy.envs.grid.doorkey import MAX_STEPS, DoorKeyVector
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.plan_task import BLOCK, PlanDoorKey, _moments
from understudy.envs.grid.plans import INSTRUCTIONS, candidates, read, write
from understudy.envs.grid.scene import Scene, describe
from understudy.envs.grid.skills import actions
from understudy.envs.registry import make_task


def some(split: str = "test", count: int = 24) -> list[Problem]:
    """Problems of the first four blocks, one of each task."""
    task = PlanDoorKey(split)
    return [task.problem(int(i)) for i in np.linspace(0, 4 * BLOCK - 1, count)]


def play(problem: Problem, plan: str) -> float:
    """The return of one episode from the moment on, played apart from the task's own code."""
    env = DoorKeyVector(problem.info["task"])
    observation = env.set_state(problem.info["state"])
    texts = []
    for _ in range(MAX_STEPS + 1):
        scene, mission = Scene.of(observation["image"]), observation["mission"]
        words = describe(scene, mission)[0]
        texts.append(words.text)
        same = len(set(texts)) == 1
        now = read(plan, words.objects) if same else expert.plan(mission[0], words)
        observation, rewards, terminated, truncated, _ = env.step(actions(scene, [now]))
        if terminated[0] or truncated[0]:
            return float(rewards[0])
    raise AssertionError("an episode has an end")


@pytest.mark.parametrize(("split", "problems"), [("train", 6), ("test", 24)])
def test_promises_are_kept(split: str, problems: int) -> None:
    task = PlanDoorKey(split)
    assert isinstance(task, Task)
    assert isinstance(task, Demonstrates)
    check_task(task, problems=problems)


def test_worked_answers_are_right_and_waiting_is_wrong() -> None:
    task = PlanDoorKey("test")
    rng = np.random.default_rng(0)
    scores = []
    for problem in some(count=16):
        grade = task.grade(problem, task.demonstration(problem, rng))
        assert grade.correct is True
        assert grade.value == problem.answer
        scores.append(grade.score)
        waited = task.grade(problem, "wait")
        assert (waited.correct, waited.score) == (False, 0)
        assert task.diagnose(problem, "wait").kind == "reasoning"
        assert task.diagnose(problem, problem.answer).kind == "correct"
    assert np.mean(scores) > 0.6


def test_scores_are_what_an_episode_earns() -> None:
    task = PlanDoorKey("test")
    kinds = set()
    for problem in some(count=5):
        best = play(problem, problem.answer)
        for plan in candidates(problem.info["objects"], problem.info["held"]):
            grade = task.grade(problem, write(plan))
            assert grade.score == play(problem, write(plan))
            enough = grade.score > 0 and grade.score >= 0.9 * best
            assert grade.correct == (enough or write(plan) == problem.answer)
            kinds.add(grade.correct)
    assert kinds == {True, False}


def test_the_experts_plan_is_right_even_without_the_time_to_win() -> None:
    task = PlanDoorKey("test", tasks=("TwoDoor",))
    problem = task.problem(0)
    problem.info["state"]["steps"][:] = MAX_STEPS - 1
    try:
        grade = task.grade(problem, problem.answer)
        assert (grade.correct, grade.score) == (True, 0)
        assert task.grade(problem, "wait").correct is False
    finally:
        _moments.cache_clear()


@pytest.mark.parametrize(
    "text", ["", "the robot should think", "go to purple key", "wait, " * 9, "(" * 10**6, "\ud7ff"]
)
def test_nonsense_is_unreadable(text: str) -> None:
    task = PlanDoorKey("test")
    problem = task.problem(3)
    grade = task.grade(problem, text)
    assert grade.correct is None
    assert grade.value is grade.score is None
    assert grade.reason
    assert "\n" not in grade.reason
    assert task.diagnose(problem, text).kind == "format"


def test_problems_are_the_same_every_time() -> None:
    first = some("train", 12)
    _moments.cache_clear()
    again = some("train", 12)
    assert [(p.id, p.question, p.answer) for p in first] == [
        (p.id, p.question, p.answer) for p in again
    ]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.info["state"]["cells"], two.info["state"]["cells"])
        assert one.info["state"]["rngs"] == two.info["state"]["rngs"]
        assert one.info["state"]["cells"].base is None, "the rest of the block is let go"


def test_problems_are_of_all_tasks_and_moments() -> None:
    problems = some(count=200)
    assert {p.info["task"] for p in problems} == set(RULES)
    assert {p.level for p in problems} == {0, 1, 2, 3}
    assert len({p.id for p in problems}) == 200
    assert len({p.question for p in problems}) > 20
    assert len({p.answer for p in problems}) > 6
    steps = [int(p.info["state"]["steps"][0]) for p in problems]
    assert 0 <= min(steps) < 5
    assert max(steps) > 40
    held = [p.info["held"] for p in problems]
    assert "" in held
    assert "key" in held


def test_a_question_is_the_scene_in_words() -> None:
    problem = PlanDoorKey("test").problem(0)
    state = problem.info["state"]
    env = DoorKeyVector(problem.info["task"])
    observation = env.set_state(state)
    words = describe(Scene.of(observation["image"]), observation["mission"])[0]
    assert problem.question == f"{words.text}\nPlan:"
    assert problem.info["objects"] == words.objects
    told = PlanDoorKey("test", instructions=True).problem(0)
    assert told.question == INSTRUCTIONS + problem.question


def test_splits_do_not_meet() -> None:
    rooms = [{p.info["situation"] for p in some(split)} for split in ("train", "test")]
    assert not rooms[0] & rooms[1]


def test_options_come_by_the_registry() -> None:
    task = make_task("plan/doorkey", split="test", tasks=("LavaDoorKey",))
    assert {task.problem(i).info["task"] for i in (0, 70, 500)} == {"LavaDoorKey"}
    with pytest.raises(ValueError, match="plan/doorkey: no split 'dev'; there are train, test"):
        PlanDoorKey("dev")
    with pytest.raises(ValueError, match="no task 'Lava'; there are SimpleDoorKey"):
        PlanDoorKey("test", tasks=("Lava",))
