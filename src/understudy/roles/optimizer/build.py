"""From names to things: the task and the proposer that a configuration describes."""

from __future__ import annotations

from gymnasium import spaces

from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import Kind, Policy, Scale, make_policy
from understudy.envs.search.task import Task
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.combine import WIDE, Hybrid, Portfolio
from understudy.roles.optimizer.config import Name, OptimizerConfig, PolicyShape
from understudy.roles.optimizer.evolution import CMAES, CatCMA
from understudy.roles.optimizer.planning import Planner
from understudy.roles.optimizer.proposers import ARS, Proposer, RandomSearch
from understudy.run.errors import ConfigError


def build_policy(shape: PolicyShape, arena: Arena, scale: Scale | None) -> Policy:
    """The policy class of an environment.

    Raises:
        ConfigError: it cannot observe or act there.
    """
    observations = arena.observation_space
    kind: Kind
    if shape.kind == "auto":
        kind = "table" if isinstance(observations, spaces.Discrete) else "linear"
    else:
        kind = shape.kind
    return make_policy(
        kind, observations, arena.action_space, scale,
        bias=shape.bias, rank=shape.rank, bins=shape.bins, limit=shape.limit, step=shape.step,
    )  # fmt: skip


def build_proposer(config: OptimizerConfig, task: Task, _budget: Budget) -> Proposer:
    """The proposer a configuration names, for a task; none of these spends more than episodes.

    Raises:
        ConfigError: it cannot search this policy class.
    """
    if config.proposer == "portfolio":
        best: Name = "plan" if task.tabular else "catcma" if task.space.categorical.any() else "cma"
        return Portfolio([_single(m, task) for m in config.members or ("random", "ars", best)])
    if config.proposer == "hybrid":
        # Far from the middle a linear policy's direction, which is what counts, hardly moves.
        first = RandomSearch(task.space, spread=WIDE)
        return Hybrid(first, numeric(task), task.space, trials=config.first_trials)
    return _single(config.proposer, task)


def numeric(task: Task) -> Proposer:
    """The best searcher without a language model: what a hybrid hands over to."""
    if task.tabular:
        return _single("plan", task)
    return _single("catcma" if task.space.categorical.any() else "cma", task)


def _single(name: Name, task: Task) -> Proposer:
    if name == "plan" and not task.tabular:
        raise ConfigError("proposer: plan needs --policy.kind table in an environment with states")
    makers = {
        "random": RandomSearch,
        "ars": ARS,
        "cma": CMAES,
        "catcma": CatCMA,
        "plan": lambda space: Planner(space, limit=task.arena.limit),
    }
    return makers[name](task.space)
