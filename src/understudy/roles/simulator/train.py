"""The whole simulator role, top to bottom: `understudy simulator run`.

Real people are split in two. Of the first part only aggregates are told; a model plays a cohort from
them, baselines make cohorts from the same, and all are compared with that part. Policies are learnt
from the first part, from the cohort, and from both, and judged by the second part, of whom nothing
was learnt. Where the people are of known truth, the policies are also played, and the verdict can be
seen to be right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.data.cohort import write_cohort
from understudy.data.transitions import merge
from understudy.envs.study.declare import Study
from understudy.envs.study.truth import parameters
from understudy.lm.base import ChatLM
from understudy.ops.cohort import Cohort
from understudy.roles.simulator.assess import Fidelity
from understudy.roles.simulator.canaries import search_run
from understudy.roles.simulator.cohorts import layout
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.simulator.describe import describe
from understudy.roles.simulator.generate import finish, generate, last_step, told_of, write_told
from understudy.roles.simulator.offline.judge import comparators, evaluate
from understudy.roles.simulator.offline.policies import Learned, Policy
from understudy.roles.simulator.offline.verdict import Verdict
from understudy.roles.simulator.shared import Baseline, Lesson, Likeness, Worth, done
from understudy.roles.simulator.transitions import offline_of, split
from understudy.run.executors import HERE, Executor
from understudy.run.files import on_disk, replace_file, write_json
from understudy.run.run import Run

BASELINES = {"markov": "markov", "copula": "copula", "resampled days": "days"}
"""What a cohort of a model stands beside, and how it is made."""
KNOWN, UNSEEN = "reference.csv", "test.csv"
FIDELITY, VERDICT, TRUTH = "fidelity.json", "verdict.json", "truth.json"
PEOPLE = "language model"


def train(
    config: StudyConfig,
    run: Run,
    study: Study,
    people: Cohort,
    lm: ChatLM,
    executor: Executor = HERE,
) -> None:
    """Everything above, written to the run's directory.

    Args:
        config: the settings.
        run: where; a stopped run goes on from the model's recorded answers.
        study: what the people take part in.
        people: the real ones, or those of known truth.
        lm: who plays.
        executor: who does what can be divided (see `shared`); nothing depends on it.
    """
    known, unseen = split(people, config.test, run.seeds.generator("split"))
    for name, part in ((KNOWN, known), (UNSEEN, unseen)):
        write_cohort(run.path / name, part, layout(study))
    told, canaries = told_of(known, config.make.source, study, run.seeds)
    write_told(run, study, told, canaries)
    made = generate(replace(config.make, seed=config.seed), study, told, lm, run)
    if made is None:
        return
    cohorts: dict[str, Cohort | Baseline] = {PEOPLE: made}
    for name, how in BASELINES.items():
        cohorts[name] = Baseline(study, known, told, how, config.make.people, run.seeds)
    likenesses = [
        Likeness(study, known, cohort, name, run.seeds, config.margin, config.resamples)
        for name, cohort in cohorts.items()
    ]
    lessons = _lessons(config, run, study, known, made)
    answers = done(executor, [*lessons, *likenesses])
    policies = [Learned.load(file) for file in answers[: len(lessons)]]
    reports: dict[str, Fidelity] = dict(zip(cohorts, answers[len(lessons) :], strict=True))
    if canaries is not None:
        rng = run.seeds.generator("canary search")
        reports[PEOPLE].leaks.update(search_run(study, canaries, run.path, made, rng))
    test = offline_of(study, unseen, "original")
    names = [action.name for action in study.actions]
    judged: list[Policy] = [*policies, *comparators(test, names)]
    verdict = evaluate(test, judged, config.judge, run.seeds.generator("judge"), executor)
    truth = _truth(config, run, study, judged, executor)
    _write(run, reports, verdict, truth)
    values = {f"value/{j.name}": j.values[verdict.primary].value for j in verdict.policies}
    finish(run, last_step(study, config.make), values)


def _lessons(
    config: StudyConfig, run: Run, study: Study, known: Cohort, made: Cohort
) -> list[Lesson]:
    """Policies from the people themselves, from the cohort, and from both."""
    original, synthetic = offline_of(study, known, "original"), offline_of(study, made, "synthetic")
    sets = {"original": original, "synthetic": synthetic, "merged": merge(original, synthetic)}
    return [
        Lesson(data, config.learn, name, run.seeds, _file(run, name)) for name, data in sets.items()
    ]


def _file(run: Run, name: str) -> Path:
    return run.path / f"policy-{name}.safetensors"


def _truth(
    config: StudyConfig, run: Run, study: Study, policies: Sequence[Policy], executor: Executor
) -> dict[str, tuple[float, float]] | None:
    """What each policy is worth, where that can be known: value and standard error."""
    if config.make.source.data is not None:
        return None
    given = parameters(config.make.source.truth)
    worths = [
        Worth(
            study, given, _file(run, policy.name) if isinstance(policy, Learned) else policy,
            config.true_people, config.judge.gamma, run.seeds,
        )
        for policy in policies
    ]  # fmt: skip
    return dict(zip((policy.name for policy in policies), done(executor, worths), strict=True))


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
