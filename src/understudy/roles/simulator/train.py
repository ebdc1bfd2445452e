"""The whole simulator role, top to bottom: `understudy simulator run`.

Real people are split in two. Of the first part only aggregates are told; a model plays a cohort from
them, baselines make cohorts from the same, and all are compared with that part. Policies are learnt
from the first part, from the cohort, and from both, and judged by the second part, of whom nothing
was learnt. Where the people are of known truth, the policies are also played, and the verdict can be
seen to be right or wrong.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.cohort import write_cohort
from understudy.data.transitions import merge
from understudy.envs.study.declare import Study
from understudy.envs.study.policies import true_value, uniform
from understudy.envs.study.truth import parameters
from understudy.lm.base import ChatLM
from understudy.ops.cohort import Cohort
from understudy.roles.simulator.assess import Fidelity, assess
from understudy.roles.simulator.baselines import resampled_days, simulate
from understudy.roles.simulator.canaries import search_run
from understudy.roles.simulator.cohorts import layout
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.simulator.describe import describe
from understudy.roles.simulator.generate import finish, generate, last_step, told_of, write_told
from understudy.roles.simulator.offline.judge import comparators, evaluate
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.offline.policies import Policy
from understudy.roles.simulator.offline.verdict import Verdict
from understudy.roles.simulator.transitions import offline_of, split
from understudy.run.files import on_disk, replace_file, write_json
from understudy.run.run import Run

KNOWN, UNSEEN = "reference.csv", "test.csv"
FIDELITY, VERDICT, TRUTH = "fidelity.json", "verdict.json", "truth.json"
PEOPLE = "language model"


def train(config: StudyConfig, run: Run, study: Study, people: Cohort, lm: ChatLM) -> None:
    """Everything above, written to the run's directory.

    Args:
        config: the settings.
        run: where; a stopped run goes on from the model's recorded answers.
        study: what the people take part in.
        people: the real ones, or those of known truth.
        lm: who plays.
    """
    known, unseen = split(people, config.test, run.seeds.generator("split"))
    for name, part in ((KNOWN, known), (UNSEEN, unseen)):
        write_cohort(run.path / name, part, layout(study))
    told, canaries = told_of(known, config.make.source, study, run.seeds)
    write_told(run, study, told, canaries)
    made = generate(replace(config.make, seed=config.seed), study, told, lm, run)
    if made is None:
        return
    others = {
        how: simulate(
            study,
            told,
            how,
            uniform(study),
            config.make.people,
            run.seeds.generator("baseline", how),
        )
        for how in ("markov", "copula")
    }
    others["resampled days"] = resampled_days(
        study, known, config.make.people, run.seeds.generator("baseline", "days")
    )
    reports = {
        name: assess(known, cohort, study, run.seeds.generator("assess", name),
                     margin=config.margin, n=config.resamples)
        for name, cohort in {PEOPLE: made, **others}.items()
    }  # fmt: skip
    if canaries is not None:
        rng = run.seeds.generator("canary search")
        reports[PEOPLE].leaks.update(search_run(study, canaries, run.path, made, rng))
    policies = _learn(config, run, study, known, made)
    test = offline_of(study, unseen, "original")
    names = [action.name for action in study.actions]
    judged: list[Policy] = [*policies, *comparators(test, names)]
    verdict = evaluate(test, judged, config.judge, run.seeds.generator("judge"))
    truth = _truth(config, run, study, judged)
    _write(run, reports, verdict, truth)
    values = {f"value/{j.name}": j.values[verdict.primary].value for j in verdict.policies}
    finish(run, last_step(study, config.make), values)


def _learn(
    config: StudyConfig, run: Run, study: Study, known: Cohort, made: Cohort
) -> list[Policy]:
    """Policies from the people themselves, from the cohort, and from both."""
    original, synthetic = offline_of(study, known, "original"), offline_of(study, made, "synthetic")
    sets = {"original": original, "synthetic": synthetic, "merged": merge(original, synthetic)}
    found: list[Policy] = []
    for name, data in sets.items():
        policy = learn(data, config.learn, run.seeds.generator("learn", name), name=name)
        policy.save(run.path / f"policy-{name}.safetensors")
        found.append(policy)
    return found


def _truth(
    config: StudyConfig, run: Run, study: Study, policies: list[Policy]
) -> dict[str, tuple[float, float]] | None:
    """What each policy is worth, where that can be known: value and standard error."""
    if config.make.source.data is not None:
        return None
    given = parameters(config.make.source.truth)
    seed = run.seeds.integer("true value")
    return {
        policy.name: true_value(
            study, given, policy.probabilities, config.true_people, np.random.default_rng(seed),
            config.judge.gamma,
        )
        for policy in policies
    }  # fmt: skip


def _write(
    run: Run, reports: dict[str, Fidelity], verdict: Verdict,
    truth: dict[str, tuple[float, float]] | None,
) -> None:  # fmt: skip
    told = {name: report.to_json() for name, report in reports.items()}
    lines = [f"==== {name}\n\n{describe(report)}" for name, report in reports.items()]
    write_report(run.path / FIDELITY, told, "\n".join(lines))
    write_report(run.path / VERDICT, verdict.to_json(), verdict.table() + "\n")
    if truth is not None:
        write_json(run.path / TRUTH, truth)


def write_report(path: Path, told: Any, text: str) -> None:
    """A report as JSON, and as text beside it."""
    write_json(path, told)
    with on_disk(path):
        replace_file(path.with_suffix(".txt"), text.encode())
