"""The optimizer role: a proposer searches the parameters of a policy.

The whole loop, top to bottom: ask for points, race them, tell what came of them, log. At the end
the winner is chosen on episodes that the search did not see and evaluated on episodes that the
choice did not see. Every episode's seed follows from (seed, generation), so a run that was stopped
needs its trials, its counters and its proposer's state to go on as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import Scale
from understudy.envs.search.space import Point
from understudy.envs.search.task import Moments, Task, measure
from understudy.lm.base import ChatLM
from understudy.lm.open import opened
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.build import build_policy, build_proposer
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.optimizer.evaluation import (
    CANDIDATES,
    PROBE,
    RECOMMENDED,
    HeldOut,
    choose,
    held_out,
    noisy,
    race,
)
from understudy.roles.optimizer.history import counts
from understudy.roles.optimizer.language import REMEDIES
from understudy.roles.optimizer.proposers import Proposer
from understudy.roles.optimizer.scoring import SharedTask
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.checkpoint import Checkpoint
from understudy.run.device import device_of
from understudy.run.executors import Executor
from understudy.run.files import write_json
from understudy.run.open_executor import opened as opened_executor
from understudy.run.progress import Progress
from understudy.run.run import Run

POLICY_FORMAT = 1


@dataclass(frozen=True)
class Result:
    """What a search found."""

    point: Point
    held_out: HeldOut
    spent: dict[str, float]


@dataclass
class State:
    """What a checkpoint holds, besides the trials on disk."""

    task: Task
    proposer: Proposer
    trials: Trials
    budget: Budget
    generation: int = 0

    def save(self, run: Run) -> None:
        """Writes a checkpoint at the end of a generation."""
        scale, running = self.task.policy.scale, self.task.running
        state: dict[str, Any] = {
            "trials": len(self.trials),
            "budget": self.budget.spent(),
            "proposer": self.proposer.state(),
            "scale": {"mean": scale.mean.tolist(), "std": scale.std.tolist()},
            "running": None if running is None else running.state(),
        }
        self.trials.sync()
        run.checkpoint(self.generation, {}, state)

    def load(self, found: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        self.generation = found.step
        self.trials.restore(found.state["trials"])
        self.budget.load(found.state["budget"])
        self.proposer.load(found.state["proposer"])


Build = Callable[[OptimizerConfig, Task, Budget], Proposer]


def train(config: OptimizerConfig, run: Run, *, build: Build | None = None) -> Result | None:
    """Searches until the budget is spent; None if it was stopped before.

    Args:
        config: the settings.
        run: where everything is written; if it holds a checkpoint, the search goes on from there.
        build: makes the proposer for the task; pass your own to try another. One that calls a language
            model notes its calls, tokens and money in the budget it is given. By default that of the
            settings, with its model open as long as the search goes on.

    Raises:
        LMError: the model cannot be opened, or does not answer.
    """
    found = run.restore()
    with Arena(config.env, config.env_options) as arena, ExitStack() as stack:
        if build is None:
            build = partial(build_proposer, lm=_model(config, run, stack))
        executor = stack.enter_context(opened_executor(config.workers, config.ray))
        state = _begin(config, run, arena, build, found, executor)
        with Progress(
            config.budget.episodes,
            f"{config.proposer} on {config.env}",
            start=state.budget.episodes,
            enabled=run.config.progress,
        ) as bar:
            while not _over(config, state) and not run.stop_requested:
                started, is_noisy = time.monotonic(), noisy(state.trials)
                raced_on = is_noisy or state.generation % PROBE == 0
                rng = run.seeds.generator("proposer", state.generation)
                batch = config.batch or state.proposer.batch
                proposals = state.proposer.ask(batch, state.trials, rng)
                if not proposals:
                    break
                asked = time.monotonic()
                new = race(
                    state.task, proposals, partial(run.seeds.integer, "episode", state.generation),
                    state.budget, generation=state.generation,
                    first=config.race_first, rounds=config.race_rounds if raced_on else 1,
                    reserve=_reserve(config, is_noisy),
                )  # fmt: skip
                if not new:  # the proposer has used up the last episodes
                    break
                state.trials.extend(new)
                state.proposer.tell(new)
                state.task.rescale()
                state.generation += 1
                raced = time.monotonic()
                stats = _stats(state, new)
                run.log(
                    state.generation, stats, {"propose": asked - started, "race": raced - asked}
                )
                if state.generation % config.run.checkpoint_every == 0:
                    state.save(run)
                bar.update(state.budget.episodes, best=stats["best"])
        state.save(run)
        return None if run.stop_requested else _finish(config, run, state)


def _model(config: OptimizerConfig, run: Run, stack: ExitStack) -> ChatLM | None:
    """The language model, if one is asked; its answers and its bills are in the run's directory."""
    if not config.asks:
        return None
    return stack.enter_context(open_model(config, run.path))


