"""Tuning: chosen by validation people, pruned, stored, resumed."""

import importlib

import numpy as np
import pytest
from benchmarks.ope_coverage import GAMMA, NEAR, simulate, truth

from understudy.roles.simulator.offline.config import LearnConfig, OfflineError
from understudy.roles.simulator.offline.tune import TuneConfig, score, tune

TRAIN, VALIDATION = simulate(80, np.random.default_rng(0)).split(np.random.default_rng(1), 0.4)
BASE = LearnConfig(gamma=GAMMA, steps=40, target_rate=0.2)
SEARCH = TuneConfig(trials=3, checks=2, startup=2, hidden=(8, 16), batch=(16,))


def test_nobody_is_in_both_sets(tmp_path):
    with pytest.raises(OfflineError, match=r"'p\d+' is both learnt from and chosen by"):
        tune(TRAIN, TRAIN, BASE, SEARCH, 0, tmp_path / "s.db")


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OfflineError, match=r"pip install understudy\[optuna\]"):
        tune(TRAIN, VALIDATION, BASE, SEARCH, 0, tmp_path / "s.db")


def test_the_score_is_the_value_on_the_people_given():
    many = simulate(1500, np.random.default_rng(2))
    assert score(NEAR, many, GAMMA, 1e-3) == pytest.approx(truth(NEAR.table), abs=0.15)


def test_impossible_searches():
    with pytest.raises(OfflineError, match=r"learning_rate is searched from 0\.1 to 0\.01"):
        TuneConfig(learning_rate=(0.1, 0.01))
    with pytest.raises(OfflineError, match="trials is 0"):
        TuneConfig(trials=0)


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_search_is_stored_resumed_and_repeatable(tmp_path):
    optuna = pytest.importorskip("optuna")
    first = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, tmp_path / "a.db")
    assert first.trials == 3
    assert first.config.hidden in (8, 16)
    assert (first.config.gamma, first.config.steps) == (GAMMA, 40)
    again = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, tmp_path / "a.db")
    assert again == first  # nothing left to do
    fresh = tune(TRAIN, VALIDATION, BASE, SEARCH, 0, tmp_path / "b.db")
    assert fresh == first
    more = TuneConfig(**{**SEARCH.__dict__, "trials": 5})
    resumed = tune(TRAIN, VALIDATION, BASE, more, 0, tmp_path / "a.db")
    assert resumed.trials == 5
    assert resumed.score >= first.score
    study = optuna.load_study(study_name=f"ddqn-{GAMMA}", storage=f"sqlite:///{tmp_path / 'a.db'}")
    assert len({tuple(sorted(t.params.items())) for t in study.trials}) == 5
