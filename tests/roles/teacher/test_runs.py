"""Whole runs of the teacher's commands, at their smallest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.lm.base import LMError
from understudy.roles.teacher import commands, setup, summary
from understudy.roles.teacher.config import (
    AdviceConfig,
    CompareConfig,
    DistillConfig,
    EvalConfig,
    TeacherConfig,
)
from understudy.run.config import RunConfig
from understudy.run.errors import RunError
from understudy.run.metrics import read


def config(folder: Path, **settings) -> TeacherConfig:
    return TeacherConfig(
        **{
            "steps": 128, "envs": 4, "horizon": 16, "minibatch": 32, "eval_episodes": 4, "eval_every": 64,
            "advice": AdviceConfig(who="expert"), "run": RunConfig(root=str(folder), progress=False), **settings,
        }
    )  # fmt: skip


def rows(path: Path):
    return list(read(path / "metrics.jsonl"))


def never(*_, **__):
    raise AssertionError("no teacher may be opened or asked")


@pytest.mark.parametrize(
    "settings", [{"method": "ppo"}, {"method": "ppo+teacher", "distill": DistillConfig(weight=0.0)}]
)
def test_ppo_alone_opens_no_model(settings, tmp_path, monkeypatch):
    for name in ("opened", "Book", "PlanTeacher"):
        monkeypatch.setattr(setup, name, never)
    path = commands.run_train(
        config(tmp_path, advice=AdviceConfig(who="lm"), lm="pocket", **settings)
    )
    assert rows(path)[-1]["step"] == 128
    assert all(row.get("weight", 0.0) == 0 and "loss_distill" not in row for row in rows(path))
    assert not (tmp_path / "teacher" / "plans").exists()
    assert not (path / summary.REPORT_CARD).exists()
    with pytest.raises(AssertionError, match="no teacher"):
        commands.run_train(config(tmp_path, advice=AdviceConfig(who="lm")))


def test_no_teacher_is_asked_once_its_weight_is_nothing(tmp_path):
    path = commands.run_train(
        config(
            tmp_path,
            advice=AdviceConfig(who="expert", trial=0),
            distill=DistillConfig(weight=2.0, steps=128),
            steps=256,
        )
    )
    found = {row["step"]: row for row in rows(path) if "weight" in row}
    assert {t: row["weight"] for t, row in found.items()} == {64: 2.0, 128: 1.0, 192: 0.0, 256: 0.0}
    assert [("loss_distill" in row, "agreement" in row) for row in found.values()] == [
        (True, True)
    ] * 2 + [(False, False)] * 2
    card = json.loads((path / summary.REPORT_CARD).read_text())
    assert card["asked"] == 128  # a call for each row of the first two rounds' 16 steps


def test_a_closed_gate_ends_the_teaching(tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.roles.teacher.gate.CLOSED_BELOW", 2.0)
    monkeypatch.setattr("understudy.roles.teacher.gate.GRACE", 0)
    path = commands.run_train(config(tmp_path, distill=DistillConfig(schedule="adaptive")))
    found = [row for row in rows(path) if "weight" in row]
    assert [row["weight"] for row in found] == [1.0, 0.0]
    assert 0 <= found[0]["followed"] <= 1
    assert "followed" not in found[1]


def test_the_second_run_makes_no_call(tmp_path):
    settings = config(tmp_path, lm="pocket", advice=AdviceConfig(who="lm"), steps=64)
    first, second = commands.run_train(settings), commands.run_train(settings)
    one, two = summary.asked(first), summary.asked(second)
    assert one["calls"] == one["texts"] > 0
    assert (two["calls"], two["tokens"]) == (0, 0)
    assert two["texts"] == one["texts"]
    assert (first / "plans.jsonl").read_bytes() == (second / "plans.jsonl").read_bytes()
    assert rows(first) == rows(second)
    # The run's own book is all that is needed to run again, without a model.
    recorded = AdviceConfig(who="recorded", plans=str(first / "plans.jsonl"))
    third = commands.run_train(replace(settings, advice=recorded))
    assert rows(third) == rows(first)


def test_another_models_plans_are_refused_in_a_runs_book(tmp_path):
    settings = config(tmp_path, lm="pocket", advice=AdviceConfig(who="lm"), steps=64)
    path = commands.run_train(settings)
    book = path / "plans.jsonl"
    book.write_text(book.read_text().replace('"model": "pocket@', '"model": "other@'))
    resumed = replace(settings, run=replace(settings.run, resume=str(path)))
    with pytest.raises(RunError, match=r"plans\.jsonl: holds the answers of .*other@"):
        commands.run_train(resumed)


def test_what_cannot_be_opened_leaves_no_run(tmp_path):
    with pytest.raises(LMError):
        commands.run_train(config(tmp_path, lm="hf:./nowhere", advice=AdviceConfig(who="lm")))
    with pytest.raises(LMError):
        commands.run_eval(
            EvalConfig(base=config(tmp_path, lm="hf:./nowhere", advice=AdviceConfig(who="lm")))
        )
    with pytest.raises(RunError):
        commands.run_train(config(tmp_path, advice=AdviceConfig(who="recorded", plans="nowhere")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [None, 0.0])
def test_a_finished_run_stays_as_it_is(stop, tmp_path):
    settings = config(tmp_path, stop_at=stop)
    path = commands.run_train(settings)
    assert rows(path)[-1]["step"] == (
        128 if stop is None else 64
    )  # it stops where it is good enough
    names = ["metrics.jsonl", summary.REPORT_CARD, "config.toml"]
    before = [(path / name).read_bytes() for name in names]
    commands.run_train(replace(settings, run=replace(settings.run, resume=str(path))))
    assert [(path / name).read_bytes() for name in names] == before


@pytest.mark.parametrize("env", ["LavaDoorKey", "mpe/simple_tag"])
@pytest.mark.parametrize("schedule", ["linear", "adaptive"])
def test_every_kind_of_world_is_taught(env, schedule, tmp_path):
    settings = config(tmp_path, env=env, distill=DistillConfig(schedule=schedule))
    path = commands.run_train(settings)
    last = rows(path)[-1]
    assert last["loss_distill"] > 0
    assert json.loads((path / summary.REPORT_CARD).read_text())["texts"] > 0
    shown = commands.run_eval(
        EvalConfig(who="student", student=str(path), episodes=4, base=settings)
    )
    assert rows(shown)[0]["test/episodes"] >= 4


def test_evaluations_are_always_of_the_same_episodes(tmp_path, monkeypatch):
    seeds, reset = [], DoorKeyVector.reset

    def noting(self, *, seed=None, options=None):
        seeds.append((self.num_envs, seed))
        return reset(self, seed=seed, options=options)

    monkeypatch.setattr(DoorKeyVector, "reset", noting)
    commands.run_train(config(tmp_path, eval_episodes=5, seed=3))
    held_out = {seed for n, seed in seeds if n == 5}
    assert held_out == {1_000_000_000}
    trained = [seed for n, seed in seeds if n == 4 and seed]
    assert all(seed + 4 < 500_000_000 for seed in trained)
    assert len(trained) == 1


def test_a_comparison_of_everything(tmp_path):
    base = config(tmp_path, steps=64)
    out = commands.run_compare(CompareConfig(seeds=(0, 1), base=base))
    made = json.loads(out.read_text())
    assert [(row["method"], row["seed"]) for row in made] == [
        (m, s) for m in ("teacher", "ppo+teacher", "cloning", "ppo") for s in (0, 1)
    ]
    table = summary.describe_comparison(out).splitlines()
    assert len(table) == 1 + 4 * 3
    assert table[1].split()[0] == "teacher"
    assert float(table[1].split()[4]) > 0.7  # the expert, on four episodes


def test_the_area_under_a_curve_by_hand():
    curve = [{"step": 0.0, "test/success": 0.0}, {"step": 100.0, "test/success": 1.0}]
    assert summary.area(curve, 100) == pytest.approx(0.5)
    assert summary.area(curve, 200) == pytest.approx(0.75, abs=1e-3)  # it stays where it ended
    assert summary.steps_to(curve, 0.9) == 100
    assert summary.steps_to(curve[:1], 0.9) is None


def test_a_hostile_teacher_is_sent_away_and_the_run_is_ppo_alone(tmp_path, monkeypatch):
    class Wrong:
        def answers(self, questions):
            return [(("wait", 1.0),)] * len(questions)

    monkeypatch.setattr(setup, "ExpertPlanner", lambda *_: Wrong())
    taught = commands.run_train(config(tmp_path / "taught"))
    alone = commands.run_train(config(tmp_path / "alone", method="ppo"))
    assert (taught / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    assert json.loads((taught / summary.REPORT_CARD).read_text())["trial"]["passed"] is False
    assert "sent away" in summary.describe(taught)
    trusted = AdviceConfig(who="expert", trial=0)
    followed = commands.run_train(config(tmp_path / "trusted", advice=trusted))
    assert rows(followed)[1]["weight"] > 0
