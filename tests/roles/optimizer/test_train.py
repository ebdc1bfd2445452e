"""The whole loop: it finds what there is to find, spends exactly, and survives any end."""

import contextlib
import io
import json
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.cli import main
from understudy.data.jsonl import DataError
from understudy.envs.control.vector import Arena
from understudy.envs.search.task import Task
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.build import build_proposer
from understudy.roles.optimizer.commands import run_eval
from understudy.roles.optimizer.config import CompareConfig, EvalConfig, OptimizerConfig
from understudy.roles.optimizer.train import Result, train
from understudy.roles.optimizer.trials import Trial, read_trials
from understudy.run.config import load
from understudy.run.errors import ConfigError
from understudy.run.run import Run

FILES = ("metrics.jsonl", "trials.jsonl", "best_policy.json", "result.json")
SMALL = ("--budget.episodes", "150", "--held_out", "20", "--run.progress", "false")
SHORT = ("--env_options", '{"max_episode_steps": 60}')
CASES = {
    "hybrid": ("--env", "CartPole-v1", "--first_trials", "10", *SHORT),
    "portfolio": ("--env", "Pendulum-v1", "--proposer", "portfolio", *SHORT),
    "running": ("--env", "Pendulum-v1", "--proposer", "ars", "--policy.running", "true", *SHORT),
    "plan": ("--env", "FrozenLake-v1", "--proposer", "plan"),
    "catcma": ("--env", "understudy/Nim-v0", "--proposer", "catcma", "--race_first", "2"),
}


def config(folder: Path, name: str, *flags: str) -> OptimizerConfig:
    common = (*SMALL, "--run.root", str(folder), "--run.name", name)
    return load(OptimizerConfig, [*common, "--run.checkpoint_every", "2", *flags])


def started(settings: OptimizerConfig, build: Any = build_proposer) -> tuple[Path, Result | None]:
    with Run.create("optimizer", settings.env, settings, settings.run) as run:
        return run.path, train(settings, run, build=build)


def assert_same(first: Path, second: Path) -> None:
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


class Killed(Exception):
    """As if the process had ended there."""


def dying(generation: int) -> Any:
    """A proposer that ends the run when it is told of its n-th generation."""

    def build(settings: OptimizerConfig, task: Task, budget: Budget) -> Any:
        proposer = build_proposer(settings, task, budget)
        tell, told = proposer.tell, [0]

        def fatal(trials: Sequence[Trial]) -> None:
            told[0] += 1
            if told[0] == generation:
                raise Killed
            tell(trials)

        proposer.tell = fatal  # pyright: ignore[reportAttributeAccessIssue]
        return proposer

    return build


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_ended_anywhere_is_the_run_that_was_not(tmp_path: Path, case: str) -> None:
    whole, _ = started(config(tmp_path, "whole", *CASES[case]))
    for generation in (1, 4):
        settings = config(tmp_path, f"ended-{generation}", *CASES[case])
        path = tmp_path / "optimizer" / whole.parent.name / f"ended-{generation}"
        with pytest.raises(Killed):
            started(settings, dying(generation))
        resumed = replace(settings, run=replace(settings.run, resume=str(path)))
        started(resumed)
        assert_same(whole, path)
        started(resumed)  # a finished run stays as it is
        assert_same(whole, path)


