"""Episodes per second of batched evaluation against one environment at a time, on one CPU thread.

Linear policies of random weights, and one that balances, on the same seeds; both sides return the
same numbers, which is checked. One at a time is Gymnasium's own loop: `gymnasium.make` once, then
reset and step, with the same policy asked for one action at a time by a bare dot product. Repeats
alternate; seconds are CPU seconds; the ratio is of medians.

    python benchmarks/optimizer_evaluation.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import Linear, Scale

CASES = {"random policies": 32, "a policy that balances": 16}
EPISODES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    arena, single = Arena("CartPole-v1"), gymnasium.make("CartPole-v1")
    policy = Linear(arena.single.observation_space, arena.action_space, Scale.none(4))  # pyright: ignore[reportArgumentType]
    balancing = policy.space.grid([0.3, 0.6, 6.0, 4.0, 0.0])
    result: dict[str, Any] = {}
    for name, count in CASES.items():
        points = policy.space.sample(count, np.random.default_rng(0))
        if name != "random policies":
            points[:] = balancing
        seeds = list(range(EPISODES))
        rates: dict[str, list[float]] = {"batched": [], "one at a time": []}
        for _ in range(repeats):
            start = time.process_time()
            played = arena.play(policy.bind(points), seeds)
            rates["batched"].append(played.returns.size / (time.process_time() - start))
            start = time.process_time()
            alone = [[one_by_one(single, policy, p, seed) for seed in seeds] for p in points]
            rates["one at a time"].append(played.returns.size / (time.process_time() - start))
            assert played.returns.tolist() == alone
        medians = {side: statistics.median(values) for side, values in rates.items()}
        result[name] = {
            "episodes_per_second": {side: round(value, 1) for side, value in medians.items()},
            "mean_return": round(float(played.returns.mean()), 1),
            "batch": [count, EPISODES],
            "ratio": round(medians["batched"] / medians["one at a time"], 1),
        }
    result |= {"repeats": repeats, "numpy": np.__version__, "gymnasium": gymnasium.__version__}
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "optimizer_evaluation.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def one_by_one(env: gymnasium.Env[Any, Any], policy: Linear, point: Any, seed: int) -> float:
    weights, bias = (matrix[0, ..., 0] for matrix in policy.matrices(point))
    seen, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        seen, reward, terminated, truncated, _ = env.step(int(seen @ weights + bias > 0))
        total, over = total + float(reward), terminated or truncated
    return total


if __name__ == "__main__":
    main()
