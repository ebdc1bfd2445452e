"""Runs of `understudy teacher train` that are killed; run as a script."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import minigrid  # noqa: F401  imported once, before the forks
import torch.utils.tensorboard  # noqa: F401

import understudy.roles.teacher.commands  # noqa: F401
from tests.roles.processes import killed, whole

CASES = {
    "expert": ("--env", "SimpleDoorKey", "--advice.who", "expert"),
    "adaptive": ("--env", "ColoredDoorKey", "--advice.who", "expert", "--distill.schedule", "adaptive",
                 "--student.recurrent", "true"),
    "agents": ("--env", "mpe/simple_spread", "--advice.who", "noisy", "--student.shared", "false"),
    "ppo": ("--env", "MiniGrid-DoorKey-5x5-v0", "--method", "ppo", "--anneal", "true"),
}  # fmt: skip
STEPS = 768
LAST = f"checkpoints/{STEPS}/MANIFEST.json"


def arguments(folder: Path, case: str, name: str) -> list[str]:
    """The command line of one run."""
    return [
        "teacher", "train", "--steps", str(STEPS), "--envs", "4", "--horizon", "16", "--minibatch", "32",
        "--epochs", "2", "--eval_episodes", "4", "--eval_every", "192", "--distill.steps", "500",
        "--student.width", "32", "--run.checkpoint_every", "2", "--run.root", str(folder / "runs"),
        "--run.name", name, "--run.progress", "false", *CASES[case],
    ]  # fmt: skip


def path(folder: Path, case: str, name: str) -> Path:
    """Where a run of `arguments` is."""
    return folder / "runs" / "teacher" / CASES[case][1].replace("/", "-") / name


def kill_runs(folder: Path, kills: int, seed: int) -> None:
    """Every case once whole, then killed until there were `kills` kills in all."""
    rng = random.Random(seed)
    for case in CASES:
        whole(arguments(folder, case, f"{case}-whole"))
    total = attempt = 0
    while total < kills:
        for case in CASES:
            name = f"{case}-killed-{attempt}"
            args = arguments(folder, case, name)
            total += killed(path(folder, case, name), args, rng, kills, LAST)
        attempt += 1
    print(total, attempt)


if __name__ == "__main__":
    kill_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
