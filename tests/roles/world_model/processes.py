"""Runs of `understudy world_model train` that are killed; run as a script."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401  imported once, before the forks

import understudy.roles.world_model.commands  # noqa: F401
from tests.roles.processes import killed, whole

CASES = {
    "gru": ("--env", "CartPole-v1", "--envs", "2"),
    "2023": ("--env", "Pendulum-v1", "--version", "2023", "--core", "block_gru"),
    "words": ("--env", "understudy/TMaze-v0", "--env_options.cue", "sentence", "--core", "llama",
              "--body.window", "4", "--body.layers", "1", "--replay.capacity", "64"),
}  # fmt: skip
STEPS = 160


def arguments(folder: Path, case: str, name: str) -> list[str]:
    """The command line of one run."""
    return [
        "world_model", "train", "--debug", "--steps", str(STEPS), "--log_every", "16",
        "--run.checkpoint_every", "2", "--run.root", str(folder / "runs"), "--run.name", name,
        "--run.progress", "false", *CASES[case],
    ]  # fmt: skip


def path(folder: Path, case: str, name: str) -> Path:
    """Where a run of `arguments` is."""
    return folder / "runs" / "world_model" / CASES[case][1].replace("/", "-") / name


def last(run: Path) -> str:
    """The manifest of a whole run's last checkpoint: where its episodes ended decides the step."""
    step = max(int(found.name) for found in (run / "checkpoints").iterdir() if found.name.isdigit())
    return f"checkpoints/{step}/MANIFEST.json"


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
            made = last(path(folder, case, f"{case}-whole"))
            total += killed(path(folder, case, name), args, rng, kills, made)
        attempt += 1
    print(total, attempt)


if __name__ == "__main__":
    kill_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
