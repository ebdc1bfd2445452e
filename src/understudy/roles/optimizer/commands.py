"""What the command line runs for the optimizer role."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.jsonl import DataError
from understudy.envs.base import EnvError
from understudy.envs.control.tabular_optimum import optimum_of
from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import Scale
from understudy.envs.search.task import Task
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.build import build_policy, build_proposer
from understudy.roles.optimizer.config import (
    CompareConfig,
    EvalConfig,
    Name,
    OptimizerConfig,
    PolicyShape,
)
from understudy.roles.optimizer.evaluation import held_out
from understudy.roles.optimizer.train import open_model, train
from understudy.roles.optimizer.video import record
from understudy.run.files import write_json
from understudy.run.metrics import read
from understudy.run.run import Run
from understudy.run.seed import Seeds


def run_train(config: OptimizerConfig) -> Path:
    """Searches; returns the run directory.

    Raises:
        Stopped: a signal asked for it; a checkpoint is written.
    """
    _check(config)
    with Run.create("optimizer", config.env, config, config.run, verb="train") as run:
        train(config, run)
        return run.path


def run_compare(config: CompareConfig) -> Path:
    """Searches with every proposer and seed on the same budget; returns the table's file."""
    base = replace(config.base, env=config.env)
    for name in config.proposers:
        _check(_one(base, name, config.seeds[0]))
    out = Path(base.run.root) / "optimizer" / _folder(config.env) / "compare.json"
    rows: list[dict[str, Any]] = []
    for name in config.proposers:
        for seed in config.seeds:
            path = run_train(_one(base, name, seed))
            rows.append({"proposer": name, "seed": seed, "run": str(path), **curve(path)})
            found = {"env": config.env, "optimum": known_optimum(base), "runs": rows}
            write_json(out, found)
    return out


def play(method: str, config: OptimizerConfig) -> Path:
    """One run of a grid; returns its directory."""
    del method
    return run_train(config)


def run_eval(config: EvalConfig) -> dict[str, Any]:
    """A saved policy's mean return on fresh episodes, with an interval, and a video if asked for.

    Raises:
        DataError: no such file, or it is not a policy.
        RunError: a video cannot be made.
    """
    path = Path(config.policy)
    path = path / "best_policy.json" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        env, options, arrays = saved["env"], saved["env_options"], saved["policy"]
        shape, point = PolicyShape(**saved["shape"]), tuple(saved["point"])
        scale = (
            Scale(np.array(arrays["mean"]), np.array(arrays["std"])) if "mean" in arrays else None
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a policy of `optimizer train` ({error})") from error
    seeds = Seeds(config.seed)
    with Arena(env, options) as arena:
        task = Task(arena, build_policy(shape, arena, scale))
        best, seed = task.space.point(point), partial(seeds.integer, "eval")
        found = held_out(task, best, seed, config.episodes, seeds.generator("bootstrap"))
        # The first of the episodes is the one that is shown.
        video = record(task, best, seed(0), path.with_suffix(".gif")) if config.video else None
    return {"env": env, "video": video and str(video), **asdict(found)}


def known_optimum(config: OptimizerConfig) -> dict[str, float] | None:
    """The exact optimum, where the dynamics are known."""
    try:
        found = optimum_of(config.env, config.env_options)
    except EnvError:
        return None
    return {"value": found.value, "stationary": found.stationary}


def curve(path: Path) -> dict[str, Any]:
    """A run's result and its learning curve: episodes spent against the best so far."""
    result = json.loads((path / "result.json").read_text(encoding="utf-8"))
    rows = read(path / "metrics.jsonl")
    return {
        "held_out": result["held_out"],
        "spent": result["spent"],
        "trials": [row["trials"] for row in rows],
        "episodes": [row["episodes"] for row in rows],
        "best": [row["best"] for row in rows],
    }


def _one(base: OptimizerConfig, name: Name, seed: int) -> OptimizerConfig:
    run = replace(base.run, name=f"{base.run.name or 'compare'}-{name}-s{seed}")
    members = base.members if name == "portfolio" else ()
    first = base.first if name == "hybrid" else "random"
    return replace(base, proposer=name, seed=seed, members=members, first=first, run=run)


def _check(config: OptimizerConfig) -> None:
    """Builds everything once, so that an error leaves no run behind."""
    config.check()
    with Arena(config.env, config.env_options) as arena:
        task = Task(arena, build_policy(config.policy, arena, None))
        with open_model(config) if config.asks else nullcontext() as lm:
            build_proposer(config, task, Budget(config.budget), lm)


def _folder(env: str) -> str:
    return env.replace("/", "-")
