"""The Slurm job is a shell script without a mistake in its grammar, for the nodes that were asked for."""

import subprocess

import pytest

from understudy.cli import main
from understudy.run.config import ConfigError, load
from understudy.sweep.config import SlurmConfig


def test_a_job_is_sound_shell(capsys: pytest.CaptureFixture[str]):
    words = [
        "my sweep; rm.toml",
        "--nodes",
        "3",
        "--cpus",
        "5",
        "--partition",
        "long",
        "--setup",
        "module load x",
    ]
    assert main(["slurm", *words]) == 0
    text = capsys.readouterr().out
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    for wanted in (
        "#SBATCH --nodes=3",
        "#SBATCH --cpus-per-task=5",
        "#SBATCH --partition=long",
        "module load x",
    ):
        assert wanted in lines
    assert not any("--account" in line for line in lines)
    assert any("understudy sweep 'my sweep; rm.toml' --ray" in line for line in lines)
    # Options that Slurm reads stand before the first command.
    last = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last < lines.index("set -euo pipefail")


@pytest.mark.parametrize(
    ("words", "problem"),
    [([], "needs a sweep"), (["a.toml", "--account", "a\nb"], "letters, digits")],
)
def test_what_could_be_no_job_is_refused(words, problem):
    with pytest.raises(ConfigError, match=problem):
        load(SlurmConfig, words)
