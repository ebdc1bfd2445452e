"""A search over settings: trials are proposed by Optuna, and made as ordinary runs.

Trials come in generations of as many as there are workers: all are proposed, all are made, all are
told in their order, so that what is found does not depend on who was quick. What a trial is proposed
by follows from the seed, its number, and what was told before. A search that was broken off goes on
with the generation that it was in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.compare.play import CONFIG, play_all
from understudy.compare.roles import place
from understudy.run.cell import Cell
from understudy.run.config import ConfigError, dump
from understudy.run.errors import RunError
from understudy.run.executors import Executor
from understudy.run.fields import flatten
from understudy.run.files import on_disk, replace_file, write_json
from understudy.run.seed import Seeds
from understudy.run.studies import opened_study, optuna_or_error, without_password
from understudy.sweep.config import cell_of, env_key, label, value_text
from understudy.sweep.table import row
from understudy.sweep.tune_config import Span, TuneConfig
from understudy.sweep.tune_table import PROBLEM, ROW, setting_of, write_table

ASKED = "asked.json"
"""The trials of the generation that is being made."""
RECIPE = "recipe"
"""The attribute of a study that says what it searches."""


def search(config: TuneConfig, root: Path, executor: Executor) -> Path:
    """Makes all trials that there are not yet, then the table; returns the table's JSON file.

    Args:
        config: what is searched, and how.
        root: the search's directory, locked by the caller.
        executor: who makes the runs; opened and closed here.

    Raises:
        RunError: the storage cannot be used, it has a search of this name over other settings, or
            no trial came to an end.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    study = _study(config, root)
    with on_disk(root):
        kept = config.storage and without_password(config.storage)
        replace_file(root / CONFIG, dump(replace(config, storage=kept)).encode())
    file = write_table(root, config, study)
    with executor:
        while numbers := _generation(config, root, study, executor.workers):
            _make(config, root, study, numbers, executor)
            file = write_table(root, config, study)
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        raise RunError(f"no trial came to an end; {file.with_suffix('.txt')} says why")
    return file


def _study(config: TuneConfig, root: Path) -> Any:
    study = opened_study(config.storage or f"sqlite:///{root / 'trials.sqlite'}", config.name)
    base = {k: v for k, v in flatten(config.base).items() if k != "seed" and k[:4] != "run."}
    given = {
        "role": config.role, "seeds": config.seeds, "base": base,
        "search": getattr(config, config.role).search,
    }  # fmt: skip
    recipe = json.loads(json.dumps(given))
    before = study.user_attrs.get(RECIPE)
    if before is None:
        study.set_user_attr(RECIPE, recipe)
    elif before != recipe:
        what = next(key for key in recipe if before[key] != recipe[key])
        where = config.storage or root
        raise RunError(
            f"{without_password(str(where))}: the search {config.name!r} has another {what}; "
            "take another --name"
        )
    return study


def _generation(config: TuneConfig, root: Path, study: Any, workers: int) -> list[int]:
    """The trials to be made next: those of a generation that was broken off, or new ones."""
    file, trials = root / ASKED, study.trials
    asked = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    running = [trial.number for trial in trials if trial.state.name == "RUNNING"]
    if left := [number for number in asked if number in running]:
        return left
    if config.storage is None:
        for number in running:  # asked for by a process that died before it had noted it
            study.tell(number, state=optuna_or_error().trial.TrialState.FAIL)
    done = sum(t.state.name == "COMPLETE" or PROBLEM in t.user_attrs for t in trials)
    numbers = [_ask(config, study) for _ in range(min(workers, config.trials - done))]
    write_json(file, numbers)
    return numbers


def _ask(config: TuneConfig, study: Any) -> int:
    """The number of a new trial, its settings proposed."""
    optuna = optuna_or_error()
    trial = study.ask()
    seed = Seeds(config.seed).integer("trial", trial.number) % 2**32
    if config.sampler == "tpe":
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=config.startup)
    else:
        study.sampler = optuna.samplers.RandomSampler(seed=seed)
    for key, values in config.space().items():
        if not isinstance(values, Span):
            trial.suggest_categorical(key, [value_text(value) for value in values])
        elif values.whole:
            step = int(values.step or 1)
            trial.suggest_int(key, values.low, values.high, step=step, log=values.log)
        else:
            trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)
    return int(trial.number)


@dataclass(frozen=True)
class _Trial:
    """One trial of a generation."""

    number: int
    setting: Mapping[str, Any]
    cells: Sequence[Cell]
    """Its runs; none where its settings do not go together."""
    problem: str


def _make(
    config: TuneConfig, root: Path, study: Any, numbers: Sequence[int], executor: Executor
) -> None:
    """Makes all runs of a generation, and tells what came of its trials."""
    trials = [_trial(config, root, study, number) for number in numbers]
    first, last = min(numbers) + 1, max(numbers) + 1
    failures = play_all(
        [cell for trial in trials for cell in trial.cells],
        root,
        executor,
        label=f"tune {config.name}: trials {first} to {last}",
        threads=config.threads,
        progress=config.progress,
    )
    problems = {failure.run: failure.problem for failure in failures}
    for trial in trials:
        paths = [str(place(root, cell)) for cell in trial.cells] if not trial.problem else []
        problem = next((problems[path] for path in paths if path in problems), trial.problem)
        _tell(config, root, study, replace(trial, problem=problem))


def _trial(config: TuneConfig, root: Path, study: Any, number: int) -> _Trial:
    setting = setting_of(config, study.trials[number].params)
    who = f"trial-{number:04d}"
    try:
        cells = [
            cell_of(config.role, config.base, setting, who, seed, str(root))
            for seed in config.seeds
        ]
    except ConfigError as error:
        return _Trial(number, setting, (), str(error))
    return _Trial(number, setting, cells, "")


def _tell(config: TuneConfig, root: Path, study: Any, trial: _Trial) -> None:
    optuna, problem = optuna_or_error(), trial.problem
    handle = optuna.trial.Trial(study, study.trials[trial.number]._trial_id)
    found: dict[str, Any] = {}
    if not problem:
        words = {key: value for key, value in trial.setting.items() if key != env_key(config.role)}
        key = config.role, trial.cells[0].env, f"{trial.number}: {label(_short(words))}"
        found = row(root, key, trial.cells)
        if len(found["runs"]) < len(trial.cells):
            problem = "a run has no held-out figure"
    if problem:
        handle.set_user_attr(PROBLEM, problem)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return
    handle.set_user_attr(ROW, found)
    mean = found["mean"]["value"]
    study.tell(trial.number, mean if found["higher_is_better"] else -mean)


def _short(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in setting.items()}
