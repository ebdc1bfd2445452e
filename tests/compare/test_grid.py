"""A grid is made of ordinary runs, goes on where it was, and its table comes from them alone."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.roles.processes import command, lines, started
from understudy.compare.config import GridConfig, only, shrunk
from understudy.compare.grid import folder_of, unfinished
from understudy.compare.play import play
from understudy.compare.roles import place
from understudy.run.cell import slug
from understudy.run.config import ConfigError, dump, load
from understudy.run.errors import RunError

RECIPE = """
seeds = [0, 1]

[optimizer]
envs = ["CartPole-v1", "MountainCar-v0"]
methods = ["hybrid+lm", "random"]

[teacher]
envs = ["SimpleDoorKey", "ColoredDoorKey"]
methods = ["teacher", "ppo+teacher"]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "grid.toml"
    file.write_text(RECIPE)
    return file


def _grid(recipe: Path, root: Path, *more: str) -> list[str]:
    return ["compare", str(recipe), "--debug", "--root", str(root), "--progress", "false", *more]


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    assert command(_grid(recipe, root)) == 0
    return root / "grid"


def test_the_table_is_made_again_from_the_runs_alone_bit_for_bit(whole: Path, tmp_path: Path):
    copy = tmp_path / "elsewhere"
    for run in whole.rglob("run.json"):
        shutil.copytree(run.parent, copy / run.parent.relative_to(whole))
    assert not (copy / "compare.json").exists()
    assert command(["compare", "table", str(copy)]) == 0
    for name in ("compare.json", "compare.txt"):
        assert (copy / name).read_bytes() == (whole / name).read_bytes()


def test_the_table_says_who_how_well_and_at_what_cost(whole: Path):
    found = json.loads((whole / "compare.json").read_text())
    assert [(p["role"], p["env"]) for p in found["places"]] == [
        ("optimizer", "CartPole-v1"), ("optimizer", "MountainCar-v0"),
        ("teacher", "ColoredDoorKey"), ("teacher", "SimpleDoorKey"),
    ]  # fmt: skip
    assert len(found["runs"]) == 2 * 2 * 2 + 2 * 2 * 2
    first = found["places"][0]
    assert [one["name"] for one in first["contenders"]] == ["hybrid+lm (pocket)", "random"]
    asked, chance = first["contenders"]
    assert asked["cost"]["calls"] > 0
    assert asked["cost"]["tokens"] > asked["cost"]["calls"]
    assert chance["cost"]["calls"] == 0
    assert chance["cost"]["seconds"] > 0
    scores = [
        run["score"]["value"]
        for run in found["runs"]
        if (run["env"], run["contender"]) == ("CartPole-v1", "random")
    ]
    assert chance["mean"] == pytest.approx(sum(scores) / 2)
    assert first["level"] == pytest.approx(chance["iqm"]["value"])
    # Two seeds against two can never show a difference.
    assert {d["verdict"] for p in found["places"] for d in p["differences"]} == {"no difference"}
    # Returns of different tasks are not put together; success is.
    assert [role["role"] for role in found["roles"]] == ["teacher"]
    assert "no difference" in (whole / "compare.txt").read_text()


def test_a_finished_grid_runs_nothing_again(recipe: Path, whole: Path):
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("metrics.jsonl")}
    table = (whole / "compare.json").read_bytes()
    assert command(_grid(recipe, whole.parent)) == 0
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("metrics.jsonl")} == before
    assert (whole / "compare.json").read_bytes() == table


ASKED_TOGETHER = 8
"""Questions that the optimizer of the recipe has in flight at a time."""


