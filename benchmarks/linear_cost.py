"""Time and memory of each role for N, 2N and 4N of what it is made of: is the cost linear?

    python benchmarks/linear_cost.py [ROLE …]

A ratio is the cost of 2N, or 4N, over that of N. What is linear with a fixed part F has a ratio below
2 and 4; what grows faster than linearly has one above. Seconds are of the processor, the lesser of
two; memory is what Python and torch have at most at one time beyond what was there before.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1, 2, 4)
REPEATS = 2
CASES = {
    # So hot that hardly an answer ends by itself.
    "policy tokens": ("policy train --debug --passk 0 --eval_problems 1 --iterations 2 --prompts 16 --group 4 --temperature 5", "--max_tokens", 64),
    "policy answers": ("policy train --debug --passk 0 --eval_problems 1 --iterations 2 --group 4 --temperature 5 --max_tokens 64", "--prompts", 16),
    "teacher steps": ("teacher train --debug --eval_episodes 2 --eval_every 1000000", "--steps", 2048),
    "optimizer trials": ("optimizer train --env Acrobot-v1 --proposer cma --held_out 4", "--budget.episodes", 200),
    "world_model steps": ("world_model train --debug --eval_episodes 1", "--steps", 200),
    "simulator people": ("simulator generate --ask.match false --source.people 12", "--people", 4),
}  # fmt: skip


def measure(command: list[str]) -> tuple[float, float]:
    """Processor seconds and megabytes of a command, run here; called in a process of its own."""
    import torch

    from understudy.cli import main

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["--run.root", folder, "--run.progress", "false"]
        # What is imported and compiled the first time is not the run's.
        main([*command, *quiet, "--run.name", "first"])
        gc.collect()
        before, began = _resident(), time.process_time()
        main([*command, *quiet, "--run.name", "second"])
        seconds = time.process_time() - began
    return seconds, max(0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)


def _resident() -> float:
    """Megabytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(command: list[str]) -> tuple[float, float]:
    """The least of some measurements, each in a new process."""
    found = []
    for _ in range(REPEATS):
        words = [sys.executable, __file__, "--one", *command]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found.append(tuple(float(word) for word in text.split()[-2:]))
    return min(s for s, _ in found), min(m for _, m in found)


def show(name: str) -> None:
    command, flag, size = CASES[name]
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
    if sys.argv[1:2] == ["--one"]:
        seconds, megabytes = measure(sys.argv[2:])
        print(seconds, megabytes)
    else:
        print(f"{'':<18} {'N':>6} {'N, 2N, 4N':>32}")
        for case in CASES:
            if not sys.argv[1:] or case.split()[0] in sys.argv[1:]:
                show(case)
