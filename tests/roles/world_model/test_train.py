"""Training from start to end: what is kept, that it goes on as if it had not stopped, and commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.roles.same import assert_same
from tests.roles.world_model.parts import settings
from understudy.cli import main
from understudy.envs.base import EnvError
from understudy.envs.control.register import make
from understudy.roles.world_model import commands, summary
from understudy.roles.world_model.config import EvalConfig, WorldModelConfig
from understudy.roles.world_model.cores.spec import CoreError
from understudy.roles.world_model.dream import load_dream
from understudy.run.config import ConfigError, RunConfig
from understudy.run.errors import RunError
from understudy.run.metrics import read
from understudy.run.run import Run

CASES = {
    "gru": ("--envs", "2"),
    "attention": ("--core", "llama", "--body.window", "4", "--body.layers", "1"),
    "mamba": ("--core", "mamba2", "--body.layers", "1", "--env", "understudy/TMaze-v0",
              "--env_options.cue", "sentence"),
    "2023": ("--version", "2023", "--env", "Pendulum-v1"),
}  # fmt: skip


class Died(Exception):
    pass


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_died_goes_on_as_if_it_had_not(case, tmp_path: Path, monkeypatch):
    config = settings(*CASES[case], "--steps", "100", "--log_every", "10")
    keep = {"root": str(tmp_path), "progress": False, "checkpoint_every": 2}
    whole = commands.run_train(replace(config, run=RunConfig(name="whole", **keep)))
    log = Run.log

    def fails(self, step, *rest, **more):
        # The newest checkpoint is older than the last line: some steps are lived again.
        if step >= 90:
            raise Died
        log(self, step, *rest, **more)

    died = replace(config, run=RunConfig(name="died", **keep))
    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", fails)
        with pytest.raises(Died):
            commands.run_train(died)
    other = whole.with_name("died")
    resumed = replace(died, run=replace(died.run, resume=str(other)))
    assert commands.run_train(resumed) == other
    assert_same(whole, other, [summary.PARAMETERS])


def test_a_run_that_was_asked_to_stop_goes_on_in_the_middle_of_a_line(tmp_path: Path, monkeypatch):
    config = settings("--steps", "100", "--log_every", "40")
    keep = {"root": str(tmp_path), "progress": False}
    whole = commands.run_train(replace(config, run=RunConfig(name="whole", **keep)))
    asked = iter([False] * 70 + [True] * 2)
    stopped = replace(config, run=RunConfig(name="stopped", **keep))
    with monkeypatch.context() as patched:
        patched.setattr(Run, "stop_requested", property(lambda self: next(asked)))
        other = commands.run_train(stopped)
    assert [row["step"] for row in read(other / "metrics.jsonl")] == [40]
    commands.run_train(replace(stopped, run=replace(stopped.run, resume=str(other))))
    assert_same(whole, other, [summary.PARAMETERS])


def test_the_ratio_of_replayed_steps_is_kept(tmp_path: Path):
    config = settings("--steps", "200", "--replay.ratio", "16", "--eval_episodes", "0")
    run = commands.run_train(replace(config, run=RunConfig(root=str(tmp_path), progress=False)))
    last = read(run / "metrics.jsonl")[-1]
    # 16 replayed steps per lived one after the first 64, 32 replayed steps per update, one to begin.
    assert last["updates"] == (200 - 64) * 16 // 32 + 1
    assert "test/return" not in last


def test_eval_draws_a_dream_and_compare_a_table(tmp_path: Path, capsys):
    pytest.importorskip("matplotlib")
    flags = ["--debug", "--base.run.root", str(tmp_path), "--base.run.progress", "false"]
    cores = ["--cores", '["gru", "slots"]', "--base.body.layers", "1", "--base.steps", "100"]
    assert main(["world_model", "compare", *flags, *cores]) == 0
    shown = capsys.readouterr().out
    assert "slots" in shown
    table = tmp_path / "world_model" / "CartPole-v1" / "compare.json"
    rows = json.loads(table.read_text())
    assert [row["core"] for row in rows] == ["gru", "slots"]
    assert table.with_suffix(".png").is_file()
    args = [rows[0]["run"], "--episodes", "2", "--run.root", str(tmp_path), "--run.name", "eval"]
    assert main(["world_model", "eval", *args]) == 0
    shown = capsys.readouterr().out
    assert "greedy: return" in shown
    made = Path(shown.split()[-1])
    assert (made / "media" / "dream.png").stat().st_size > 1000
    dream = load_dream(made)
    assert dream.seen == 5
    assert dream.actual["observation"].shape == dream.dreamt["observation"].shape


def test_mistakes_are_told_before_there_is_a_run(tmp_path: Path):
    keep = RunConfig(root=str(tmp_path / "runs"), progress=False)
    with pytest.raises(CoreError, match="did you mean gru"):
        settings("--core", "grru")
    with pytest.raises(ConfigError, match="bins must be odd"):
        settings("--bins", "4")
    with pytest.raises(ConfigError, match="at least 2 steps"):
        settings("--replay.length", "1")
    with pytest.raises(ConfigError, match="hold no sequence"):
        settings("--replay.capacity", "8")
    with pytest.raises(EnvError, match="CartPole-v1"):
        commands.run_train(WorldModelConfig(env="CartPol-v1", run=keep))
    with pytest.raises(RunError, match=r"no config\.toml"):
        commands.run_eval(EvalConfig(agent=str(tmp_path), run=keep))
    assert not (tmp_path / "runs").exists()


def opens(env: str) -> bool:
    try:
        make(env).close()
    except EnvError:
        return False
    return True


@pytest.mark.parametrize("env", ["InvertedPendulum-v5", "dmc/cartpole_swingup_sparse"])
def test_physics_from_start_to_end(env, tmp_path: Path):
    if not opens(env):
        pytest.skip(f"{env} is not installed")
    run = RunConfig(name="x", root=str(tmp_path), progress=False)
    config = settings("--env", env, "--steps", "90", "--eval_episodes", "1")
    path = commands.run_train(replace(config, run=run))
    last = read(path / "metrics.jsonl")[-1]
    assert last["test/episodes"] == 1
    assert last["test/return"] >= 0
