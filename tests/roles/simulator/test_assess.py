"""The fidelity report: equal truths pass, everything else fails where it should."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from understudy.data.cohort import write_cohort
from understudy.data.jsonl import DataError
from understudy.envs.study.declare import StudyError
from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import PARAMETERS
from understudy.ops.cohort import Cohort
from understudy.roles.simulator.assess import Fidelity, assess
from understudy.roles.simulator.baselines import resampled_days, simulate
from understudy.roles.simulator.cohorts import generate_truth, layout, profile, read
from understudy.roles.simulator.describe import describe

STUDY = load("low-mood")
STEPS = load(Path(__file__).parents[2] / "envs" / "study" / "steps.toml")


@cache
def truth(name: str, seed: int) -> Cohort:
    return generate_truth(STUDY, PARAMETERS[name], 100, uniform(STUDY), seed)


@cache
def report(name: str) -> Fidelity:
    rng = np.random.default_rng(0)
    real = truth("responsive", 1)
    made = {
        "truth": lambda: truth("responsive", 2),
        "indifferent": lambda: truth("indifferent", 3),
        "days": lambda: resampled_days(STUDY, real, 100, rng),
        "copula": lambda: simulate(STUDY, profile(real, STUDY), "copula", uniform(STUDY), 100, rng),
        "copy": lambda: real,
    }[name]()
    return assess(real, made, STUDY, np.random.default_rng(5), n=200)


def test_two_cohorts_of_one_truth_cannot_be_told_apart():
    found = report("truth")
    assert found.valid == 1
    assert found.coverage >= 0.98
    for name, variable in found.variables.items():
        assert variable.compared.distances["ks"].ratio <= 1, name
        assert variable.p_differs > 0.05, name
        assert variable.p_equivalent < 0.05, name
    assert found.discriminator.auc.low < 0.5 < found.discriminator.auc.high
    assert sum(s.inside for s in found.statistics) / len(found.statistics) > 0.7
    assert min(found.effect_p) > 0.05
    assert found.leaks["copied 6 rows"] < 0.01


def test_people_who_do_not_respond_are_found_out():
    found = report("indifferent")
    effects = {
        (e.measure, e.action): (e, p) for e, p in zip(found.effects, found.effect_p, strict=True)
    }
    effect, p = effects["numberRating.new", "encouraging"]
    assert effect.real.low > 0.4
    assert 0 in effect.synthetic
    assert not effect.inside
    assert p < 1e-6
    assert found.discriminator.auc.low > 0.8


def test_days_of_anybody_have_no_people():
    """The original's fault, and that of every simulator without personas: its marginals are right."""
    found = report("days")
    assert all(v.compared.distances["ks"].ratio <= 1 for v in found.variables.values())
    spread = next(
        s for s in found.statistics if (s.measure, s.statistic) == ("ratings.mean", "between_sd")
    )
    assert spread.synthetic.value < spread.real.low / 1.5
    assert found.discriminator.auc.low > 0.8
    # Whole people: their means and spreads, where 1 is equal.
    same = report("truth").series
    assert all(0.75 < value <= 1 for value in same.values())
    assert found.series["ratings.mean means"] < same["ratings.mean means"] - 0.1


def test_the_copula_is_told_apart():
    found = report("copula")
    assert found.discriminator.auc.low > 0.8
    assert found.variables["medianRating"].compared.distances["ks"].value < 0.2
    carry = next(
        s for s in found.statistics if (s.measure, s.statistic) == ("ratings.mean", "carry")
    )
    assert not carry.inside


def test_a_copy_is_a_leak():
    found = report("copy")
    assert found.leaks["copied 12 rows"] == 1
    assert found.leaks["expected of 12 rows"] < 0.05
    assert found.leaks["nearest real person"] == 0
    assert found.variables["numberRating"].compared.distances["w1"].value == 0


def test_responses_in_one_number():
    """Equal truths are within noise, people who do not respond are far off."""
    same, other = report("truth").responses, report("indifferent").responses
    assert same[0] < 1.2 * same[1]
    assert other[0] > 2 * other[1]
    assert same[1] == pytest.approx(other[1], rel=0.1)  # the floor is the reference's own


def test_people_who_never_say_anything_are_no_crash():
    real = truth("fragile", 1)
    empty = {k: 0 * v for k, v in real.columns.items()}
    empty |= {k: real[k] for k in ("day_no", "day_part_x")}
    empty["ratings"] = np.full_like(real["ratings"], np.nan)
    found = assess(real, real.with_columns(**empty), STUDY, np.random.default_rng(0), n=30)
    back = assess(real.with_columns(**empty), real, STUDY, np.random.default_rng(0), n=30)
    for one in (found, back):
        json.dumps(one.to_json(), allow_nan=False)
        describe(one)
    assert found.discriminator.auc.value > 0.95
    assert found.variables["numberRating"].compared.distances["ks"].ratio > 3
    assert back.variables["numberRating"].compared.distances["ks"].ratio == np.inf


