"""Settings of offline learning and judging. Light: what the command line needs to parse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from understudy.types import UnderstudyError


class OfflineError(UnderstudyError):
    """Offline learning or judging that cannot be done as asked; the text says why."""


MOVED = 0.99
"""Share of its way to the online network that a target network must come within a training."""


def require(what: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    """Raises OfflineError unless low ≤ value ≤ high (low < value with `open_low`)."""
    if not (low < value if open_low else low <= value) or not value <= high:
        raise OfflineError(f"{what} is {value}; it must be between {low} and {high}")


def require_moving_target(steps: int, rate: float, every: int) -> None:
    """Raises OfflineError where the target network would all but stay what it was at the start.

    A target that never moves makes a Q-network the regression of one reward upon noise.
    """
    if every < 0 or every > steps:
        raise OfflineError(f"target_every is {every}; it must be between 0 and the {steps} steps")
    if every:
        return
    require("target_rate", rate, 0, 1, open_low=True)
    moved = 1 - (1 - rate) ** steps
    if moved < MOVED:
        least = 1 - (1 - MOVED) ** (1 / steps)
        raise OfflineError(
            f"target_rate {rate:g} moves the target network {moved:.0%} of its way in {steps} "
            f"steps; it needs {least:.1e} or more"
        )


def _require_training(gamma: float, steps: int, batch: int, hidden: int, rate: float) -> None:
    require("gamma", gamma, 0, 0.9999)
    require("steps", steps, 1, math.inf)
    require("batch", batch, 1, math.inf)
    require("hidden", hidden, 1, math.inf)
    require("learning_rate", rate, 0, 1, open_low=True)


@dataclass(frozen=True)
class LearnConfig:
    """How a policy is learnt from offline data."""

    method: Literal["ddqn", "cql", "bc"] = "ddqn"
    """Double DQN, discrete CQL or behaviour cloning."""
    gamma: float = 0.9
    """Discount per decision point."""
    steps: int = 6000
    """Gradient steps."""
    batch: int = 64
    """Transitions per step."""
    learning_rate: float = 1e-3
    """Of Adam, falling to a tenth of it along half a cosine."""
    hidden: int = 64
    """Width of the two hidden layers."""
    target_rate: float = 0.005
    """The target network's soft step towards the online one, each gradient step (τ)."""
    target_every: int = 0
    """Instead, a hard copy every so many gradient steps; 0 for soft steps."""
    alpha: float = 1.0
    """Weight of CQL's penalty."""
    clip: float = 1.0
    """Greatest norm of a gradient; 0 for none."""

    def __post_init__(self) -> None:
        """Raises OfflineError for settings under which nothing is learnt."""
        if self.method not in ("ddqn", "cql", "bc"):
            raise OfflineError(f"method is {self.method!r}; there are ddqn, cql and bc")
        _require_training(self.gamma, self.steps, self.batch, self.hidden, self.learning_rate)
        require("alpha", self.alpha, 0, math.inf)
        require("clip", self.clip, 0, math.inf)
        if self.method != "bc":
            require_moving_target(self.steps, self.target_rate, self.target_every)


@dataclass(frozen=True)
class FqeConfig:
    """Fitted Q evaluation with networks."""

    steps: int = 3000
    """Gradient steps."""
    batch: int = 64
    """Transitions per step."""
    learning_rate: float = 2e-3
    """Of Adam, falling to a tenth of it along half a cosine."""
    hidden: int = 32
    """Width of the two hidden layers."""
    target_rate: float = 0.01
    """The target network's soft step."""

    def __post_init__(self) -> None:
        """Raises OfflineError for settings under which nothing is learnt."""
        _require_training(0.0, self.steps, self.batch, self.hidden, self.learning_rate)
        require_moving_target(self.steps, self.target_rate, 0)


