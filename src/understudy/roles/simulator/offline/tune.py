"""Settings of offline learning by Optuna: chosen by validation people, never by those who judge.

A study lies in a storage (`run.studies`) and goes on where it stopped: trials that were finished are
not repeated. Several processes and machines that are given the same people, settings and storage do
its trials together, each until there are as many as are wanted; then there may be as many more as
there are other processes, and which trials there were depends on who was quick. A process that died
leaves a trial behind that nobody waits for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from understudy.data.transitions import Offline
from understudy.roles.simulator.offline.config import LearnConfig, OfflineError, TuneConfig
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.offline.linear_fqe import linear_fqe
from understudy.roles.simulator.offline.policies import Learned
from understudy.run.seed import Seeds
from understudy.run.studies import opened_study, optuna_or_error

PROBLEM = "problem"
"""The attribute of a trial that says why it failed."""


@dataclass(frozen=True)
class Tuned:
    """What the search found."""

    config: LearnConfig
    score: float
    """On the validation people: the best of many, so not what the policy is worth."""
    trials: int
    """Finished or pruned, those of others who share the storage included."""


def tune(
    train: Offline,
    validation: Offline,
    base: LearnConfig,
    config: TuneConfig,
    seed: int,
    storage: str,
) -> Tuned:
    """Searches settings by the FQE value of the last policy of each training.

    Args:
        train: people who are learnt from.
        validation: people who choose; nobody of `train`, nor of those who judge later.
        base: what is not searched.
        config: the search; its `storage` is not looked at.
        seed: of everything: what a trial draws follows from it, its number and the trials before.
        storage: see `run.studies.opened_study`.

    Raises:
        OfflineError: a person is in both sets, or no setting could be learnt with.
        RunError: Optuna is not installed, or the storage cannot be opened.
    """
    both = sorted(set(train.persons) & set(validation.persons))
    if both:
        raise OfflineError(f"{both[0]!r} is both learnt from and chosen by; split by person")
    optuna = optuna_or_error()
    name = f"{base.method}-{base.gamma}-{_digest(train, validation, base, config)}"
    study = opened_study(storage, name, heartbeat=True)
    study.pruner = optuna.pruners.MedianPruner(config.startup, n_warmup_steps=base.steps // 5)

    def objective(trial: Any) -> float:
        # A stream for each trial, so that no two processes try the same.
        study.sampler = optuna.samplers.TPESampler(
            seed=Seeds(seed).integer("tpe", trial.number) % 2**32, n_startup_trials=config.startup
        )
        chosen = _suggest(trial, base, config)
        rng = Seeds(seed).generator("trial", trial.number)

        def look(step: int, policy: Learned) -> None:
            trial.report(score(policy, validation, chosen.gamma, config.ridge), step)
            if trial.should_prune():
                raise optuna.TrialPruned

        every = max(1, base.steps // config.checks)
        try:
            policy = learn(train, chosen, rng, every=every, progress=look)
        except OfflineError as error:
            trial.set_user_attr(PROBLEM, str(error))
            raise
        return score(policy, validation, chosen.gamma, config.ridge)

    while len(_finished(study)) < config.trials:
        study.optimize(objective, n_trials=1, catch=(OfflineError,))
    done = _finished(study)
    if not any(trial.state.name == "COMPLETE" for trial in done):
        why = next((t.user_attrs[PROBLEM] for t in done if PROBLEM in t.user_attrs), "all pruned")
        raise OfflineError(f"none of {len(done)} settings came to an end; the first: {why}")
    best = study.best_trial
    return Tuned(_chosen(best.params, base), float(best.value), len(done))


def score(policy: Learned, people: Offline, gamma: float, ridge: float) -> float:
    """A policy's value by the closed-form FQE on these people: no seed, no training of its own."""
    return linear_fqe(
        people,
        policy.probabilities(people.states),
        policy.probabilities(people.next_states),
        gamma=gamma,
        ridge=ridge,
    ).estimate.value


def _finished(study: Any) -> list[Any]:
    """Trials that came to an end; one whose process died did not."""
    ends = ("COMPLETE", "PRUNED")
    return [t for t in study.trials if t.state.name in ends or PROBLEM in t.user_attrs]


def _digest(train: Offline, validation: Offline, base: LearnConfig, config: TuneConfig) -> str:
    """Of what a trial's value depends on: others in the same storage are other studies."""
    total = hashlib.sha256()
    for data in (train, validation):
        for array in (data.states, data.actions, data.rewards, data.lengths):
            total.update(np.ascontiguousarray(array).tobytes())
    search = replace(config, trials=0, storage=None)
    total.update(repr((base, search)).encode())
    return total.hexdigest()[:8]


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