def test_broken_rules_are_counted():
    real = truth("responsive", 1)
    read_too_much = real["numberMessageRead"].copy()
    read_too_much[::100] = real["numberMessageReceived"][::100] + 1
    made = real.with_columns(numberMessageRead=read_too_much)
    found = assess(real, made, STUDY, np.random.default_rng(0), n=50)
    assert found.rules["numberMessageRead is at most numberMessageReceived"][1] == pytest.approx(
        0.99, abs=1e-3
    )
    assert found.valid < 1
    assert "not so that numberMessageRead is at most numberMessageReceived" in describe(found)


def test_the_report_as_json_and_text():
    found = report("truth")
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["variables"]["numberRating"]["compared"]["distances"]["ks"]["ratio"] > 0
    assert told["discriminator"]["auc"]["value"] == found.discriminator.auc.value
    assert len(told["curves"][0]) == 30
    text = describe(found)
    assert "within 1.5 times the noise floor: 13 of 13" in text
    assert "discriminator: AUC 0." in text


def test_the_same_seed_is_the_same_report():
    a, b = (
        assess(truth("diverse", 1), truth("diverse", 2), STUDY, np.random.default_rng(9), n=30)
        for _ in range(2)
    )
    assert a.to_json() == b.to_json()


def test_raw_reports_are_not_needed(tmp_path: Path):
    """Real files have the day's totals only: ratings are recovered, or their measure left out."""
    real, made = truth("fragile", 1), truth("fragile", 2)
    bare = Cohort(
        real.people,
        real.lengths,
        {k: v for k, v in real.columns.items() if k not in ("ratings", "read")},
    )
    write_cohort(tmp_path / "real.csv", bare, layout(STUDY))
    again = read(tmp_path / "real.csv", STUDY)
    assert np.nanmean(again["ratings"]) == pytest.approx(np.nanmean(real["ratings"]), abs=0.02)
    for cohort, there in ((again, True), (bare, False)):
        found = assess(cohort, made, STUDY, np.random.default_rng(0), n=30)
        assert any(e.measure == "ratings.mean" for e in found.effects) == there
        assert any(e.measure == "numberRating.new" for e in found.effects)


def test_a_file_that_breaks_rules_is_read_and_told(tmp_path: Path):
    """As the original's data with eight ratings on one day, where seven are allowed."""
    real = truth("fragile", 1)
    many = real["numberRating"].copy()
    many[2] = 8
    write_cohort(tmp_path / "many.csv", real.with_columns(numberRating=many), layout(STUDY))
    found = assess(real, read(tmp_path / "many.csv", STUDY), STUDY, np.random.default_rng(0), n=30)
    assert found.rules["numberRating is in its range"] == (1.0, 1 - 1 / real.rows)
    assert found.rules["the reward is what the study says"][1] < 1
    assert found.variables["numberRating"].cat == 9 / 8
    assert found.variables["numberRating"].coverage == 1


def test_one_patient_is_told_in_a_line(tmp_path: Path):
    write_cohort(tmp_path / "one.csv", truth("fragile", 1).take([0]), layout(STUDY))
    with pytest.raises(DataError, match=r"one.csv: has 1 person \(truth-0\); at least 2"):
        read(tmp_path / "one.csv", STUDY)
    with pytest.raises(StudyError, match="3 real and 100 synthetic people; at least 4 and 2"):
        assess(
            truth("fragile", 1).take([0, 1, 2]),
            truth("fragile", 1),
            STUDY,
            np.random.default_rng(0),
        )


def test_another_study():
    real, made = (
        generate_truth(STEPS, PARAMETERS["responsive"], 30, uniform(STEPS), s) for s in (1, 2)
    )
    found = assess(real, made, STEPS, np.random.default_rng(0), n=50)
    assert found.valid == 1
    assert found.staying.value == 0
    assert {e.action for e in found.effects} == {"goal", "praise"}
    assert found.variables["stepsToday"].coverage is None
    json.dumps(found.to_json(), allow_nan=False)
    describe(found)


def test_truth_is_reproducible():
    again = generate_truth(STUDY, PARAMETERS["diverse"], 100, uniform(STUDY), 1)
    for name, column in truth("diverse", 1).columns.items():
        np.testing.assert_array_equal(column, again[name])
