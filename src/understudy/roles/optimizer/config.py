"""The optimizer role's settings. Every field's docstring is its `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from understudy.roles.optimizer.budget import BudgetConfig
from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
)

Option = bool | int | float | str
Name = Literal["random", "ars", "cma", "catcma", "plan", "lm", "hybrid", "portfolio"]
Style = Literal["json", "lines"]
Share = Annotated[float, Range(low=0, below=1)]


@dataclass(frozen=True)
class PolicyShape:
    """What is searched: the class of policies and the grid of their parameters."""

    kind: Literal["auto", "linear", "table", "values"] = "auto"
    """linear: scores of scaled observations; table: an action per state; values: a value per state
    and action; auto: table where observations are states, else linear."""
    bias: bool = True
    """linear: with a constant term."""
    rank: NonNegativeInt = 0
    """linear: weights as the product of two matrices of this rank; 0 is a whole matrix."""
    bins: Annotated[int, Range(low=2)] = 5
    """table, values: parts each number of an observation or action is cut into."""
    limit: PositiveFloat = 6.0
    """linear, values: parameters are between −limit and limit."""
    step: PositiveFloat = 0.1
    """linear, values: parameters are multiples of this."""
    scaling_episodes: NonNegativeInt = 4
    """Episodes of random actions from which centre and spread of the observations are measured, by
    which they are scaled from then on; 0 leaves them as they are."""
    running: bool = False
    """Let the scale follow all observations of the search; the same parameters then mean something
    else later on."""

    def check(self) -> None:
        """A running scale has to start somewhere."""
        if self.running and not self.scaling_episodes:
            raise ConfigError(
                "policy.running: a running scale needs policy.scaling_episodes above 0"
            )


@dataclass(frozen=True)
class AskConfig:
    """How a language model is asked for points. What it may cost is the budget's."""

    mode: Literal["numeric", "described", "reflective"] = "described"
    """numeric: parameters and returns alone; described: with the environment and the policy in
    words; reflective: also statistics of the trials and an episode of the best of them."""
    style: Literal["auto", "json", "lines"] = "auto"
    """json: for any model; lines: a short text for models trained on the propose tasks, which has
    no mode; auto: lines for pocket, else json."""
    proposals: PositiveInt = 8
    """Points of one answer; in the style lines one of as many answers each."""
    calls: PositiveInt = 1
    """Questions of that kind per generation."""
    temperature: NonNegativeFloat = 1.0
    """Of the answers."""
    max_tokens: NonNegativeInt = 0
    """Of an answer; 0 is what its form needs. Models that think before they answer need more."""
    history_tokens: PositiveInt = 6000
    """Most tokens for the record of trials, counted as two characters each; when it is full, the
    best, the latest and the most different are kept."""

    def check(self) -> None:
        """Several answers to one question need randomness."""
        if self.temperature == 0 and (self.calls > 1 or self.style == "lines"):
            raise ConfigError("ask.temperature: several answers need a temperature above 0")


