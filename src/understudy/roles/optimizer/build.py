"""From names to things: the task and the proposer that a configuration describes."""

from __future__ import annotations

from gymnasium import spaces

from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import Kind, Policy, Scale, make_policy
from understudy.envs.search.task import Task
from understudy.lm.base import ChatLM
from understudy.lm.spec import parse_spec
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.combine import WIDE, Hybrid, Portfolio
from understudy.roles.optimizer.config import Name, OptimizerConfig, PolicyShape
from understudy.roles.optimizer.evolution import CMAES, CatCMA
from understudy.roles.optimizer.language import LanguageProposer
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


def build_proposer(
    config: OptimizerConfig, task: Task, budget: Budget, lm: ChatLM | None = None
) -> Proposer:
    """The proposer a configuration names, for a task.

    Args:
        config: the settings.
        task: where it searches.
        budget: what its questions to a language model are charged to.
        lm: the model, where one is asked.

    Raises:
        ConfigError: it cannot search this policy class, or needs a model that is not there.
        SpaceError: the model's text cannot hold so many parameters.
    """

    def one(name: Name) -> Proposer:
        return _language(config, task, budget, lm) if name == "lm" else _single(name, task)

    if config.proposer == "portfolio":
        return Portfolio([one(m) for m in config.members or ("random", "ars", _numeric(task))])
    if config.proposer == "hybrid":
        # Far from the middle a linear policy's direction, which is what counts, hardly moves.
        first = one("lm") if config.first == "lm" else RandomSearch(task.space, spread=WIDE)
        return Hybrid(first, one(_numeric(task)), task.space, trials=config.first_trials)
    return one(config.proposer)


def _numeric(task: Task) -> Name:
    """The best searcher without a language model: what a hybrid hands over to."""
    if task.tabular:
        return "plan"
    return "catcma" if task.space.categorical.any() else "cma"


def _language(
    config: OptimizerConfig, task: Task, budget: Budget, lm: ChatLM | None
) -> LanguageProposer:
    if lm is None:
        raise ConfigError("proposer: lm needs a language model that is open")
    style, pocket = config.ask.style, parse_spec(config.lm).kind == "pocket"
    if style == "json" and pocket:
        raise ConfigError("ask.style: pocket is too small for json; use lines, or another --lm")
    if style == "auto":
        style = "lines" if pocket else "json"
    return LanguageProposer(lm, task, budget, config.ask, style)


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