def command(*args: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(args)
    return code, out.getvalue(), err.getvalue()


def test_sigkill_changes_no_bit(tmp_path: Path) -> None:
    flags = ["optimizer", "train", *CASES["hybrid"], "--budget.episodes", "250", "--held_out", "20",
             "--run.progress", "false", "--run.root", str(tmp_path), "--run.checkpoint_every", "1"]  # fmt: skip
    assert command(*flags, "--run.name", "whole")[0] == 0
    folder, rng, kills = tmp_path / "optimizer" / "CartPole-v1", random.Random(0), 0
    path = folder / "killed"
    while not (path / "result.json").exists():
        begun = (path / "run.json").exists()
        child = os.fork()
        if child == 0:
            again = ["resume", str(path)] if begun else [*flags, "--run.name", "killed"]
            os._exit(command(*again)[0])
        # Restoring cuts the log back, so what is waited for is another length of it.
        wanted, before = rng.randrange(1, 4), size(path / "metrics.jsonl")
        while wanted and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = size(path / "metrics.jsonl")
            wanted, before = wanted - (now != before), now
            time.sleep(0.001)
        if not wanted and kills < 6:
            time.sleep(rng.uniform(0.0, 0.02))
            os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert kills >= 4
    assert_same(folder / "whole", path)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def test_a_search_spends_its_budget_exactly_and_solves_the_task(tmp_path: Path) -> None:
    path, result = started(config(tmp_path, "one", "--env", "MountainCarContinuous-v0",
                                  "--budget.episodes", "400", "--seed", "3"))  # fmt: skip
    assert result is not None
    assert result.held_out.mean >= 90
    assert result.held_out.low <= result.held_out.mean <= result.held_out.high
    trials = read_trials(path / "trials.jsonl")
    played = sum(trial.n for trial in trials)
    assert 4 + played == result.spent["episodes"] <= 400
    assert result.spent["episodes"] > 360
    assert result.spent["evaluations"] == sum(t.proposer != "choice" for t in trials)
    assert {t.proposer for t in trials} == {"random", "cma", "choice"}
    # Any trial can be played again from its seeds.
    saved = json.loads((path / "best_policy.json").read_text())
    scale = saved["policy"]["mean"], saved["policy"]["std"]
    assert len(scale[0]) == 2
    found = run_eval(EvalConfig(policy=str(path), episodes=50, seed=1))
    assert found["mean"] >= 90
    assert found["mean"] != result.held_out.mean
    # The file is enough without this package.
    with Arena("MountainCarContinuous-v0") as arena:
        env = arena.single
        total = 0.0
        seen, _ = env.reset(seed=5)
        over = False
        while not over:
            policy = saved["policy"]
            z = np.clip((seen - np.array(policy["mean"])) / policy["std"], -10, 10)
            action = np.clip(
                z @ np.array(policy["weights"]) + policy["bias"], policy["low"], policy["high"]
            )
            seen, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
            total, over = total + float(reward), terminated or truncated
    assert total >= 88


@pytest.mark.parametrize("limit", [("--budget.evaluations", "23"), ("--budget.episodes", "37")])
def test_limits_hold(tmp_path: Path, limit: tuple[str, str]) -> None:
    _, result = started(config(tmp_path, "one", *limit))
    assert result is not None
    assert result.spent["evaluations"] <= 23 or limit[1] != "23"
    if limit[0] == "--budget.evaluations":
        assert result.spent["evaluations"] == 23
    else:
        assert result.spent["episodes"] <= 37


def test_a_proposer_that_costs_money_stops_at_its_limit(tmp_path: Path) -> None:
    """As one that asks a language model does: one call a batch, noted in the budget."""
    # The check of what is left is the proposer's: one that can go on without calls may.

    def build(settings: OptimizerConfig, task: Task, budget: Budget) -> Any:
        proposer = build_proposer(settings, task, budget)
        ask = proposer.ask

        def paid(n: int, trials: Any, rng: Any) -> Any:
            if min(budget.left("calls"), budget.left("tokens")) <= 0:
                return []
            budget.spend(calls=1, tokens=100, usd=0.01)
            return ask(n, trials, rng)

        proposer.ask = paid  # pyright: ignore[reportAttributeAccessIssue]
        return proposer

    for flags, calls in ((("--budget.calls", "3"), 3), (("--budget.tokens", "350"), 4)):
        settings = config(tmp_path, f"calls-{calls}", "--env", "CartPole-v1", *SHORT, *flags)
        _, result = started(settings, build)
        assert result is not None
        assert result.spent["calls"] == calls
        assert result.spent["tokens"] == 100 * calls


def test_a_proposer_without_proposals_ends_the_search(tmp_path: Path) -> None:
    def build(settings: OptimizerConfig, task: Task, budget: Budget) -> Any:
        proposer = build_proposer(settings, task, budget)
        ask = proposer.ask
        proposer.ask = lambda n, t, r: [] if len(t) >= 20 else ask(n, t, r)  # pyright: ignore[reportAttributeAccessIssue]
        return proposer

    path, result = started(config(tmp_path, "one", "--env", "CartPole-v1", *SHORT), build)
    assert result is not None
    searched = [t for t in read_trials(path / "trials.jsonl") if t.proposer != "choice"]
    assert 20 <= len(searched) < 40


def test_the_command_line_trains_evaluates_and_compares(tmp_path: Path) -> None:
    root = ("--run.root", str(tmp_path))
    code, out, err = command("optimizer", "train", "--env", "understudy/Maze-v0", *SMALL, *root,
                             "--run.name", "maze")  # fmt: skip
    assert code == 0, err
    assert "held out  0.97 [0.97, 0.97] over 20 episodes" in out
    path = tmp_path / "optimizer" / "understudy-Maze-v0" / "maze"
    assert out.strip().endswith(str(path))
    code, out, err = command("optimizer", "eval", str(path), "--episodes", "5")
    assert (code, out) == (0, "understudy/Maze-v0  0.97 [0.97, 0.97] over 5 episodes\n"), err
    code, out, err = command(
        "optimizer", "compare", "--env", "understudy/Nim-v0", "--proposers", '["plan", "random"]',
        "--seeds", "[0, 1]", "--base.budget.episodes", "200", "--base.held_out", "20",
        "--base.run.root", str(tmp_path), "--base.run.progress", "false",
    )  # fmt: skip
    assert code == 0, err
    assert "exact optimum 1 " in out
    file = tmp_path / "optimizer" / "understudy-Nim-v0" / "compare.json"
    found = json.loads(file.read_text())
    assert [(row["proposer"], row["seed"]) for row in found["runs"]] == [
        ("plan", 0), ("plan", 1), ("random", 0), ("random", 1),
    ]  # fmt: skip
    assert found["optimum"] == {"value": 1.0, "stationary": 1.0}
    for row in found["runs"]:
        assert row["episodes"] == sorted(row["episodes"])
        assert len(row["best"]) == len(row["episodes"])
    table = [line for line in out.splitlines() if line.startswith("plan")]
    plan = [row["held_out"]["mean"] for row in found["runs"][:2]]
    assert f"{np.mean(plan):.4g}" in table[0]


def test_bad_input_is_one_line_and_leaves_no_run(tmp_path: Path) -> None:
    for flags, word in (
        (("--env", "CartPol-v1"), "did you mean CartPole-v1"),
        (("--env", "CartPole-v1", "--proposer", "plan"), "plan needs"),
        (("--env", "FrozenLake-v1", "--proposer", "cma"), "cma needs numbers"),
        (("--env", "FrozenLake-v1", "--policy.kind", "linear"), "use --policy table"),
        (("--budget.episodes", "5"), "budget.episodes"),
        (("--proposer", "cmaa"), "cmaa"),
    ):
        code, _, err = command("optimizer", "train", *flags, "--run.root", str(tmp_path))
        assert code == 2
        assert word in err
        assert err.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))
    broken = tmp_path / "best_policy.json"
    broken.write_text('{"env": "CartPole-v1"}')
    for path in (broken, tmp_path / "none"):
        with pytest.raises(DataError, match=r"not a policy|no such file"):
            run_eval(EvalConfig(policy=str(path)))