@dataclass(frozen=True)
class OptimizerConfig:
    """Search a policy's parameters: propose, race, learn, and prove the winner on fresh episodes."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"budget.episodes": 60, "held_out": 8}
    MAY_CHANGE: ClassVar = ("workers", "ray")

    env: str = "CartPole-v1"
    """Gymnasium id of the environment; own ones: understudy/Nim-v0, -/Maze-v0, -/Pong-v0."""
    env_options: dict[str, Option] = field(default_factory=dict[str, Option])
    """What it is made with, e.g. `is_slippery = false`; `max_episode_steps` for another limit."""
    proposer: Name = "hybrid"
    """Who proposes: random, ars, cma (CMA-ES), catcma (also of choices), plan (tables: learns the
    transitions), lm (the model of --lm), hybrid (one for the first trials, then cma or plan),
    portfolio (a bandit)."""
    lm: str = "pocket"
    """Any language model: pocket, hf:…, openai:…, http://host:port/v1#MODEL, replay:FILE."""
    members: tuple[Name, ...] = ()
    """portfolio: its members; by default random, ars and the best without a language model."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    policy: PolicyShape = PolicyShape()
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    batch: NonNegativeInt = 0
    """Proposals per generation; 0 is what the proposer likes."""
    first_trials: NonNegativeInt = 16
    """hybrid: trials before the hand-over; it is earlier where calls, tokens or money run out."""
    first: Literal["random", "lm"] = "random"
    """hybrid: who proposes them."""
    race_first: PositiveInt = 1
    """Episodes of every trial."""
    race_rounds: PositiveInt = 2
    """Rounds of a race; in each after the first the better half plays as many again. There are no
    further rounds while episodes of a point differ little next to those of different points."""
    choice: Share = 0.2
    """Share of the episodes kept for choosing the winner among the best at the end; less is kept
    where episodes of a point differ little."""
    held_out: PositiveInt = 100
    """Fresh episodes on which the winner is evaluated; they are not of the budget."""
    workers: PositiveInt = 1
    """Processes that play a generation's episodes; what is found does not depend on their number."""
    ray: str | None = None
    """Let Ray play them on so many cores: `local` starts it on this machine, HOST:PORT finds a
    cluster."""
    ask: AskConfig = AskConfig()
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def asks(self) -> bool:
        """Whether a language model is asked."""
        first = self.proposer == "hybrid" and self.first == "lm"
        return first or self.proposer == "lm" or "lm" in self.members

    def check(self) -> None:
        """Rejects combinations that cannot mean anything."""
        if self.first == "lm" and self.proposer != "hybrid":
            raise ConfigError(
                "first: only --proposer hybrid begins with another; use --proposer lm"
            )
        if self.members and self.proposer != "portfolio":
            raise ConfigError("members: only --proposer portfolio has members")
        if self.proposer == "portfolio" and self.members:
            if len(self.members) < 2 or len(set(self.members)) < len(self.members):
                raise ConfigError("members: a portfolio needs at least two, each once")
            if {"portfolio", "hybrid"} & set(self.members):
                raise ConfigError("members: hybrid and portfolio cannot be members themselves")
        if int((1 - self.choice) * self.budget.episodes) <= self.policy.scaling_episodes:
            raise ConfigError(
                "budget.episodes: scaling and the choice of the winner leave none for the search"
            )


@dataclass(frozen=True)
class CompareConfig:
    """Proposers side by side: same environment, policies, budget and seeds, with intervals."""

    DEBUG: ClassVar[Mapping[str, Any]] = {
        "proposers": ("hybrid", "random"), "seeds": (0,), "base.budget.episodes": 60, "base.held_out": 8,
    }  # fmt: skip

    env: str = "CartPole-v1"
    """Gymnasium id of the environment."""
    proposers: tuple[Name, ...] = ("hybrid", "cma", "random", "ars")
    """Who is compared."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run per proposer and seed."""
    base: OptimizerConfig = OptimizerConfig()
    """The settings all runs share; its env, proposer and seed are not used."""

    def check(self) -> None:
        """Rejects an empty comparison."""
        if not self.proposers or not self.seeds or min(self.seeds) < 0:
            raise ConfigError("seeds: a comparison needs proposers and seeds that are not negative")


@dataclass(frozen=True)
class EvalConfig:
    """Evaluate a policy that a search has saved."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("policy",)

    policy: str = ""
    """best_policy.json of a run, or the run's directory."""
    episodes: PositiveInt = 100
    """Fresh episodes."""
    seed: NonNegativeInt = 0
    """Of the episodes."""
    video: bool = False
    """Write the first of them as best_policy.gif beside the policy."""

    def check(self) -> None:
        """There must be a policy."""
        if not self.policy:
            raise ConfigError("policy: eval needs best_policy.json of a run, or its directory")
