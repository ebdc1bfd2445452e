"""Runs of `understudy optimizer train` with a language model that are killed; run as a script."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401  imported once, before the forks

import understudy.roles.optimizer.commands  # noqa: F401
from tests.roles.processes import killed, whole

CASES = {
    "described": ("--env", "CartPole-v1", "--env_options", '{"max_episode_steps": 40}'),
    "reflective": ("--env", "understudy/Nim-v0", "--ask.mode", "reflective", "--ask.calls", "2",
                   "--ask.proposals", "4", "--ask.history_tokens", "400"),
    "hybrid": ("--env", "CartPole-v1", "--env_options", '{"max_episode_steps": 40}', "--proposer",
               "hybrid", "--first", "lm", "--first_trials", "64", "--ask.mode", "numeric"),
}  # fmt: skip
MADE = "result.json"


def arguments(folder: Path, url: str, case: str, name: str) -> list[str]:
    """The command line of one run; each run is a model of its own to the server."""
    return [
        "optimizer", "train", "--proposer", "lm", "--lm", f"{url}#{name}", "--budget.episodes", "250",
        "--held_out", "10", "--run.checkpoint_every", "3", "--run.root", str(folder), "--run.name", name,
        "--run.progress", "false", *CASES[case],
    ]  # fmt: skip


def path(folder: Path, case: str, name: str) -> Path:
    """Where a run of `arguments` is."""
    return folder / "optimizer" / CASES[case][1].replace("/", "-") / name


def kill_runs(folder: Path, url: str, kills: int, seed: int) -> None:
    """Every case once whole, then killed up to three times until there were `kills` in all."""
    rng = random.Random(seed)
    for case in CASES:
        whole(arguments(folder, url, case, f"{case}-whole"))
    total = attempt = 0
    while total < kills:
        for case in CASES:
            name = f"{case}-killed-{attempt}"
            args = arguments(folder, url, case, name)
            total += killed(path(folder, case, name), args, rng, 3, MADE)
        attempt += 1
    print(total, attempt)


if __name__ == "__main__":
    kill_runs(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
