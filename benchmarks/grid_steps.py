"""Steps per CPU second of 8 MiniGrid games as a batch, against 8 plain gymnasium environments.

Both sides play the same unmodified games from the same seeds with the same random actions, and their
rewards must add up to the same. Plain is `gymnasium.make` and a loop: no vector wrapper, no
observation stacked. The batch returns the remembered map of every game. The second line has
episodes of 12 steps, as a trained agent's are, where making levels weighs more. Repeats alternate;
the ratio is of medians; seconds are CPU seconds.

    python benchmarks/grid_steps.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import minigrid
import numpy as np

from understudy.envs.grid.minigrid import MinigridVector

GAMES, STEPS = 8, 500
LEVELS: list[tuple[str, dict[str, Any]]] = [
    ("MiniGrid-DoorKey-5x5-v0", {}),
    ("MiniGrid-DoorKey-5x5-v0", {"max_steps": 12}),
    ("MiniGrid-DoorKey-16x16-v0", {}),
    ("MiniGrid-KeyCorridorS3R3-v0", {}),
    ("MiniGrid-MultiRoom-N6-v0", {}),
    ("MiniGrid-ObstructedMaze-2Dlhb-v1", {}),
    ("MiniGrid-Dynamic-Obstacles-8x8-v0", {}),
    ("BabyAI-GoToLocal-v0", {}),
    ("BabyAI-BossLevel-v0", {}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    result = {
        "games": GAMES,
        "levels": {
            _title(level, options): compare(level, options, repeats) for level, options in LEVELS
        },
        "repeats": repeats,
        "minigrid": minigrid.__version__,
        "gymnasium": gym.__version__,
    }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "grid_steps.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def compare(level: str, options: dict[str, Any], repeats: int) -> dict[str, float]:
    batch = MinigridVector(level, GAMES, **options)
    plain = [gym.make(level, **options) for _ in range(GAMES)]
    actions = np.random.default_rng(0).integers(0, plain[0].action_space.n, (STEPS, GAMES))
    sides = {"understudy": lambda: ours(batch, actions), "minigrid": lambda: theirs(plain, actions)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        totals = set[float]()
        for name, run in sides.items():
            seconds, total = run()
            rates[name].append(STEPS * GAMES / seconds)
            totals.add(round(total, 3))
        assert len(totals) == 1, (level, totals)
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    return {
        **{name: round(value) for name, value in medians.items()},
        "ratio": round(medians["understudy"] / medians["minigrid"], 2),
    }


def ours(envs: MinigridVector, actions: np.ndarray) -> tuple[float, float]:
    envs.reset(seed=0)
    total, start = 0.0, time.process_time()
    for chosen in actions:
        total += float(envs.step(chosen)[1].sum())
    return time.process_time() - start, total


def theirs(envs: list[gym.Env], actions: np.ndarray) -> tuple[float, float]:
    # BabyAI prints the levels it rejects.
    with contextlib.redirect_stdout(None):
        for i, env in enumerate(envs):
            env.reset(seed=i)
        total, start = 0.0, time.process_time()
        for chosen in actions.tolist():
            for env, action in zip(envs, chosen, strict=True):
                _, reward, terminated, truncated, _ = env.step(action)
                total += float(reward)
                if terminated or truncated:
                    env.reset()
        return time.process_time() - start, total


def _title(level: str, options: dict[str, Any]) -> str:
    return " ".join([level, *(f"{name}={value}" for name, value in options.items())])


if __name__ == "__main__":
    main()
