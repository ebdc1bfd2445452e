"""Time and memory of each role for N, 2N and 4N of what it is made of: is the cost linear?

    python benchmarks/linear_cost.py [ROLE …]

A ratio is the cost of 2N, or 4N, over that of N. What is linear with a fixed part F has a ratio below
2 and 4; what grows faster than linearly has one above. Seconds are of the processor; memory is what a
run has at most at one time beyond what was there before.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from understudy.cli import main

SIZES = (1, 2, 4)
REPEATS = 1
CASES = {
    # So hot that hardly an answer ends by itself.
    "policy tokens": ("policy train --debug --passk 0 --eval_problems 1 --iterations 1 --prompts 16 --group 4 --temperature 5", "--max_tokens", 64),
    "policy answers": ("policy train --debug --passk 0 --eval_problems 1 --iterations 1 --group 4 --temperature 5 --max_tokens 64", "--prompts", 16),
    "teacher steps": ("teacher train --debug --eval_episodes 2 --eval_every 1000000", "--steps", 1024),
    "optimizer trials": ("optimizer train --env Acrobot-v1 --proposer cma --held_out 4", "--budget.episodes", 100),
    "world_model steps": ("world_model train --debug --eval_episodes 1", "--steps", 200),
    "simulator people": ("simulator generate --ask.match false --source.people 12", "--people", 1),
}  # fmt: skip


def measure(command: list[str]) -> tuple[float, float]:
    """Processor seconds and megabytes of a command, in a child that has all modules already."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        before, began = _resident(), time.process_time()
        run(command)
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(theirs, json.dumps([seconds, max(0.0, peak - before)]).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        found = json.load(file)
    os.waitpid(child, 0)
    return found[0], found[1]


def run(command: list[str]) -> None:
    """The command, in a directory that is then removed, and without a word."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        assert main([*command, "--run.root", folder, "--run.progress", "false"]) == 0


def _resident() -> float:
    """Megabytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(command: list[str]) -> tuple[float, float]:
    """The least of some measurements."""
    found = [measure(command) for _ in range(REPEATS)]
    return min(s for s, _ in found), min(m for _, m in found)


def show(name: str) -> None:
    command, flag, size = CASES[name]
    run([*command.split(), flag, str(size)])  # what is imported the first time is not a run's
    found = [measured([*command.split(), flag, str(size * n)]) for n in SIZES]
    seconds, memory = zip(*found, strict=True)
    print(
        f"{name:<18} {size:>6} "
        + " ".join(f"{s:8.2f} s" for s in seconds)
        + "   "
        + " ".join(f"×{s / seconds[0]:.2f}" for s in seconds[1:])
        + "   "
        + " ".join(f"{m:7.1f} MB" for m in memory)
        + "   "
        + " ".join(f"×{m / max(memory[0], 0.1):.2f}" for m in memory[1:]),
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{'':<18} {'N':>6}  at N, 2N, 4N: seconds, their ratios, memory, its ratios")
    for case in CASES:
        if not sys.argv[1:] or case.split()[0] in sys.argv[1:]:
            show(case)
