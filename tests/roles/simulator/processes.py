"""Runs of `understudy simulator generate` and `run` that are killed; run as a script.

A whole run tells how long it takes; the others are killed at instants drawn from all of that time,
so that a kill may meet any stage: pilots, the cohort, reports, learning, judging.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401  imported once, before the forks

import understudy.roles.simulator.commands  # noqa: F401
from tests.roles.processes import started, whole
from understudy.lm.fake import tiny_model

SMALL = ("--people", "3", "--source.people", "12")
CASES = {
    "words": ("generate", "--ask.style", "words", "--source.canaries", "2", *SMALL),
    "matched": ("generate", "--ask.style", "short", "--ask.pilot_people", "3",
                "--ask.pilot_rounds", "2", *SMALL),
    "study": ("run", "--make.ask.style", "words", "--make.people", "4", "--make.source.people", "16",
              "--make.source.canaries", "2",
              "--resamples", "5", "--learn.steps", "60", "--learn.target_rate", "0.1",
              "--judge.resamples", "100", "--judge.min_people", "4", "--true_people", "20"),
}  # fmt: skip


def arguments(folder: Path, url: str, case: str, name: str) -> list[str]:
    """The command line of one run; to the server, each run is a model of its own."""
    verb, *others = CASES[case]
    make = "--make." if verb == "run" else "--"
    lm = f"hf:{folder / 'model'}" if case == "matched" else f"{url}#{name}"
    return [
        "simulator", verb, f"{make}study", str(folder / "days-4.toml"), f"{make}lm", lm, *others,
        "--run.root", str(folder), "--run.name", name, "--run.progress", "false",
    ]  # fmt: skip


def path(folder: Path, name: str) -> Path:
    """Where a run of `arguments` is."""
    return folder / "simulator" / "low-mood" / name


def killed(run: Path, first: list[str], took: float, rng: random.Random, kills: int) -> int:
    """Starts a run and resumes it until it is done, killing it up to `kills` times."""
    count = 0
    while True:
        child = started(["resume", str(run)] if (run / "run.json").exists() else first)
        if count < kills:
            time.sleep(rng.uniform(0.0, took))
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            assert status == 0, status
            return count
        count += 1


def kill_runs(folder: Path, url: str, kills: int, seed: int) -> None:
    """Every case once whole, then killed up to three times until there were `kills` in all."""
    rng = random.Random(seed)
    tiny_model(context=4096).save(folder / "model")
    took: dict[str, float] = {}
    for case in CASES:
        began = time.monotonic()
        whole(arguments(folder, url, case, f"{case}-whole"))
        took[case] = time.monotonic() - began
    total = attempt = 0
    while total < kills:
        for case in CASES:
            name = f"{case}-killed-{attempt}"
            args = arguments(folder, url, case, name)
            total += killed(path(folder, name), args, took[case], rng, 3)
        attempt += 1
    print(total, attempt)


if __name__ == "__main__":
    kill_runs(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
