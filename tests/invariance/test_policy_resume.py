"""A policy run that is stopped by a signal and resumed is the run that was not, to the last bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.roles.processes import CASES, arguments, lines, path, prepare
from tests.roles.same import assert_same
from understudy.cli import main
from understudy.run.checkpoint import load
from understudy.run.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resume")
    prepare(made)
    return made


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, case, f"{case}-whole")) == 0
    logged = Run.log
    stops = [7, 3, 0]

    def stop(run: Run, step: int, *args: Any, **named: Any) -> None:
        logged(run, step, *args, **named)
        if stops and step == stops[-1]:
            stops.pop()
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "log", stop)
    run = path(folder, f"{case}-stopped")
    args = arguments(folder, case, f"{case}-stopped")
    for step in (0, 3, 7):
        capsys.readouterr()
        assert main(args) == 143
        assert "stopped by SIGTERM; to go on: understudy resume" in capsys.readouterr().err
        found = load(run / "checkpoints")
        assert found is not None
        assert found.step == step
        assert not (run / "model").exists()
        args = ["resume", str(run), "--run.progress", "false"]
    assert main(args) == 0
    assert_same(path(folder, f"{case}-whole"), run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exit_code_of_a_process_tells_the_signal(number: signal.Signals, folder: Path) -> None:
    name = f"signal-{number}"
    run = path(folder, name)
    process = subprocess.Popen(
        [sys.executable, "-m", "understudy.cli", *arguments(folder, "grpo", name, 10_000)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and lines(run / "metrics.jsonl") < 3:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number, said
    assert said.splitlines()[-1].startswith(f"understudy: stopped by {number.name}; to go on")
    found = load(run / "checkpoints")
    assert found is not None
    assert found.step == lines(run / "metrics.jsonl") - 1
