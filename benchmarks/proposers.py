"""Who finds good policies in a hundred evaluations: a language model, CMA-ES, random search.

    python benchmarks/proposers.py [--lm pocket] [--out FILE] [--tasks 12] [--seeds 2]

A searcher is worth the area under its curve of the best return so far, over 100 evaluations, where
0 is the median of points at random and 1 the best that anyone found. Every evaluation of a task
is of the same four episodes (random worlds: two, or an exact value). Worlds at random are of the
test split; Gymnasium's were never trained on.
Writes benchmarks/results/proposers.json: areas, and ratios with 95 % bootstrap intervals over tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from understudy.envs.search import lines
from understudy.envs.search.histories import Worlds, search
from understudy.envs.search.propose_task import RANDOM, gym_worlds, random_worlds
from understudy.envs.search.space import Point, Space
from understudy.lm.base import Regex, Request, Sampling
from understudy.lm.open import opened
from understudy.roles.optimizer.evolution import CMAES, CatCMA
from understudy.roles.optimizer.proposers import RandomSearch
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.types import Message

HERE = Path(__file__).parent
EVALUATIONS = 100
BATCH = 5
HANDOVER = 40
GYM = (
    "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1",
    "FrozenLake-v1", "CliffWalking-v1", "understudy/Pong-v0",
)  # fmt: skip
HELD_OUT = 1_500_000


@dataclass
class Problem:
    """One world to search, and what its searchers found."""

    name: str
    family: str
    worlds: Worlds
    task: int
    seed: int
    curves: dict[str, list[float]] = field(default_factory=dict)
    low: float = 0.0
    high: float = 0.0

    @property
    def space(self) -> Space:
        return self.worlds.space

    def score(self, points: Sequence[Point]) -> list[float]:
        everywhere = np.broadcast_to(
            np.array(points), (self.worlds.count, len(points), len(self.space))
        )
        return self.worlds.score(everywhere)[self.task].tolist()

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])


def make_problems(tasks: int, seeds: int, most: int = 1000) -> list[Problem]:
    found = []
    for about in RANDOM:
        for seed in range(HELD_OUT, HELD_OUT + 1000):
            if sum(p.family == about for p in found) == tasks:
                break
            worlds = random_worlds(about, seed)
            if len(worlds.space) > most:
                continue
            searched = search(worlds, np.random.default_rng(seed))
            if len(searched.useful):
                task = int(searched.useful[0])
                found.append(Problem(f"{about} {seed}", about, worlds, task, seed))
                found[-1].high = float(searched.returns[task].max())
    for env in GYM:
        for seed in range(seeds):
            worlds = gym_worlds(env, HELD_OUT + seed)
            if len(worlds.space) > most:
                continue
            found.append(Problem(env, "gymnasium", worlds, 0, HELD_OUT + seed))
            found[-1].high = -np.inf
    for problem in found:
        drawn = problem.space.sample(300, problem.rng(1))
        returns = problem.score([tuple(p) for p in drawn.tolist()])
        problem.low, problem.high = float(np.median(returns)), max(problem.high, *returns)
    return found


def classic(
    problem: Problem, who: str, seed: int, start: list[tuple[Point, float]] | None = None
) -> list[float]:
    """Returns in order; from `start` on CMA-ES goes on around its best."""
    space, found = problem.space, [value for _, value in start or []]
    if who == "random":
        proposer = RandomSearch(space)
    else:
        proposer = (CatCMA if space.categorical.any() else CMAES)(space)
    if start:
        best = sorted(start, key=lambda row: -row[1])[:5]
        spread = np.array([space.values(p) for p, _ in best]).std(axis=0)
        least = np.where(space.categorical, 0.0, space.high * space.step / 10)
        proposer.warm_start(best[0][0], np.maximum(spread, least))
    trials, rng = Trials(), problem.rng(2, seed)
    while len(found) < EVALUATIONS:
        asked = proposer.ask(min(proposer.batch, EVALUATIONS - len(found)), trials, rng)
        returns = problem.score([p.point for p in asked])
        told = [
            Trial(0, who, p.point, (r,), (1,), (0,)) for p, r in zip(asked, returns, strict=True)
        ]
        trials.extend(told)
        proposer.tell(told)
        found += returns
    return found


def with_lm(
    lm, problems: Sequence[Problem], temperature: float, seed: int
) -> list[list[tuple[Point, float]]]:
    """Every problem's points and returns in order; all problems are asked about at once."""
    tried: list[list[tuple[Point, float]]] = [[] for _ in problems]
    for step in range(0, EVALUATIONS, BATCH):
        requests = []
        for problem, rows in zip(problems, tried, strict=True):
            text = lines.question(problem.space, [(point, value, 1) for point, value in rows])
            form = Regex(lines.pattern(problem.space))
            sampling = Sampling(max_tokens=300, temperature=temperature, seed=1000 * seed + step)
            requests += [
                Request((Message("user", text),), sampling, form, sample_index=k)
                for k in range(BATCH)
            ]
        replies = iter(lm.chat(requests))
        for problem, rows in zip(problems, tried, strict=True):
            rng, new = problem.rng(3, seed, step), list[Point]()
            for _ in range(BATCH):
                answer = lines.read(next(replies).text, problem.space)
                seen = [*(point for point, _ in rows), *new]
                new.append(lines.unseen(answer, problem.space, seen, rng))
            rows += list(zip(new, problem.score(new), strict=True))
    return tried


