"""Tuning: chosen by validation people, pruned, stored, resumed."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.ope_coverage import GAMMA, NEAR, simulate, truth

from understudy.roles.simulator.offline import tune as module
from understudy.roles.simulator.offline.config import LearnConfig, OfflineError, TuneConfig
from understudy.roles.simulator.offline.tune import score, tune
from understudy.run.errors import RunError
from understudy.run.studies import opened_study

TRAIN, VALIDATION = simulate(80, np.random.default_rng(0)).split(np.random.default_rng(1), 0.4)
BASE = LearnConfig(gamma=GAMMA, steps=40, target_rate=0.2)
SEARCH = TuneConfig(trials=3, checks=2, startup=2, hidden=(8, 16), batch=(16,))


def test_nobody_is_in_both_sets(tmp_path):
    with pytest.raises(OfflineError, match=r"'p\d+' is both learnt from and chosen by"):
        tune(TRAIN, TRAIN, BASE, SEARCH, 0, f"sqlite:///{tmp_path}/s.db")


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RunError, match=r"pip install understudy\[optuna\]"):
        tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"sqlite:///{tmp_path}/s.db")


def test_the_score_is_the_value_on_the_people_given():
    many = simulate(1500, np.random.default_rng(2))
    assert score(NEAR, many, GAMMA, 1e-3) == pytest.approx(truth(NEAR.table), abs=0.15)


def test_impossible_searches():
    with pytest.raises(OfflineError, match=r"learning_rate is searched from 0\.1 to 0\.01"):
        TuneConfig(learning_rate=(0.1, 0.01))
    with pytest.raises(OfflineError, match="trials is -1"):
        TuneConfig(trials=-1)


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_search_is_stored_resumed_and_repeatable(tmp_path):
    pytest.importorskip("optuna")
    first = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"sqlite:///{tmp_path}/a.db")
    assert first.trials == 3
    assert first.config.hidden in (8, 16)
    assert (first.config.gamma, first.config.steps) == (GAMMA, 40)
    again = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"sqlite:///{tmp_path}/a.db")
    assert again == first  # nothing left to do
    fresh = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"sqlite:///{tmp_path}/b.db")
    assert fresh == first
    more = TuneConfig(**{**SEARCH.__dict__, "trials": 5})
    resumed = tune(TRAIN, VALIDATION, BASE, more, 0, f"sqlite:///{tmp_path}/a.db")
    assert resumed.trials == 5
    assert resumed.score >= first.score
    (study,) = studies(f"sqlite:///{tmp_path}/a.db")
    assert len({tuple(sorted(t.params.items())) for t in study.trials}) == 5
    # A search that was broken off is the one that was not.
    assert tune(TRAIN, VALIDATION, BASE, more, 0, f"sqlite:///{tmp_path}/c.db") == resumed


def studies(storage: str) -> list:
    optuna = pytest.importorskip("optuna")
    kept = opened_study(storage, "another")._storage
    names = [s.study_name for s in optuna.get_all_study_summaries(kept)]
    return [optuna.load_study(study_name=n, storage=kept) for n in names if n != "another"]


JOIN = """
import sys
from dataclasses import replace
from tests.roles.simulator.test_tune import BASE, SEARCH, TRAIN, VALIDATION
from understudy.roles.simulator.offline.tune import tune

print("ready", flush=True)
sys.stdin.readline()
print(tune(TRAIN, VALIDATION, BASE, replace(SEARCH, trials=6), 0, sys.argv[1]).trials)
"""


@pytest.mark.parametrize("storage", ["sqlite:///{}/a.db", "{}/journal/a.log"])
def test_two_processes_search_together(storage: str, tmp_path):
    pytest.importorskip("optuna")
    place = storage.format(tmp_path)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN, place], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]  # fmt: skip
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    told = [int(one.communicate("go\n", timeout=120)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    (study,) = studies(place)
    assert all(6 <= number <= 7 for number in told)
    assert len(study.trials) == max(told)
    assert len({tuple(t.params.values()) for t in study.trials}) == max(told)


@pytest.mark.parametrize("storage", ["sqlite:///{}/a.db", "{}/a.log"])
def test_nobody_waits_for_a_trial_whose_process_died(storage: str, tmp_path):
    pytest.importorskip("optuna")
    place = storage.format(tmp_path)
    tune(TRAIN, VALIDATION, BASE, replace(SEARCH, trials=1), 0, place)
    (study,) = studies(place)
    study.ask()  # and nothing more is heard of it
    found = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, place)
    assert found.trials == 3
    (study,) = studies(place)
    assert [t.state.name for t in study.trials].count("RUNNING") == 1


def test_a_setting_that_fails_stops_no_other(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    whole, calls = module.learn, [0]

    def learn(*args, **more):
        calls[0] += 1
        if calls[0] in fails:
            raise OfflineError("the training diverged")
        return whole(*args, **more)

    monkeypatch.setattr(module, "learn", learn)
    fails = [2]
    assert tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"{tmp_path}/a.log").trials == 3
    assert calls == [3]
    fails = range(100)
    with pytest.raises(OfflineError, match="none of 3 settings came to an end; the first: the tr"):
        tune(TRAIN, VALIDATION, BASE, SEARCH, 0, f"{tmp_path}/b.log")


def test_storages_that_cannot_be_opened_are_said(tmp_path):
    pytest.importorskip("optuna")
    for storage, words in {
        "postgresql+nothing://u:secret@h/d": r"^postgresql\+nothing://u:\*\*\*@h/d: .*",
        f"sqlite:///{tmp_path}/none/a.db": "a.db: the storage cannot be opened: .*unable to open",
    }.items():
        with pytest.raises(RunError, match=words) as told:
            tune(TRAIN, VALIDATION, BASE, SEARCH, 0, storage)
        assert "secret" not in str(told.value)
