"""A sweep is the same runs whoever makes them, in whatever order, whoever is killed."""

import json
import shutil
from pathlib import Path

import pytest

import understudy
from tests.roles.processes import command
from tests.sweep.twenty import (
    RUNS,
    Killer,
    arguments,
    attempts,
    runs,
    same,
    whole_but_for_a_kill,
)
from understudy.run.config import ConfigError, dump, load
from understudy.run.run import locked
from understudy.sweep.config import SweepConfig, shrunk
from understudy.sweep.table import mean_over_seeds


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    with pytest.MonkeyPatch.context() as patch:
        args = arguments(folder)
        patch.chdir(folder)
        assert command(args) == 0
    return folder


def test_processes_make_the_same_runs_though_one_is_killed(serial, tmp_path, monkeypatch):
    args = arguments(tmp_path, "--workers", "2")
    monkeypatch.chdir(tmp_path)
    with Killer(tmp_path) as killer:
        assert command(args) == 0
    whole_but_for_a_kill(killer)
    same(serial, tmp_path)


def test_ray_makes_the_same_runs_though_a_worker_is_killed(serial, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    # A worker of Ray begins in a directory of its own.
    monkeypatch.setenv("PYTHONPATH", str(Path(understudy.__file__).parents[1]))
    args = arguments(tmp_path, "--ray", "local", "--workers", "2")
    monkeypatch.chdir(tmp_path)
    with Killer(tmp_path) as killer:
        assert command(args) == 0
    whole_but_for_a_kill(killer)
    same(serial, tmp_path)


def test_the_table_says_what_every_setting_came_to(serial: Path):
    found = json.loads((serial / "twenty/sweep.json").read_text())
    assert found["runs"] == RUNS
    assert found["failed"] == []
    assert [row["setting"] for row in found["settings"]] == [
        "proposer=cma policy.limit=2.0", "proposer=cma policy.limit=6.0",
        "proposer=random policy.limit=2.0", "proposer=random policy.limit=6.0",
    ]  # fmt: skip
    for row in found["settings"]:
        values = [
            json.loads((serial / "twenty" / run["run"] / "result.json").read_text())["held_out"]["mean"]
            for run in row["runs"]
        ]  # fmt: skip
        assert [run["seed"] for run in row["runs"]] == [0, 1, 2, 3, 4]
        assert row["mean"]["value"] == pytest.approx(sum(values) / 5)
        assert (
            min(values)
            <= row["mean"]["low"]
            < row["mean"]["value"]
            < row["mean"]["high"]
            <= max(values)
        )
    text = (serial / "twenty/sweep.txt").read_text()
    best = max(found["settings"], key=lambda row: row["mean"]["value"])["setting"]
    assert text.splitlines()[2].startswith(best)


def test_what_is_finished_is_not_run_again_and_what_is_missing_is(serial, tmp_path, monkeypatch):
    shutil.copytree(serial, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    gone = runs(tmp_path / "copy")[7]
    shutil.rmtree(gone)
    assert command(arguments(tmp_path / "copy")) == 0
    same(serial, tmp_path / "copy")
    assert all(attempts(run) == 1 for run in runs(tmp_path / "copy"))
    before = {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in runs(serial)}
    monkeypatch.chdir(serial)
    assert command(arguments(serial)) == 0
    assert {run: (run / "metrics.jsonl").stat().st_mtime_ns for run in runs(serial)} == before


def test_a_run_that_fails_stops_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(
        '[optimizer.grid]\nenv = ["CartPole-v1", "CartPoll-v1"]\n'
        '[optimizer.base]\nproposer = "random"\nheld_out = 5\nbudget.episodes = 20\n'
    )
    args = ["sweep", "recipe.toml", "--root", ".", "--seeds", "[0, 1]", "--progress", "false"]
    assert command(args) == 2
    found = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [Path(one["run"]).parts[-2] for one in found["failed"]] == ["CartPoll-v1"] * 2
    assert "CartPoll" in found["failed"][0]["problem"]
    assert [row["mean"] is None for row in found["settings"]] == [False, True]
    assert "understudy: 2 of 4 runs failed" in capsys.readouterr().err


def test_two_sweeps_do_not_write_one_directory(serial, monkeypatch, capsys):
    monkeypatch.chdir(serial)
    with locked(serial / "twenty"):
        assert command(arguments(serial)) == 2
    assert "another process" in capsys.readouterr().err


def test_a_run_of_other_settings_is_refused(serial, monkeypatch, capsys):
    monkeypatch.chdir(serial)
    assert command([*arguments(serial), "--optimizer.base.policy.bias", "false"]) == 2
    assert "was made with policy.bias = True, not False" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("", "no role has one"),
        ('[optimizer.grid]\n"policy.biass" = [true]', r"did you mean 'policy.bias'\?"),
        ('[optimizer.grid]\n"policy.bias" = ["yes"]', "must be true or false, not 'yes'"),
        ('[optimizer.grid]\n"policy.limit" = [2, 2.0]', "none twice"),
        ('[optimizer.grid]\nproposer = ["cmaes"]', "must be one of 'random'"),
        ('[optimizer.grid]\nproposer = []', "at least one value"),
        ("[optimizer.grid]\nseed = [1]", "names the seeds"),
        ('[optimizer.grid]\n"run.name" = ["a"]', "a sweep sets it itself"),
        ('[optimizer.grid]\nfirst = ["lm"]\nproposer = ["cma"]', "only --proposer hybrid"),
        ('[optimizer.grid]\nproposer = ["cma"]\n[optimizer]\nseeds = [-1]', "none below 0"),
        ('workers = 0\n[optimizer.grid]\nproposer = ["cma"]', "workers: at least 1"),
        ('name = "a/b"\n[optimizer.grid]\nproposer = ["cma"]', "name must be"),
        ("[optimiser.grid]\nproposer = []", r"did you mean"),
    ],
)  # fmt: skip
def test_recipes_that_mean_nothing_are_refused(recipe, words, tmp_path):
    (tmp_path / "recipe.toml").write_text(recipe)
    with pytest.raises(ConfigError, match=words):
        load(SweepConfig, [str(tmp_path / "recipe.toml")])


def test_a_typo_in_a_model_costs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text('[teacher.grid]\nlm = ["pocket", "pockett"]')
    assert command(["sweep", "recipe.toml"]) == 2
    assert "pockett" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_sweep_reads_back_and_every_run_has_its_name(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        '[optimizer.grid]\nproposer = ["portfolio"]\nmembers = [["cma", "ars"], ["cma", "random"]]\n'
        '[simulator.grid]\n"make.study" = ["low-mood"]\n'
    )
    config = load(SweepConfig, [str(tmp_path / "recipe.toml"), "--debug"])
    (tmp_path / "again.toml").write_text(dump(shrunk(config)))
    assert load(SweepConfig, [str(tmp_path / "again.toml")]) == shrunk(config)
    cells = shrunk(config).cells("x")
    assert len(cells) == 2 * 3 + 3
    assert len({(cell.role, cell.name) for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == [0] * 3 + [1] * 3 + [2] * 3
    assert cells[0].config.budget.episodes == 60
    assert {cell.name for cell in cells if cell.role == "simulator"} == {
        "base-s0",
        "base-s1",
        "base-s2",
    }


def test_the_mean_over_seeds_has_an_interval():
    found = mean_over_seeds([1.0, 2.0, 6.0])
    assert found["value"] == 3.0
    assert 1.0 <= found["low"] < 3.0 < found["high"] <= 6.0
    assert mean_over_seeds([2.0]) == {"value": 2.0, "low": 2.0, "high": 2.0}
