"""Runs of `understudy policy train` and `pretrain` that are killed; run as a script.

Torch is imported once and every run is a forked child: what is killed is a whole process, and no
kill is spent on the imports.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.roles import little
from understudy.cli import main

CASES = {
    "grpo": ("--algorithm", "grpo", "--epochs", "2", "--loss.kl", "k3", "--loss.reference_every", "3",
             "--reward.unreadable", "-0.5"),
    "rloo": ("--lora_rank", "2", "--minibatches", "2", "--task.mode", "stepwise"),
    "reinforce": ("--task.mode", "stepwise", "--warm_start", "2", "--loss.reference_every", "3",
                  "--accumulate", "2", "--reward.dimensions.right", "{problem} {step}?"),
}  # fmt: skip


def arguments(folder: Path, case: str, name: str, iterations: int = 12) -> list[str]:
    """The command line of one run; `folder` has the problems and the model."""
    judge = ["--reward.judge", f"hf:{folder / 'model'}"] if case == "reinforce" else []
    return [
        "policy", "train", "--env", "gsm8k", "--task.path", str(folder / "train.jsonl"),
        "--task.eval_path", str(folder / "test.jsonl"), "--lm", f"hf:{folder / 'model'}",
        "--iterations", str(iterations), "--prompts", "4", "--group", "4", "--max_tokens", "16",
        "--eval_every", "4", "--eval_problems", "4", "--passk", "2", "--learning_rate", "0.003",
        "--run.checkpoint_every", "2", "--run.root", str(folder / "runs"), "--run.name", name,
        "--run.progress", "false", *CASES[case], *judge,
    ]  # fmt: skip


def prepare(folder: Path) -> None:
    """Writes the problems and the model."""
    little.problems(folder)
    little.model(steps=35).save(folder / "model")


def path(folder: Path, name: str) -> Path:
    """Where a run of `arguments` is."""
    return folder / "runs" / "policy" / "gsm8k" / name


def command(args: list[str]) -> int:
    """The exit code of a command, its output left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        return main(args)


def started(args: list[str]) -> int:
    """The process that runs a command."""
    child = os.fork()
    if child == 0:
        os._exit(command(args))
    return child


def whole(args: list[str]) -> None:
    """Runs a command in a child of its own, without a kill."""
    assert os.waitstatus_to_exitcode(os.waitpid(started(args), 0)[1]) == 0


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed(
    run: Path,
    first: list[str],
    rng: random.Random,
    kills: int,
    made: str = "model/model.safetensors",
) -> int:
    """Starts a run and resumes it until it has `made` that, killing it up to `kills` times."""
    count = 0
    while True:
        before = lines(run / "metrics.jsonl")
        child = started(["resume", str(run)] if (run / "run.json").exists() else first)
        if count == kills:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            return count
        # Restoring cuts the log back, so what is waited for is another length of it.
        wanted = rng.randrange(1, 4)
        while wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
            now = lines(run / "metrics.jsonl")
            wanted, before = wanted - (now != before), now
            time.sleep(0.002)
        if not wanted:
            time.sleep(rng.uniform(0.0, 0.12))
            os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status == -signal.SIGKILL:
                count += 1
                continue
            assert status == 0, status
        if not (run / made).exists():
            raise AssertionError(f"{run} ended without {made}")
        return count


def kill_runs(folder: Path, kills: int, seed: int) -> None:
    """Every case once whole, then killed until there were `kills` kills in all."""
    rng = random.Random(seed)
    for case in CASES:
        whole(arguments(folder, case, f"{case}-whole"))
    total = attempt = 0
    while total < kills:
        for case in CASES:
            name = f"{case}-killed-{attempt}"
            total += killed(path(folder, name), arguments(folder, case, name), rng, kills)
        attempt += 1
    print(total, attempt)


if __name__ == "__main__":
    kill_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