def open_model(
    config: OptimizerConfig, folder: Path | None = None
) -> AbstractContextManager[ChatLM]:
    """The model of the settings, for the length of a block; it never passes the budget's money."""
    return opened(
        config.lm,
        run_folder=folder,
        max_usd=config.budget.usd or None,
        device=device_of(config.run.device),
    )


def _begin(
    config: OptimizerConfig,
    run: Run,
    arena: Arena,
    build: Build,
    found: Checkpoint | None,
    executor: Executor,
) -> State:
    """The state of a new run, or that of a checkpoint."""
    budget, trials = Budget(config.budget), Trials(run.path / "trials.jsonl")
    scale = running = None
    shape = config.policy
    if found is not None:
        numbers, moments = found.state["scale"], found.state["running"]
        scale = Scale(np.array(numbers["mean"]), np.array(numbers["std"]))
        running = None if moments is None else Moments.of(moments)
    elif shape.scaling_episodes and isinstance(arena.observation_space, spaces.Box):
        seeds = [run.seeds.integer("scaling", i) for i in range(shape.scaling_episodes)]
        moments = measure(arena, seeds, run.seeds.generator("scaling actions"))
        budget.spend(episodes=len(seeds))
        scale, running = moments.scale(), moments if shape.running else None
    policy = build_policy(shape, arena, scale)
    task = SharedTask(arena, policy, running, config, executor)
    state = State(task, build(config, task, budget), trials, budget)
    if found is None:
        trials.restore(0)
    else:
        state.load(found)
    return state


def _reserve(config: OptimizerConfig, is_noisy: bool) -> int:
    """Episodes kept for the choice; two for each candidate are enough where nothing is noise."""
    reserve = int(config.choice * config.budget.episodes)
    return reserve if is_noisy else min(reserve, 2 * (CANDIDATES + RECOMMENDED))


def _over(config: OptimizerConfig, state: State) -> bool:
    """Whether what is left is for the choice, or a limit is reached."""
    reserve = _reserve(config, noisy(state.trials))
    left = state.budget.left
    return left("episodes") <= reserve or left("evaluations") <= 0


def _stats(state: State, new: list[Trial]) -> dict[str, float]:
    """Numbers of one generation; `best` is the mean of the point with the best lower bound."""
    means = np.array([trial.mean for trial in new])
    returns = state.trials.points[state.trials.best(1)[0]]
    return {
        "episodes": float(state.budget.episodes),
        "trials": float(len(state.trials)),
        "best": float(np.mean(returns)),
        "best_episodes": float(len(returns)),
        "generation_mean": float(means.mean()),
        "generation_best": float(means.max()),
        **_asked(state, new),
    }


def _asked(state: State, new: list[Trial]) -> dict[str, float]:
    """What a language model has cost so far, and how many of its new proposals were not usable."""
    if not state.budget.calls:
        return {}
    made = counts(new)
    return {
        **{name: float(getattr(state.budget, name)) for name in ("calls", "tokens", "usd")},
        **{kind.replace("-", "/"): float(made.get(kind, 0)) for kind in REMEDIES},
    }


def _finish(config: OptimizerConfig, run: Run, state: State) -> Result:
    """Chooses the winner, evaluates it, and writes both down."""
    recommended = state.proposer.recommend(state.trials)
    seed = partial(run.seeds.integer, "choice")
    point, decided = choose(state.task, state.trials, recommended, seed, state.budget)
    state.trials.extend(decided)
    fresh = held_out(
        state.task, point, partial(run.seeds.integer, "held out"), config.held_out,
        run.seeds.generator("bootstrap"),
    )  # fmt: skip
    result = Result(point, fresh, state.budget.spent())
    policy = {
        "format": POLICY_FORMAT,
        "env": config.env,
        "env_options": config.env_options,
        "point": list(point),
        "values": state.task.space.values(point).tolist(),
        "names": list(state.task.space.names),
        "shape": asdict(config.policy),
        "policy": state.task.policy.arrays(point),
        "held_out": asdict(fresh),
    }
    write_json(run.path / "best_policy.json", policy)
    write_json(run.path / "result.json", asdict(result))
    return result
