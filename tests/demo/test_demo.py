"""The demo goes on where it was, and says what came out."""

import json
import os
import signal
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.roles.processes import lines, started
from understudy.cli import main
from understudy.compare.config import GridConfig
from understudy.demo.board import Board, sparkline
from understudy.demo.config import DemoConfig
from understudy.demo.parts import Part
from understudy.run.config import load

RECIPE = """
seeds = [0]

[teacher]
envs = ["SimpleDoorKey"]
methods = ["ppo+teacher", "ppo"]

[optimizer]
envs = ["CartPole-v1"]
methods = ["hybrid+lm", "random"]
seeds = [0, 1]
"""


def _demo(tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    recipe = ["--recipe", str(tmp_path / "recipe.toml")]
    return ["demo", *more, "--debug", *recipe, "--root", str(tmp_path), "--jobs", "1"]


def test_a_killed_and_an_interrupted_demo_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    args = _demo(tmp_path)
    root = tmp_path / "demo"
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        before, demo = _lines(root), started(args)
        while _lines(root) <= before and os.waitpid(demo, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        os.kill(demo, number)
        assert os.waitstatus_to_exitcode(os.waitpid(demo, 0)[1]) == code
        if number == signal.SIGINT:
            assert "the same command goes on" in capfd.readouterr().err
        assert not (root / "demo.json").exists()
    assert main(args) == 0
    said = capfd.readouterr()
    assert "optimizer  done  100%" in said.err
    for role in ("teacher", "optimizer"):
        assert f"{role}: the model" in said.out
    assert "NO DIFFERENCE" in said.out
    found = json.loads((root / "demo.json").read_text())["parts"]
    assert found["teacher"]["contender"] == "ppo+teacher (pocket)"
    assert list(found["optimizer"]["baselines"]) == ["random"]
    assert found["optimizer"]["cost"]["calls"] > 0
    page = (root / "report.html").read_text()
    assert "ppo-s0" in page
    assert page.index("What came out") < page.index("The runs of this page")
    # Once more: nothing is run again, not even a process begun.
    logs = {file: file.stat().st_mtime_ns for file in root.rglob("*.txt")}
    assert main([*args, "--progress", "false"]) == 0
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*.txt")} == logs
    assert capfd.readouterr().out == said.out


def _lines(root: Path) -> int:
    return sum(lines(file) for file in root.rglob("metrics.jsonl"))


def test_a_part_that_fails_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    args = _demo(tmp_path, "teacher")
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("SimpleDoorKey", "SimpleDorKey"))
    assert main([*args, "--progress", "false"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("understudy: teacher: ")
    assert "SimpleDorKey" in err
    assert err.count("\n") == 1


def test_the_bundled_recipe_has_a_baseline_for_every_role(tmp_path: Path):
    from understudy.demo.commands import _grid

    grid = _grid(DemoConfig(root=str(tmp_path)), tmp_path)
    parts = dict(grid.parts())
    assert list(parts) == ["policy", "teacher", "optimizer", "world_model", "simulator"]
    for role in ("teacher", "optimizer", "world_model"):
        assert len(parts[role].contenders) >= 2
    for role in ("policy", "teacher", "optimizer", "simulator"):
        assert parts[role].asks(parts[role].contenders[0])
        assert parts[role].lms == ("pocket",)


def test_a_sparkline_goes_from_the_least_to_the_greatest():
    assert sparkline([(0, 0.0), (1, 0.5), (2, 1.0)]) == "▁▅█"
    assert sparkline([(0, 2.0), (1, 2.0)]) == "▁▁"
    assert sparkline([]) == ""
    long = sparkline([(i, float(i)) for i in range(1000)], width=8)
    assert long == "▁▂▃▄▅▆▇█"


def test_the_board_shows_every_part_on_a_terminal(tmp_path: Path):
    grid = load(GridConfig, ["--optimizer.envs", '["CartPole-v1"]', "--root", str(tmp_path)])
    part = Part("optimizer", grid)
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    with Board([part], enabled=True, console=console) as board:
        board.update()
    text = out.getvalue()
    assert "optimizer" in text
    assert "waiting" in text
    assert "0%" in text
