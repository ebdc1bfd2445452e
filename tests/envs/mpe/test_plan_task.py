"""Choosing goals in MPE as a task: promises kept, the scale from worst to best is what is earned."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.envs.base import Demonstrates, Problem, Task
from understudy.envs.check import check_task
from understudy.envs.mpe.plan_task import FOLLOWED, PlanMpe, _moments
from understudy.envs.mpe.skills import act, expert_goals
from understudy.envs.mpe.vector import TASKS, MpeVector
from understudy.envs.mpe.words import describe, goals
from understudy.envs.registry import make_task


def some(split: str = "test", count: int = 24) -> list[Problem]:
    """Problems of all tasks."""
    task = PlanMpe(split)
    return [task.problem(int(i)) for i in np.linspace(0, len(task) - 1, count)]


def known(problem: Problem) -> tuple[str, ...]:
    return goals(TASKS[problem.info["task"]](), problem.info["agent"])


def play(problem: Problem, goal: int) -> float:
    """What the agent earns, played apart from the task's own code, in one world."""
    agent = problem.info["agent"]
    env = MpeVector(problem.info["task"], 1)
    env.reset(12345)
    env.set_state(problem.info["state"])
    total = 0.0
    for _ in range(FOLLOWED):
        seen = env.observe()
        chosen = expert_goals(env.task, seen) | {agent: np.array([goal])}
        _, rewards, truncated, _ = env.step(
            {a: act(env.task, a, chosen[a], seen[a]) for a in env.agents}
        )
        total += float(rewards[agent][0])
        if truncated[0]:
            break
    return total


@pytest.mark.parametrize("split", ["train", "test"])
def test_promises_are_kept(split: str) -> None:
    task = PlanMpe(split)
    assert isinstance(task, Task)
    assert isinstance(task, Demonstrates)
    check_task(task)


def test_worked_answers_are_right_and_the_worst_goal_is_wrong() -> None:
    task, rng = PlanMpe("test"), np.random.default_rng(0)
    wrong = 0
    for problem in some():
        answer = task.demonstration(problem, rng)
        assert task.grade(problem, answer).correct is True
        assert task.diagnose(problem, answer).kind == "correct"
        grades = {goal: task.grade(problem, goal) for goal in known(problem)}
        scores = [g.score for g in grades.values()]
        assert max(scores) == 1
        assert min(scores) in (0, 1)
        for goal, grade in grades.items():
            assert grade.value == goal
            assert grade.correct == (grade.score >= 0.9 or goal == problem.answer)
            wrong += grade.correct is False
    assert wrong > 24


def test_scores_are_what_an_agent_earns() -> None:
    task = PlanMpe("test")
    for problem in some(count=9):
        earned = np.array([play(problem, goal) for goal in range(len(known(problem)))])
        span = np.ptp(earned)
        for goal, name in enumerate(known(problem)):
            expected = (earned[goal] - earned.min()) / span if span else 1
            assert task.grade(problem, name).score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["", "stay where you are", "go to landmark 99", "stay\nstay", "(" * 10**7, "\ud7ff"]
)
def test_nonsense_is_unreadable(text: str) -> None:
    task = PlanMpe("test")
    problem = task.problem(3)
    grade = task.grade(problem, text)
    assert grade.correct is None
    assert grade.value is grade.score is None
    assert grade.reason == f"no goal; there is {', '.join(known(problem))}"
    assert task.diagnose(problem, text).kind == "format"


def test_a_goal_is_read_leniently() -> None:
    task = PlanMpe("test")
    problem = task.problem(3)
    goal = known(problem)[0]
    assert task.grade(problem, f"  {goal.upper()}.\n") == task.grade(problem, goal)


def test_problems_are_the_same_every_time() -> None:
    first = some("train")
    _moments.cache_clear()
    again = some("train")
    for one, two in zip(first, again, strict=True):
        assert (one.id, one.question, one.answer) == (two.id, two.question, two.answer)
        for name, value in one.info["state"].items():
            assert np.array_equal(value, two.info["state"][name])
            assert value.base is None, "the rest of the block is let go"


def test_problems_are_of_all_tasks_agents_and_moments() -> None:
    problems = some(count=200)
    assert {p.info["task"] for p in problems} == set(TASKS)
    assert len({p.info["agent"] for p in problems}) == 8
    assert len({p.id for p in problems}) == 200
    assert len({p.question for p in problems}) > 60
    cycles = [int(p.info["state"]["cycles"][0]) for p in problems]
    assert min(cycles) < 3
    assert max(cycles) > 20


def test_a_question_is_what_the_agent_sees_in_words() -> None:
    problem = PlanMpe("test").problem(70)
    name, agent = problem.info["task"], problem.info["agent"]
    env = MpeVector(name, 1)
    env.reset(0)
    env.set_state(problem.info["state"])
    seen = env.observe()
    text = describe(env.task, agent, seen[agent])[0]
    assert problem.question == f"Task: {name.replace('_', ' ')}. You are {agent}.\n{text}\nGoal:"
    assert problem.answer == known(problem)[int(expert_goals(env.task, seen)[agent][0])]


def test_splits_do_not_meet() -> None:
    worlds = [{p.info["situation"] for p in some(split)} for split in ("train", "test")]
    assert not worlds[0] & worlds[1]


def test_options_come_by_the_registry() -> None:
    task = make_task("plan/mpe", split="test", tasks=("simple_tag",))
    assert {task.problem(i).info["task"] for i in (0, 70, 500)} == {"simple_tag"}
    with pytest.raises(ValueError, match="plan/mpe: no split 'dev'; there are train, test"):
        PlanMpe("dev")
    with pytest.raises(ValueError, match="no task 'tag'; there are simple_spread"):
        PlanMpe("test", tasks=("tag",))
