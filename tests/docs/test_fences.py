"""Every command, program and settings file in README and docs is run, or at least read."""

import contextlib
import json
import re
import runpy
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tests.docs.pages import NOT_RUN, PROGRAMS, ROOT, Block, blocks, parse, spans, words_of
from understudy.cli import COMMANDS, main
from understudy.envs import registry
from understudy.envs.control.vector import Arena
from understudy.envs.grid import layouts
from understudy.envs.search.policies import Scale
from understudy.roles.optimizer.build import build_policy
from understudy.roles.optimizer.config import PolicyShape
from understudy.run.config import load
from understudy.run.fields import leaves

ALL = list(blocks())
RUN = [block for block in ALL if block.info == "sh"]
READ = [block for block in ALL if block.info.startswith(NOT_RUN)]
PYTHON = [block for block in ALL if block.info == "python"]
TOML = [block for block in ALL if block.info.startswith("toml ")]
IN_RUN = [block for block in ALL if block.info.startswith("python in ")]

GIVEN = {
    "runs/policy/word-problems/NAME": "policy train",
    "runs/teacher/SimpleDoorKey/NAME": "teacher train --env SimpleDoorKey",
    "runs/optimizer/CartPole-v1/NAME": "optimizer train --env CartPole-v1",
    "runs/world_model/CartPole-v1/NAME": "world_model train --env CartPole-v1",
    "runs/simulator/low-mood/NAME": "simulator generate",
    "runs/compare/grid": """compare --optimizer.envs '["Acrobot-v1"]' --optimizer.methods '["random"]'""",
    "runs/optimizer/CartPole-v1": """optimizer compare --proposers '["random"]' --seeds [0] --base.run.name given""",
}
"""What a command may find: runs, made when one is first named."""
SHORTER = {
    "--advice.hear": ["--envs", "2", "--eval_episodes", "2", "--advice.trial", "0"],
    "--tune.trials": ["--tune.trials", "2"],
    "--people": ["--people", "3"],
    "--problems": ["--problems", "8"],
}
"""What a command that has the flag is given besides `--debug`."""


def understudy(line: str) -> None:
    """Runs a command below the working directory, at its `--debug` size, without a progress bar."""
    name, args = words_of(f"understudy {line}")
    if name == "resume":
        args += ["--run.progress", "false"]
    else:
        known = leaves(COMMANDS[name].config())
        places = [path for path in known if re.fullmatch(r"(base\.|make\.)?(run\.)?progress", path)]
        args += ["--debug", *(f"--{path}=false" for path in places)]
        args += [word for flag, more in SHORTER.items() if flag in args for word in more]
    assert main([*name.split(), *args]) == 0


class Home:
    """The working directory in which documented commands are run, and what they find there."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    def give(self, line: str) -> None:
        """Makes the runs and files that a line names and no line before it has made."""
        for place, command in GIVEN.items():
            named = place.endswith("NAME")
            if not re.search(rf"{place}(?!/?[\w-])" if not named else place, line):
                continue
            if not (Path(place) / ("run.json" if named else "compare.json")).exists():
                name = ["--run.name", "NAME"] if named else []
                understudy(" ".join([command, *name]))
        for file in re.findall(r"\b(?:data|test)\.csv\b", line):
            self.give("runs/simulator/low-mood/NAME")
            shutil.copy("runs/simulator/low-mood/NAME/reference.csv", file)
        if "answers.jsonl" in line:
            row = {"question": "1 + 1?", "answer": "2", "response": "#### 2"}
            Path("answers.jsonl").write_text(json.dumps(row) + "\n")

    def run(self, line: str) -> None:
        """Runs a line, once; one that runs a recipe is read, as tests/docs/test_recipes runs it."""
        if line in self.done:
            return
        self.give(line)
        if "recipes/" in line:
            with contextlib.chdir(ROOT):
                parse(line)
        else:
            understudy(line.removeprefix("understudy "))
        self.done.add(line)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with contextlib.chdir(tmp_path_factory.mktemp("home")), pytest.MonkeyPatch.context() as patched:
        source = Path(sys.modules["understudy"].__path__[0]).parent.resolve()
        patched.setenv("PYTHONPATH", str(source))  # for commands that start others
        yield Home()


def test_every_fence_has_a_rule():
    known = {str(b) for b in (*RUN, *READ, *PYTHON, *TOML, *IN_RUN)}
    known |= {str(b) for b in ALL if b.info == "text"}
    assert [f"{b}: ```{b.info}" for b in ALL if str(b) not in known] == []
    for block in ALL:
        if block.info == "text":
            hidden = [line for line in block.body.splitlines() if line.startswith(PROGRAMS)]
            assert hidden == [], f"{block}: a command in a block for reading"


def test_most_commands_are_run():
    run, read = (sum(len(block.commands) for block in some) for some in (RUN, READ))
    assert run >= 40
    assert read <= run / 2
    assert all(len(block.info.removeprefix(NOT_RUN)) > 4 for block in READ)


@pytest.mark.parametrize("block", RUN, ids=str)
def test_commands_run(block: Block, home: Home):
    for line in block.commands:
        assert line.startswith("understudy "), line
        home.run(line)


@pytest.mark.parametrize("block", READ, ids=str)
def test_commands_that_are_not_run_can_be(block: Block, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for line in block.commands:
        program, *rest = line.split()
        if program == "make":
            assert re.search(rf"^{rest[0]}:", Path("Makefile").read_text(), re.MULTILINE), line
        elif program == "python":
            assert Path(rest[0]).is_file(), line
        else:
            parse(line)


@pytest.mark.parametrize(("page", "command"), list(spans()))
def test_commands_in_sentences_can_be_run(page: str, command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    _, args = words_of(command)  # a command's name alone is a name
    if args:
        parse(command)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_programs_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(block.body)
    with patch.dict(layouts.RULES):  # a task that a program adds is gone afterwards
        runpy.run_path("program.py")


@pytest.mark.parametrize("block", TOML, ids=str)
def test_settings_are_read(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    what = block.info.removeprefix("toml ")
    if what == "pyproject.toml":
        (group,) = tomllib.loads(block.body)["project"]["entry-points"]
        asked: list[str] = []
        monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or [])
        registry.names()
        assert asked == [group]
        return
    path = tmp_path / "settings.toml"
    path.write_text(block.body)
    load(COMMANDS[what].config(), ["--config", str(path)])


def test_programs_in_a_run_are_one():
    assert [block.page for block in IN_RUN] == ["docs/roles/optimizer.md"]


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCar-v0"])
def test_the_snippet_replays_a_found_policy(
    env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ["optimizer", "train", "--env", env, "--debug", "--run.name", "one"]
    assert main([*words, "--run.root", str(tmp_path), "--run.progress", "false"]) == 0
    monkeypatch.chdir(tmp_path / "optimizer" / env / "one")
    Path("snippet.py").write_text(IN_RUN[0].body)
    capsys.readouterr()
    runpy.run_path("snippet.py")
    replayed = float(capsys.readouterr().out)
    saved = json.loads(Path("best_policy.json").read_text())
    scale = Scale(np.array(saved["policy"]["mean"]), np.array(saved["policy"]["std"]))
    with Arena(env) as arena:
        policy = build_policy(PolicyShape(**saved["shape"]), arena, scale)
        played = arena.play(policy.bind(np.array([saved["point"]])), [0])
    assert replayed == pytest.approx(played.returns[0, 0], rel=1e-4)
