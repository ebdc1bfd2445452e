"""Time and memory of each role for N, 2N and 4N of what it is made of: is the cost linear?

    python benchmarks/linear_cost.py [CASE …]

A ratio is the cost of 2N, or 4N, over that of N; what is linear with a fixed part has ratios below 2
and 4. Growth leaves the fixed part out: what 4N costs beyond 2N over what 2N costs beyond N, which is
2 where cost is linear, 4 where it is quadratic. Seconds are of the processor, the least of two runs;
memory is what a run has at most at one time beyond what was there before. Written to
benchmarks/results/linear_cost.json.
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
REPEATS = 2
RESULTS = Path(__file__).parent / "results" / "linear_cost.json"
# So hot that hardly an answer ends by itself.
POLICY = "policy train --debug --passk 0 --eval_problems 1 --iterations 4 --eval_every 4 --group 4 --temperature 5"
CASES = {
    "policy, tokens of an answer": (POLICY + " --prompts 8 --max_tokens {n}", 64),
    "policy, problems": (POLICY + " --prompts {n} --max_tokens 64", 16),
    "teacher, environments": ("teacher train --debug --eval_episodes 2 --eval_every 1000000 --envs {n} --steps {n}000", 16),
    "teacher, steps": ("teacher train --debug --eval_episodes 2 --eval_every 1000000 --steps {n}", 16_000),
    "optimizer, episodes": ("optimizer train --env Acrobot-v1 --proposer cma --held_out 4 --budget.episodes {n}", 1000),
    "world model, steps": ("world_model train --debug --eval_episodes 1 --steps {n}", 400),
    "simulator, people": ("simulator generate --ask.match false --source.people 12 --people {n}", 24),
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


def show(name: str) -> dict[str, object]:
    """Measures a case and prints it."""
    command, size = CASES[name]
    run(command.format(n=size).split())  # what is imported the first time is not a run's
    found = [measured(command.format(n=size * n).split()) for n in SIZES]
    seconds, memory = zip(*found, strict=True)
    print(f"{name:<28} {size:>6}  {row(seconds, 's')}   {row(memory, 'MB')}", flush=True)
    return {"N": size, "seconds": seconds, "megabytes": memory}


def row(costs: tuple[float, ...], unit: str) -> str:
    """Costs at N, 2N and 4N, their ratios to the first, and the growth."""
    one, two, four = costs
    growth = (four - two) / (two - one) if two > one else float("nan")
    costs_text = " ".join(f"{c:7.2f}" for c in costs)
    return f"{costs_text} {unit}  ×{two / one:.2f} ×{four / one:.2f}  growth {growth:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{'':<28} {'N':>6}  at N, 2N and 4N: seconds, ratios, growth; memory, ratios, growth")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in CASES:
        if not sys.argv[1:] or case in sys.argv[1:]:
            results[case] = show(case)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
