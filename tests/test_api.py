"""The names that stay, and a command in one call."""

import subprocess
import sys
from pathlib import Path

import pytest

import understudy
from understudy.api import flags
from understudy.run.errors import ConfigError

ROLES = sorted((Path(__file__).parents[1] / "examples/roles").glob("*.py"))


def test_the_surface_is_what_it_was():
    assert sorted(understudy.__all__) == [
        "Episode", "Message", "TextEnv", "UnderstudyError", "check_env", "check_lm", "check_role",
        "check_task", "launch", "make_task", "open_lm", "read_metrics", "register", "resume",
    ]  # fmt: skip
    for name in understudy.__all__:
        assert getattr(understudy, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        getattr(understudy, "lunch")  # noqa: B009


def test_importing_costs_nothing():
    program = (
        "import sys, understudy; sys.exit(len({'torch', 'numpy', 'jsonargparse'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_settings_are_flags():
    given = {
        "env": "a b",
        "steps": 3,
        "distill": {"steps": 2, "on": True},
        "only": ["x"],
        "to": None,
    }
    assert list(flags(given | {"debug": True})) == [
        "--env=a b", "--steps=3", "--distill.steps=2", "--distill.on=true", '--only=["x"]',
        "--to=null", "--debug",
    ]  # fmt: skip
    assert list(flags({"debug": False})) == []


def test_a_run_is_launched_read_and_resumed(tmp_path: Path):
    where = {"root": str(tmp_path), "progress": False}
    run = understudy.launch("optimizer train", env="CartPole-v1", debug=True, run=where)
    rows = understudy.read_metrics(run)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert understudy.resume(run) == run
    assert understudy.read_metrics(run) == rows
    with pytest.raises(ConfigError, match="--env"):
        understudy.launch("optimizer train", environment="CartPole-v1")


@pytest.mark.parametrize("path", ROLES, ids=lambda path: path.stem)
def test_each_role_in_ten_lines(path: Path):
    lines = path.read_text().splitlines()
    assert sum(bool(line.strip()) and not line.startswith('"""') for line in lines) <= 10
