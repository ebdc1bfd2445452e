"""Every file of examples/ is run as it stands, small; what it prints at the end is looked at."""

import re
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.docs.pages import ROOT
from understudy.envs import registry

EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
SMALL = {
    "ask_structured": "",
    "own_algorithm": "--debug --iterations 2 --eval_problems 4",
    "own_environment": "--debug --iterations 2 --eval_problems 4 --warm_start 2",
    "teach_a_student": "--debug --steps 512",
}
"""Arguments; by default `--debug`."""
SAYS = {
    "ask_structured": r"^mood=[1-7] weather='(sun|rain)' hours_outside=\[.+\]\n\[-",
    "own_algorithm": r"held out",
    "own_environment": r"held out",
    "own_lm": r"^right 0\.\d+ unreadable 0\.0$",
    "own_cohort": r"^\{?.*0\.\d+",
    "teach_a_student": r"^ +512 +[01]\.",
    "roles/optimizer": r"^\d+\.\d+ \d+\.\d+$",
    "roles/policy": r"^2 [01]\.\d+$",
    "roles/simulator": r"^\{'.*\[\d",
    "roles/teacher": r"^[01]\.\d+$",
    "roles/world_model": r"understudy/\S+|runs/\S+|dream",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples").with_suffix(""))


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    words = SMALL.get(path.stem, "--debug").split()
    monkeypatch.setattr(sys, "argv", [path.name, *words])
    with patch.dict(registry._TASKS):  # a task that a program adds is gone afterwards
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    said = capsys.readouterr().out
    assert re.search(SAYS[name_of(path)], said, re.MULTILINE), said
