"""A taught student learns a task quickly, and the bundled model teaches it: real runs."""

from pathlib import Path

import pytest

from understudy.roles.teacher import commands, summary
from understudy.roles.teacher.config import AdviceConfig, EvalConfig, TeacherConfig
from understudy.run.config import RunConfig


@pytest.mark.learning
def test_ppo_with_the_scripted_expert_learns_the_door_key(tmp_path: Path):
    config = TeacherConfig(
        steps=40_000,
        advice=AdviceConfig(who="expert"),
        stop_at=0.95,
        run=RunConfig(root=str(tmp_path), progress=False),
    )
    curve = summary.curve(commands.run_train(config))
    assert curve[0]["test/success"] <= 0.3
    assert curve[-1]["test/episodes"] >= 200
    assert curve[-1]["test/success"] >= 0.95
    assert curve[-1]["step"] <= 40_960  # whole rounds


@pytest.mark.learning
def test_the_bundled_model_teaches_the_door_key(tmp_path: Path):
    config = EvalConfig(
        episodes=100,
        base=TeacherConfig(lm="pocket", run=RunConfig(root=str(tmp_path), progress=False)),
    )
    first, second = commands.run_eval(config), commands.run_eval(config)
    (found,) = summary.curve(first)
    assert found["test/episodes"] == 100
    assert found["test/success"] >= 0.95
    spent = summary.asked(first)
    assert 1 <= spent["calls"] <= 6
    assert spent["fallbacks"] == 0
    assert summary.asked(second)["calls"] == 0
    assert summary.curve(second) == summary.curve(first)
