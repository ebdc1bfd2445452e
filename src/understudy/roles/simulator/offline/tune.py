"""Settings of offline learning by Optuna: chosen by validation people, never by those who judge.

Optuna is an extra (`pip install understudy[optuna]`). A study lies in a SQLite file and goes on where
it stopped: trials that were finished are not repeated.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.data.transitions import Offline
from understudy.roles.simulator.offline.config import LearnConfig, OfflineError, require
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.offline.linear_fqe import linear_fqe
from understudy.roles.simulator.offline.policies import Learned
from understudy.run.seed import Seeds


@dataclass(frozen=True)
class TuneConfig:
    """A search for the settings of `LearnConfig`."""

    trials: int = 50
    """In all, those of earlier runs of the same storage included."""
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
        require("trials", self.trials, 1, 10**6)
        require("checks", self.checks, 1, 1000)
        for name in ("learning_rate", "alpha"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise OfflineError(f"{name} is searched from {low} to {high}; 0 < first < second")


@dataclass(frozen=True)
class Tuned:
    """What the search found."""

    config: LearnConfig
    score: float
    """On the validation people: the best of many, so not what the policy is worth."""
    trials: int
    """Finished or pruned."""


def tune(
    train: Offline,
    validation: Offline,
    base: LearnConfig,
    config: TuneConfig,
    seed: int,
    storage: Path,
) -> Tuned:
    """Searches settings by the FQE value of the last policy of each training.

    Args:
        train: people who are learnt from.
        validation: people who choose; nobody of `train`, nor of those who judge later.
        base: what is not searched.
        config: the search.
        seed: of everything; a resumed search goes on with fresh trials.
        storage: the SQLite file, made if it is not there.

    Raises:
        OfflineError: Optuna is not installed, or a person is in both sets.
    """
    both = sorted(set(train.persons) & set(validation.persons))
    if both:
        raise OfflineError(f"{both[0]!r} is both learnt from and chosen by; split by person")
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError:
        raise OfflineError("tuning needs Optuna: pip install understudy[optuna]") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{storage}"
    study: Any = optuna.create_study(
        study_name=f"{base.method}-{base.gamma}",
        storage=url,
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(config.startup, n_warmup_steps=base.steps // 5),
    )
    done = _finished(study)
    # Where a search goes on, TPE draws from a stream of its own: not the first trials once more.
    sampler_seed = Seeds(seed).integer("tpe", done) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=sampler_seed, n_startup_trials=config.startup)

    def objective(trial: Any) -> float:
        chosen = _suggest(trial, base, config)
        rng = Seeds(seed).generator("trial", trial.number)

        def look(step: int, policy: Learned) -> None:
            trial.report(score(policy, validation, chosen.gamma, config.ridge), step)
            if trial.should_prune():
                raise optuna.TrialPruned

        every = max(1, base.steps // config.checks)
        policy = learn(train, chosen, rng, every=every, progress=look)
        return score(policy, validation, chosen.gamma, config.ridge)

    if done < config.trials:
        study.optimize(objective, n_trials=config.trials - done)
    best = study.best_trial
    return Tuned(_chosen(best.params, base), float(best.value), _finished(study))


def score(policy: Learned, people: Offline, gamma: float, ridge: float) -> float:
    """A policy's value by the closed-form FQE on these people: no seed, no training of its own."""
    return linear_fqe(
        people,
        policy.probabilities(people.states),
        policy.probabilities(people.next_states),
        gamma=gamma,
        ridge=ridge,
    ).estimate.value


def _finished(study: Any) -> int:
    return sum(trial.state.is_finished() for trial in study.trials)


def _suggest(trial: Any, base: LearnConfig, config: TuneConfig) -> LearnConfig:
    found = {
        "learning_rate": trial.suggest_float("learning_rate", *config.learning_rate, log=True),
        "hidden": trial.suggest_categorical("hidden", list(config.hidden)),
        "batch": trial.suggest_categorical("batch", list(config.batch)),
    }
    if base.method == "cql":
        found["alpha"] = trial.suggest_float("alpha", *config.alpha, log=True)
    return _chosen(found, base)


def _chosen(found: dict[str, Any], base: LearnConfig) -> LearnConfig:
    return replace(base, **found)