def test_combinations_that_cannot_mean_anything() -> None:
    for flags, word in (
        (["--members", '["cma"]'], "only --proposer portfolio"),
        (["--proposer", "portfolio", "--members", '["cma"]'], "at least two"),
        (["--proposer", "portfolio", "--members", '["cma", "hybrid"]'], "cannot be members"),
    ):
        with pytest.raises(ConfigError, match=word):
            load(OptimizerConfig, flags)
    with pytest.raises(ConfigError, match="needs proposers"):
        load(CompareConfig, ["--seeds", "[]"])
    with pytest.raises(ConfigError, match="eval needs"):
        load(EvalConfig, [])


def test_a_running_scale_follows_what_the_search_sees(tmp_path: Path) -> None:
    stds = []
    for running in ("false", "true"):
        flags = ("--env", "CartPole-v1", *SHORT, "--policy.running", running)
        path, _ = started(config(tmp_path, running, *flags))
        saved = json.loads((path / "best_policy.json").read_text())
        stds.append(saved["policy"]["std"])
        # What is saved is the scale with which the policy was evaluated.
        assert run_eval(EvalConfig(policy=str(path)))["mean"] >= 50
    # Balanced poles move less than those that random pushes topple.
    assert stds[1][2] < stds[0][2]
    with pytest.raises(ConfigError, match="a running scale needs"):
        load(OptimizerConfig, ["--policy.running", "true", "--policy.scaling_episodes", "0"])
