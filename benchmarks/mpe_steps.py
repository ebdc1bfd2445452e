"""Environment steps per CPU second of MpeVector against mpe2's parallel API, on one thread.

Random actions, 25-step episodes; a step of either is one step of every agent of one world. The ratio
is of medians over repeats that alternate; seconds are CPU seconds.

    python benchmarks/mpe_steps.py [--repeats 5] [--worlds 128]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mpe2 import simple_speaker_listener_v4, simple_spread_v3, simple_tag_v3

from understudy.envs.mpe.vector import MpeVector

PEERS: dict[str, Any] = {
    "simple_spread": simple_spread_v3,
    "simple_tag": simple_tag_v3,
    "simple_speaker_listener": simple_speaker_listener_v4,
}
OURS, THEIRS = 1000, 1000
"""Calls of `step` in a repeat."""


def batched(task: str, worlds: int) -> Callable[[], int]:
    vector = MpeVector(task, worlds)
    vector.reset(0)
    rng = np.random.default_rng(0)
    actions = [
        {a: rng.integers(n, size=worlds) for a, n in vector.action_sizes.items()}
        for _ in range(OURS)
    ]

    def run() -> int:
        for chosen in actions:
            vector.step(chosen)
        return OURS * worlds

    return run


def peer(task: str) -> Callable[[], int]:
    env = PEERS[task].parallel_env()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    sizes = {a: int(env.action_space(a).n) for a in env.possible_agents}
    actions = [{a: int(rng.integers(n)) for a, n in sizes.items()} for _ in range(THEIRS)]

    def run() -> int:
        for chosen in actions:
            env.step(chosen)
            if not env.agents:
                env.reset()
        return THEIRS

    return run


def measure(task: str, worlds: int, repeats: int) -> dict[str, Any]:
    sides = {"understudy": batched(task, worlds), "mpe2": peer(task)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            start = time.process_time()
            steps = run()
            rates[name].append(steps / (time.process_time() - start))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    return {
        "steps_per_second": {name: round(value) for name, value in medians.items()},
        "best": {name: round(max(values)) for name, values in rates.items()},
        "ratio": round(medians["understudy"] / medians["mpe2"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worlds", type=int, default=128)
    arguments = parser.parse_args()
    result = {
        "tasks": {task: measure(task, arguments.worlds, arguments.repeats) for task in PEERS},
        "worlds": arguments.worlds,
        "repeats": arguments.repeats,
        "numpy": np.__version__,
        "mpe2": version("mpe2"),
    }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "mpe_steps.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