def test_a_killed_grid_goes_on_and_changes_no_bit(recipe: Path, whole: Path, tmp_path: Path):
    kills = 0
    for _ in range(3):
        child = started(_grid(recipe, tmp_path))
        before, wanted = _lines(tmp_path), 5
        while wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
            now = _lines(tmp_path)
            wanted, before = wanted - (now != before), now
            time.sleep(0.005)
        assert wanted == 0
        os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert kills == 3
    assert command(_grid(recipe, tmp_path)) == 0
    files = sorted(file.relative_to(whole) for file in whole.rglob("metrics.jsonl"))
    assert len(files) == 16
    for file in files:
        assert (tmp_path / "grid" / file).read_bytes() == (whole / file).read_bytes(), file
    one, two = (
        json.loads((root / "compare.json").read_text()) for root in (whole, tmp_path / "grid")
    )
    # Questions in flight at a kill may have been answered and paid for: they are counted again.
    for before, after in zip(one["runs"], two["runs"], strict=True):
        for name in ("calls", "tokens"):
            assert before["cost"][name] <= after["cost"][name]
        assert after["cost"]["calls"] <= before["cost"]["calls"] + 3 * ASKED_TOGETHER
    assert _without_costs(one) == _without_costs(two)


def _lines(root: Path) -> int:
    return sum(lines(file) for file in root.rglob("metrics.jsonl"))


def _without_costs(value):
    if isinstance(value, dict):
        costs = ("seconds", "cpu", "calls", "tokens")
        return {k: _without_costs(v) for k, v in value.items() if k not in costs}
    return [_without_costs(item) for item in value] if isinstance(value, list) else value


def test_what_is_left_of_a_directory_that_never_was_a_run_is_taken_over(recipe, tmp_path):
    config = shrunk(load(GridConfig, ["--config", str(recipe), "--debug", "--root", str(tmp_path)]))
    cell = next(c for c in only(config, "optimizer").cells(str(folder_of(config))))
    path = place(folder_of(config), cell)
    (path / "checkpoints").mkdir(parents=True)
    play(cell, path)
    assert (path / "finished").exists()
    left = list(unfinished(config, folder_of(config)))
    assert len(left) == 15
    assert cell.name not in {c.name for c in left if (c.role, c.env) == (cell.role, cell.env)}


def test_a_run_of_other_settings_is_refused(recipe: Path, whole: Path):
    args = ["--config", str(recipe), "--debug", "--root", str(whole.parent)]
    other = load(GridConfig, [*args, "--optimizer.base.policy.bias", "false"])
    with pytest.raises(RunError, match=r"made with policy.bias = True, not False"):
        list(unfinished(shrunk(other), folder_of(other)))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "no role has any"),
        (["--teacher.envs", '["SimpleDoorKey"]', "--seeds", "[1, 1]"], "none twice"),
        (["--teacher.envs", '["SimpleDoorKey"]', "--teacher.seeds", "[-1]"], "below 0"),
        (["--policy.envs", '["gsm8k"]', "--policy.lms", "[]"], "policy.lms"),
        (["--world_model.envs", '["CartPole-v1"]', "--world_model.cores", '["llama@0"]'], "window"),
        (["--world_model.envs", '["CartPole-v1"]', "--world_model.cores", '["gru@4"]'], "GRUs"),
        (["--world_model.envs", '["x"]', "--world_model.base.body.window", "4"], "CORE@N"),
    ],
)
def test_grids_that_mean_nothing_are_refused(args, words):
    with pytest.raises(ConfigError, match=words):
        load(GridConfig, args)


def test_a_typo_in_a_model_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--teacher.envs", '["SimpleDoorKey"]', "--teacher.lms", '["pockett"]']
    assert command(["compare", *words, "--root", str(tmp_path)]) == 2
    assert "pockett" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_grid_reads_back_and_small_is_small():
    given = ["--teacher.envs", '["SimpleDoorKey"]', "--debug"]
    config = load(GridConfig, given)
    small = shrunk(config)
    assert small.seeds == (0, 1)
    assert small.teacher.base.steps == 512
    assert shrunk(small) == small
    assert "small = true" in dump(small)


def test_names_of_different_contenders_are_different():
    assert slug("hybrid+lm (pocket)") == "hybrid-lm-pocket"
    names = {slug(text) for text in ("lm (hf:a/b)", "lm (hf:a-b)", "lm (hf-a-b)", "lm (hf:a:b)")}
    assert len(names) == 4


def test_no_runs_make_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command(["compare", "table", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