@dataclass(frozen=True)
class JudgeConfig:
    """How policies are judged on people whose data nobody learnt from."""

    gamma: float = 0.9
    """Discount per decision point."""
    primary: Literal["fqe", "wpdis", "dr", "magic"] = "fqe"
    """The estimator that policies are compared by; the others must not contradict it."""
    confidence: float = 0.95
    """Of the intervals, and 1 − confidence the family-wise error of the comparisons."""
    resamples: int = 1000
    """Bootstrap resamples of people."""
    features: Literal["linear", "quadratic"] = "linear"
    """Of a state, for the closed-form FQE: its numbers, or also their products in pairs."""
    ridge: float = 1e-3
    """Ridge of the closed-form FQE, as a share of the mean squared feature."""
    folds: int = 5
    """Groups of people for cross-fitting propensities and the models in DR and MAGIC."""
    network_replicates: int = 0
    """Bootstrap replicates of FQE with networks, reported besides; 0 for none."""
    network: FqeConfig = FqeConfig()
    """Those networks."""
    reward_range: tuple[float, float] | None = None
    """Least and greatest possible reward; not set: those seen."""
    min_people: int = 10
    """Fewer than these are not judged by."""
    min_effective: float = 15.0
    """Effective people an estimator needs."""
    min_propensity: float = 0.02
    """An action the behaviour takes less often than this, in a state, has no support there."""
    max_unsupported: float = 0.05
    """Share of the policy's choices that may lack support."""
    clip_propensity: float = 0.01
    """Propensities are raised to this in ratios; a bias that the gate on support keeps small."""

    def __post_init__(self) -> None:
        """Raises OfflineError for settings that make no sense."""
        if self.primary not in ("fqe", "wpdis", "dr", "magic"):
            raise OfflineError(f"primary is {self.primary!r}; there are fqe, wpdis, dr and magic")
        if self.features not in ("linear", "quadratic"):
            raise OfflineError(f"features is {self.features!r}; there are linear and quadratic")
        require("gamma", self.gamma, 0, 0.9999)
        require("confidence", self.confidence, 0.5, 0.9999)
        require("resamples", self.resamples, 100, 10**6)
        require("folds", self.folds, 2, 1000)
        require("ridge", self.ridge, 0, math.inf)
        require("min_people", self.min_people, 3, math.inf)
        require("min_propensity", self.min_propensity, 0, 0.5)
        require("max_unsupported", self.max_unsupported, 0, 1)
        require("clip_propensity", self.clip_propensity, 0, 0.5, open_low=True)
        if self.reward_range is not None and not self.reward_range[0] < self.reward_range[1]:
            raise OfflineError(f"reward_range is {self.reward_range}; the first must be less")


@dataclass(frozen=True)
class TuneConfig:
    """A search for learning rate, width and batch of `LearnConfig` (and CQL's penalty), by Optuna."""

    trials: int = 0
    """In all, those of earlier runs and of others who share the storage included; 0: no search."""
    storage: str | None = None
    """Where trials are kept: sqlite:///FILE or another database's URL, or the path of a journal;
    by default a SQLite file beside the policy. The same command, given to several processes or
    machines with one storage, has them search together."""
    checks: int = 5
    """How often a trial is looked at on its way, and may be pruned."""
    startup: int = 10
    """Random trials before TPE, and before any is pruned."""
    learning_rate: tuple[float, float] = (1e-4, 1e-2)
    """Searched by its logarithm."""
    hidden: tuple[int, ...] = (32, 64, 128)
    """Widths."""
    batch: tuple[int, ...] = (32, 64, 128)
    """Transitions per step."""
    alpha: tuple[float, float] = (0.1, 10.0)
    """Weight of CQL's penalty, searched by its logarithm."""
    ridge: float = 1e-3
    """Of the FQE that scores."""

    def __post_init__(self) -> None:
        """Raises OfflineError for settings that make no sense."""
        require("trials", self.trials, 0, 10**6)
        require("checks", self.checks, 1, 1000)
        for name in ("learning_rate", "alpha"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise OfflineError(f"{name} is searched from {low} to {high}; 0 < first < second")
        for name in ("hidden", "batch"):
            if not getattr(self, name):
                raise OfflineError(f"{name} is searched among nothing; at least one value")
