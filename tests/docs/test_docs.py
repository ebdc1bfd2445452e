"""What README, docs and examples say is run, so that it stays true."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from understudy.cli import COMMANDS, main
from understudy.compare.config import GridConfig
from understudy.envs.control.vector import Arena
from understudy.envs.grid import layouts
from understudy.envs.search.policies import Scale
from understudy.roles.optimizer import config as optimizer
from understudy.roles.optimizer.build import build_policy
from understudy.roles.policy.config import CompareConfig, PolicyConfig, PretrainConfig
from understudy.roles.teacher import config as teacher
from understudy.roles.world_model import config as world_model
from understudy.run.config import load
from understudy.run.fields import leaves

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = {
    "grid": GridConfig,
    "evidence": GridConfig,
    "propose": PolicyConfig,
    "compare": CompareConfig,
    "pocket": PretrainConfig,
    "teacher": teacher.CompareConfig,
    "spread": teacher.CompareConfig,
    "world_model": world_model.CompareConfig,
    "memory": world_model.WorldModelConfig,
}


def commands() -> list[str]:
    """The `understudy …` lines of ```sh blocks; ```text blocks are for reading."""
    blocks = [
        b for page in PAGES for b in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    return [
        line for block in blocks for line in block.splitlines() if line.startswith("understudy ")
    ]


def test_there_are_commands_to_run():
    assert len(commands()) >= 2


@pytest.mark.parametrize("line", commands())
def test_documented_commands_run(line: str, tmp_path: Path):
    words = shlex.split(line.split("#")[0])[1:]
    name = next(name for n in (2, 1) if (name := " ".join(words[:n])) in COMMANDS)
    known = leaves(COMMANDS[name].config())
    run = next(place for place in ("run.", "base.run.", "") if f"{place}root" in known)
    quiet = [f"--{run}root", str(tmp_path), f"--{run}progress", "false"]
    assert main([*words, "--debug", *quiet]) == 0


def blocks() -> list[str]:
    """The programs that stand in the page about own parts."""
    text = (ROOT / "docs/extending.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks())))
def test_programs_in_the_page_about_own_parts_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(blocks()[number])
    with patch.dict(layouts.RULES):  # a task that a program adds is gone afterwards
        runpy.run_path(str(tmp_path / "program.py"))


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCar-v0"])
def test_the_snippet_replays_a_found_policy(
    env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    page = (ROOT / "docs/roles/optimizer.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    words = ["optimizer", "train", "--env", env, "--debug", "--run.name", "one"]
    assert main([*words, "--run.root", str(tmp_path), "--run.progress", "false"]) == 0
    run = tmp_path / "optimizer" / env / "one"
    monkeypatch.chdir(run)
    Path("snippet.py").write_text(snippet)
    capsys.readouterr()
    runpy.run_path("snippet.py")
    replayed = float(capsys.readouterr().out)
    saved = json.loads(Path("best_policy.json").read_text())
    shape = optimizer.PolicyShape(**saved["shape"])
    scale = Scale(np.array(saved["policy"]["mean"]), np.array(saved["policy"]["std"]))
    with Arena(env) as arena:
        policy = build_policy(shape, arena, scale)
        played = arena.play(policy.bind(np.array([saved["point"]])), [0])
    assert replayed == pytest.approx(played.returns[0, 0], rel=1e-4)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_load(path: Path):
    load(RECIPES[path.stem], ["--config", str(path)])


@pytest.mark.parametrize("name", ["own_algorithm", "own_environment"])
def test_training_examples_run(name: str, tmp_path: Path):
    script = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--debug"]
    small = ["--iterations", "2", "--eval_problems", "8", "--run.root", str(tmp_path)]
    if name == "own_environment":
        small += ["--warm_start", "2"]
    done = subprocess.run([*script, *small], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "held out" in done.stdout


def test_the_teacher_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    example = runpy.run_path(str(ROOT / "examples" / "teach_a_student.py"))
    small = ["--debug", "--steps", "512", "--run.progress", "false"]
    example["main"]([*small, "--run.root", str(tmp_path)])
    assert re.search(r"^ +512 +[01]\.", capsys.readouterr().out, re.MULTILINE)


def test_the_structured_example_runs(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(ROOT / "examples" / "ask_structured.py"))["main"]("pocket")
    day, scores = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"mood=[1-7] weather='(sun|rain)' hours_outside=\[.+\]", day)
    assert scores.startswith("[-")


PAGE_OF_ROLE = {
    "policy": (PolicyConfig, CompareConfig),
    "teacher": (teacher.TeacherConfig, teacher.EvalConfig, teacher.CompareConfig),
    "optimizer": (optimizer.OptimizerConfig, optimizer.EvalConfig, optimizer.CompareConfig),
    "world_model": (
        world_model.WorldModelConfig,
        world_model.EvalConfig,
        world_model.CompareConfig,
    ),
}


@pytest.mark.parametrize("role", list(PAGE_OF_ROLE))
def test_options_in_a_role_page_exist(role: str):
    known = {path for cls in PAGE_OF_ROLE[role] for path in leaves(cls)}
    text = (ROOT / f"docs/roles/{role}.md").read_text()
    table = text[text.index("## From the original") :]
    named = {o for o in re.findall(r"`--([a-z_.]+)", table) if o != "debug"}
    assert named
    assert named <= known | {"lm"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_setting_is_documented(name: str):
    for leaf in leaves(COMMANDS[name].config()).values():
        assert leaf.doc, leaf.path
