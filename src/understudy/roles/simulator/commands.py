"""What the command line runs for the simulator role."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from understudy.data.cohort import write_cohort
from understudy.data.jsonl import DataError
from understudy.envs.study.lines import Lines
from understudy.envs.study.load import load
from understudy.lm.open import opened
from understudy.roles.simulator.assess import assess
from understudy.roles.simulator.cohorts import layout, profile, read
from understudy.roles.simulator.config import AssessConfig, GenerateConfig, ProfileConfig
from understudy.roles.simulator.describe import describe
from understudy.roles.simulator.generate import (
    COHORT,
    PROFILE,
    REFERENCE,
    generate,
    is_short,
    source_of,
    write_profile,
)
from understudy.run.files import on_disk, replace_file
from understudy.run.run import Run
from understudy.run.seed import Seeds

FIDELITY = "fidelity.json"


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
    study = load(config.study)
    if is_short(config):
        Lines(study)
    reference, told = source_of(config.source, study, Seeds(config.seed))
    with opened(config.lm, max_usd=config.ask.max_usd):
        pass  # an error leaves no run behind
    with Run.create("simulator", study.name, config, config.run, verb="generate") as run:
        write_profile(run.path / PROFILE, told)
        if reference is not None and config.source.data is None:
            write_cohort(run.path / REFERENCE, reference, layout(study))
        with opened(config.lm, run_folder=run.path, max_usd=config.ask.max_usd) as lm:
            generate(config, study, told, lm, run)
        return run.path


def run_assess(config: AssessConfig) -> Path:
    """Compares a cohort with its reference; returns the report's file."""
    study, given = load(config.study), Path(config.cohort)
    cohort = given / COHORT if given.is_dir() else given
    reference = Path(config.data) if config.data is not None else cohort.parent / REFERENCE
    if not reference.is_file():
        raise DataError(f"{reference}: no reference to compare with; name one with --data")
    found = assess(
        read(reference, study), read(cohort, study), study, np.random.default_rng(config.seed),
        margin=config.margin, n=config.resamples,
    )  # fmt: skip
    out = cohort.parent / FIDELITY if config.out is None else Path(config.out)
    with on_disk(out):
        replace_file(out, (json.dumps(found.to_json(), indent=1) + "\n").encode())
        replace_file(out.with_suffix(".txt"), describe(found).encode())
    return out