def area(problem: Problem, returns: Sequence[float]) -> float:
    best = np.maximum.accumulate(returns[:EVALUATIONS])
    return float(np.clip((best - problem.low) / max(1e-9, problem.high - problem.low), 0, 1).mean())


def ratio(ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Ratio of the mean areas, and its 95 % interval over tasks."""
    picks = rng.integers(len(ours), size=(2000, len(ours)))
    drawn = ours[picks].mean(axis=1) / theirs[picks].mean(axis=1)
    return [
        round(float(x), 3)
        for x in (ours.mean() / theirs.mean(), *np.quantile(drawn, [0.025, 0.975]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lm", default="pocket")
    parser.add_argument("--out", default=str(HERE / "results" / "proposers.json"))
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--parameters", type=int, default=1000, help="most parameters of a task")
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    problems = make_problems(args.tasks, args.seeds, args.parameters)
    for problem in problems:
        for who in ("random", "cma"):
            problem.curves[who] = classic(problem, who, 0)
    started = time.monotonic()
    with opened(args.lm) as lm:
        tried = with_lm(lm, problems, args.temperature, 0)
    seconds = time.monotonic() - started
    for problem, rows in zip(problems, tried, strict=True):
        problem.curves["lm"] = [value for _, value in rows]
        problem.curves["hybrid"] = classic(problem, "cma", 1, rows[:HANDOVER])
        problem.high = max(problem.high, *(max(curve) for curve in problem.curves.values()))
    report(problems, args, seconds)


def report(problems: list[Problem], args: argparse.Namespace, seconds: float) -> None:
    rng = np.random.default_rng(0)
    areas = {
        who: np.array([area(p, p.curves[who]) for p in problems]) for who in problems[0].curves
    }
    family = np.array([p.family for p in problems])
    result = {
        "lm": args.lm,
        "temperature": args.temperature,
        "lm_seconds": round(seconds, 1),
        "families": {},
        "tasks": [],
    }
    for name in (*RANDOM, "gymnasium"):
        mine = family == name
        if not mine.any():
            continue
        table = {who: round(float(a[mine].mean()), 3) for who, a in areas.items()}
        for ours in ("lm", "hybrid"):
            for theirs in ("cma", "random"):
                table[f"{ours}/{theirs}"] = ratio(areas[ours][mine], areas[theirs][mine], rng)
        result["families"][name] = {"tasks": int(mine.sum()), **table}
        print(name, json.dumps(result["families"][name]), flush=True)
    for i, p in enumerate(problems):
        result["tasks"].append(
            {
                "name": p.name,
                "parameters": len(p.space),
                "low": p.low,
                "high": p.high,
                **{who: round(float(a[i]), 3) for who, a in areas.items()},
            }
        )
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
