"""Steps per CPU-second of batched door-key rooms against the same rooms in MiniGrid's own classes.

python benchmarks/doorkey_steps.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.doorkey_single import DoorKeyRoom
from understudy.envs.grid.layouts import RULES

REPEATS, BATCH = 3, 512


def ours(task: str, steps: int = 200) -> float:
    env = DoorKeyVector(task, BATCH)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 7, (steps, BATCH))
    begun = time.process_time()
    for row in actions:
        env.step(row)
    return steps * BATCH / (time.process_time() - begun)


def theirs(task: str, steps: int = 3000) -> float:
    env = DoorKeyRoom(task)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 7, steps)
    begun = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return steps / (time.process_time() - begun)


def main() -> None:
    found = {}
    for task in RULES:
        pairs = [(ours(task), theirs(task)) for _ in range(REPEATS)]
        batch, single = (float(np.median(column)) for column in zip(*pairs, strict=True))
        found[task] = {"batch": batch, "minigrid": single, "ratio": batch / single}
        print(f"{task:<16} {batch:>12,.0f} {single:>9,.0f} {batch / single:>6.0f} ×")
    out = Path(__file__).parent / "results" / "doorkey_steps.json"
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
