"""Ratings from a day's totals: those that were rated, wherever the totals leave one list only."""

from pathlib import Path

import numpy as np
import pytest

from understudy.envs.study.course import derive
from understudy.envs.study.load import load
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.recover import recover
from understudy.envs.study.truth import PARAMETERS, Truth
from understudy.ops.cohort import Cohort

STUDY = load("low-mood")


def bare(cohort: Cohort) -> Cohort:
    return Cohort(
        cohort.people, cohort.lengths, {k: v for k, v in cohort.columns.items() if k != "ratings"}
    )


def test_what_was_rated_is_found_again():
    rng = np.random.default_rng(0)
    real = play(STUDY, Truth(STUDY, PARAMETERS["diverse"], 30, rng), uniform(STUDY), 30, rng)
    found, shares = recover(STUDY, bare(real))
    same = (np.sort(found["ratings"], axis=1) == np.sort(real["ratings"], axis=1)) | np.isnan(
        found["ratings"]
    )
    count = (~np.isnan(found["ratings"])).sum(axis=1) == (~np.isnan(real["ratings"])).sum(axis=1)
    assert count.all()
    assert shares["ratings"] > 0.9
    assert (same.all(axis=1)).mean() >= shares["ratings"]


def test_what_is_found_has_the_days_totals():
    rng = np.random.default_rng(1)
    real = play(STUDY, Truth(STUDY, PARAMETERS["responsive"], 8, rng), uniform(STUDY), 8, rng)
    found, _ = recover(STUDY, bare(real))
    evening = np.flatnonzero(real["day_part_x"] == 2)
    day = np.concatenate([found["ratings"][evening - back] for back in (2, 1, 0)], axis=1)
    derived = derive(
        STUDY, {"ratings": day, "read": np.full((len(day), 1), np.nan)}, np.zeros(len(day))
    )
    for name in ("numberRating", "medianRating", "sdRating", "lowestRating", "numberHighRating"):
        np.testing.assert_allclose(derived[name], real[name][evening])


def test_rounded_files_and_days_that_contradict_themselves():
    rng = np.random.default_rng(2)
    real = play(STUDY, Truth(STUDY, PARAMETERS["responsive"], 4, rng), uniform(STUDY), 4, rng)
    rounded = bare(real).with_columns(sdRating=np.round(real["sdRating"], 4))
    assert recover(STUDY, rounded)[1] == recover(STUDY, bare(real))[1]
    broken = real["numberRating"].copy()
    row = int(np.flatnonzero(real["numberRating"] == 2)[0])
    broken[row] = 6  # two ratings' extremes and counts of levels, but six of them
    found, shares = recover(STUDY, bare(real).with_columns(numberRating=broken))
    assert np.isnan(found["ratings"][row]).all()
    assert shares["ratings"] < 1


def test_what_is_there_is_left_alone():
    rng = np.random.default_rng(3)
    real = play(STUDY, Truth(STUDY, PARAMETERS["responsive"], 3, rng), uniform(STUDY), 3, rng)
    found, shares = recover(STUDY, real)
    assert found is real
    assert shares == {}
    steps = load(Path(__file__).with_name("steps.toml"))
    walked = play(steps, Truth(steps, PARAMETERS["responsive"], 3, rng), uniform(steps), 3, rng)
    assert recover(steps, walked)[1] == {}


@pytest.mark.parametrize("values", [[4.0], [1.0, 7.0], [2.0, 2.0, 6.0]])
def test_by_hand(values: list[float]):
    """One person's one morning, from its totals alone."""
    padded = np.full((2, 7), np.nan)
    padded[:, : len(values)] = values
    derived = derive(STUDY, {"ratings": padded, "read": np.full((2, 1), np.nan)}, np.zeros(2))
    names = {"day_no": np.zeros(2), "day_part_x": np.zeros(2), "action": np.zeros(2)}
    cohort = Cohort(("a", "b"), np.array([1, 1]), {**names, **derived})
    found, shares = recover(STUDY, cohort)
    assert shares == {"ratings": 1.0}
    assert sorted(found["ratings"][1][~np.isnan(found["ratings"][1])].tolist()) == values
