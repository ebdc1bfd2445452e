"""What the command line runs for the simulator role."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from understudy.data.cohort import write_cohort
from understudy.data.jsonl import DataError
from understudy.data.profile import read_profile, write_profile
from understudy.data.transitions import merge
from understudy.envs.study.lines import Lines
from understudy.envs.study.load import load
from understudy.lm.open import opened
from understudy.roles.simulator.assess import assess
from understudy.roles.simulator.canaries import CANARIES, search_run
from understudy.roles.simulator.cohorts import check_profile, layout, profile, read
from understudy.roles.simulator.config import (
    AssessConfig,
    GenerateConfig,
    JudgePoliciesConfig,
    LearnPolicyConfig,
    ProfileConfig,
    StudyConfig,
)
from understudy.roles.simulator.describe import describe
from understudy.roles.simulator.generate import (
    COHORT,
    REFERENCE,
    finish,
    generate,
    is_short,
    last_step,
    people_of,
    told_of,
    write_told,
)
from understudy.roles.simulator.offline.judge import comparators, evaluate
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.offline.policies import Learned
from understudy.roles.simulator.offline.tune import tune
from understudy.roles.simulator.train import FIDELITY, train, write_report
from understudy.roles.simulator.transitions import offline_of
from understudy.run.device import device_of
from understudy.run.open_executor import opened as opened_executor
from understudy.run.run import Run
from understudy.run.seed import Seeds

LEAST = 8
"""People of whom some are told about and some judge."""


def run_profile(config: ProfileConfig) -> Path:
    """Writes the aggregates of a data set."""
    study = load(config.study)
    told = profile(
        read(Path(config.data), study), study, hidden_below=config.hidden_below,
        epsilon=config.epsilon or None, delta=config.delta,
        rng=np.random.default_rng(config.seed), only=config.only,
    )  # fmt: skip
    write_profile(Path(config.out), told)
    return Path(config.out)


def run_generate(config: GenerateConfig) -> Path:
    """Makes a cohort; returns the run directory.

    Raises:
        Stopped: a signal asked for it; what was answered is recorded.
    """
    device, study = device_of(config.run.device), load(config.study)
    if is_short(config):
        Lines(study)
    reference = canaries = None
    seeds = Seeds(config.seed)
    if config.source.profile is not None:
        told = read_profile(Path(config.source.profile))
        check_profile(study, told)
    else:
        reference = people_of(config.source, study, seeds)
        told, canaries = told_of(reference, config.source, study, seeds)
    with opened(config.lm, max_usd=config.ask.max_usd, device=device):
        pass  # an error leaves no run behind
    with Run.create("simulator", study.name, config, config.run, verb="generate") as run:
        if run.restore() is not None:
            return run.path
        write_told(run, study, told, canaries)
        if reference is not None and config.source.data is None:
            write_cohort(run.path / REFERENCE, reference, layout(study))
        with opened(
            config.lm, run_folder=run.path, max_usd=config.ask.max_usd, device=device
        ) as lm:
            made = generate(config, study, told, lm, run)
        if made is not None:
            reward = float(made[study.names.reward].mean())
            finish(run, last_step(study, config), {"reward": reward})
        return run.path


def run_learn(config: LearnPolicyConfig) -> Path:
    """Learns a policy from cohorts; returns its file."""
    study, seeds = load(config.study), Seeds(config.seed)
    data = merge(*(offline_of(study, read(_cohort(path), study), path) for path in config.data))
    how = config.how
    if config.tune.trials:
        learnt, chosen_by = data.split(seeds.generator("split"), config.validation)
        beside = f"sqlite:///{Path(config.out).with_suffix('.tuning.sqlite')}"
        storage = config.tune.storage or beside
        how = tune(learnt, chosen_by, how, config.tune, config.seed, storage).config
    learn(data, how, seeds.generator("learn"), name=Path(config.out).stem).save(Path(config.out))
    return Path(config.out)


def run_evaluate(config: JudgePoliciesConfig) -> Path:
    """Judges policies; returns the verdict's file."""
    study = load(config.study)
    people = offline_of(study, read(_cohort(config.data), study), "original")
    names = [action.name for action in study.actions]
    learnt = [Learned.load(Path(path)) for path in config.policies]
    rng = np.random.default_rng(config.seed)
    verdict = evaluate(people, [*learnt, *comparators(people, names)], config.how, rng)
    out = Path(config.out)
    write_report(out, verdict.to_json(), verdict.table() + "\n")
    return out


def run_study(config: StudyConfig) -> Path:
    """All of it; returns the run directory.

    Raises:
        Stopped: a signal asked for it; what was answered is recorded.
    """
    study = load(config.make.study)
    people = people_of(config.make.source, study, Seeds(config.seed))
    if len(people) < LEAST:
        raise DataError(f"{len(people)} people; at least {LEAST} are needed to learn and to judge")
    device, limit = device_of(config.run.device), config.make.ask.max_usd
    with opened(config.make.lm, max_usd=limit, device=device):
        pass  # an error leaves no run behind
    with Run.create("simulator", study.name, config, config.run, verb="run") as run:
        if run.restore() is not None:
            return run.path
        with (
            opened(config.make.lm, run_folder=run.path, max_usd=limit, device=device) as lm,
            opened_executor(config.workers, config.ray) as executor,
        ):
            train(config, run, study, people, lm, executor)
        return run.path


def play(method: str, config: StudyConfig) -> Path:
    """One run of a grid; returns its directory."""
    del method
    return run_study(config)


def _cohort(path: str) -> Path:
    """A cohort's file, or that of the run in a directory."""
    return Path(path) / COHORT if Path(path).is_dir() else Path(path)


def run_assess(config: AssessConfig) -> Path:
    """Compares a cohort with its reference; returns the report's file."""
    study, cohort = load(config.study), _cohort(config.cohort)
    reference = Path(config.data) if config.data is not None else cohort.parent / REFERENCE
    if config.data is None and not reference.is_file():
        raise DataError(f"{reference}: no reference to compare with; name one with --data")
    made, rng = read(cohort, study), np.random.default_rng(config.seed)
    found = assess(
        read(reference, study), made, study, rng, margin=config.margin, n=config.resamples
    )
    planted = cohort.parent / CANARIES if config.canaries is None else Path(config.canaries)
    if config.canaries is not None or planted.is_file():
        canaries = read(planted, study, least_people=1)
        found.leaks.update(search_run(study, canaries, cohort.parent, made, rng))
    out = cohort.parent / FIDELITY if config.out is None else Path(config.out)
    write_report(out, found.to_json(), describe(found))
    return out
