"""Derived variables, caps and decision-time states, by hand and against people who are played."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.envs.study.course import Course, derive, rewards, states
from understudy.envs.study.load import load
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import follows, rules
from understudy.envs.study.truth import PARAMETERS, Truth

LOW_MOOD = load("low-mood")
STEPS = load(Path(__file__).with_name("steps.toml"))
NAN = np.nan


def report(ratings: list[float], read: int) -> dict[str, np.ndarray]:
    return {"ratings": np.array([ratings or [NAN]], float), "read": np.array([float(read)])}


def take(course: Course, action: int, ratings: list[float], read: int, leaving: bool = False):
    return course.step(np.array([action]), report(ratings, read), np.array([leaving]))


def test_derived_variables_by_hand():
    values = {
        "ratings": np.array([[2.0, 7, 3, 6, NAN, NAN, NAN]]),
        "read": np.array([[1.0, 1, NAN]]),
    }
    found = {k: float(v[0]) for k, v in derive(LOW_MOOD, values, np.array([2.0])).items()}
    assert found == {
        "numberRating": 4,
        "highestRating": 7,
        "lowestRating": 2,
        "medianRating": 4.5,
        "sdRating": pytest.approx(np.sqrt(17 / 4)),  # mean 4.5: 6.25 + 6.25 + 2.25 + 2.25 = 17
        "numberLowRating": 1,
        "numberMediumRating": 1,
        "numberHighRating": 2,
        "numberMessageReceived": 2,
        "numberMessageRead": 2,
        "readAllMessage": 1,
    }


def test_nothing_reported_is_zero_everywhere():
    values = {"ratings": np.full((1, 7), NAN), "read": np.full((1, 3), NAN)}
    assert not any(float(v[0]) for v in derive(LOW_MOOD, values, np.zeros(1)).values())


@given(st.lists(st.integers(1, 7), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_order_statistics_equal_numpys(ratings: list[int]):
    padded = np.full((1, 7), NAN)
    padded[0, : len(ratings)] = ratings
    found = derive(LOW_MOOD, {"ratings": padded, "read": np.full((1, 3), NAN)}, np.zeros(1))
    assert found["medianRating"][0] == np.median(ratings)
    assert found["sdRating"][0] == pytest.approx(np.std(ratings))
    assert (found["lowestRating"][0], found["highestRating"][0]) == (min(ratings), max(ratings))


def test_the_reward_of_the_original_study():
    """0.5 · read / received (0 of 0: 0) + 0.5 · ratings of the day so far."""
    derived = {
        "numberMessageRead": np.array([0.0, 1, 2]),
        "numberMessageReceived": np.array([0.0, 2, 2]),
        "numberRating": np.array([3.0, 0, 7]),
    }
    assert rewards(LOW_MOOD, derived).tolist() == [1.5, 0.25, 4.0]


def test_a_day_and_the_next():
    course = Course(LOW_MOOD, 1)
    names = [name for name, _, _ in LOW_MOOD.features()]

    def state() -> dict[str, float]:
        return dict(zip(names, course.memory.state()[0].tolist(), strict=True))

    assert state()["since.numberRating"] == 1  # never: one more than the days so far
    assert take(course, 1, [3, 5], 1).rewards[0] == 0.5 + 1.0
    assert state()["part=afternoon"] == 1
    assert state()["numberRating"] == 2
    assert state()["action-1=encouraging"] == 1
    assert take(course, 0, [], 0).rewards[0] == 0.5 + 1.0
    assert take(course, 2, [7], 0).rewards[0] == 0.25 + 1.5
    after = state()
    assert (after["day"], after["part=morning"]) == (1, 1)
    assert after["numberRating"] == after["numberMessageReceived"] == after["sdRating"] == 0
    assert after["yesterday.numberRating"] == 3
    assert after["yesterday.medianRating"] == 5
    assert after["yesterday.numberMessageReceived"] == 2
    assert after["since.numberRating"] == 1  # yesterday
    assert after["action-1=informing"] == 1
    for _ in range(3):
        take(course, 0, [], 0)
    assert state()["since.numberRating"] == 2
    assert state()["yesterday.numberRating"] == 0


def test_caps_hold_across_fields():
    course = Course(LOW_MOOD, 1)
    caps = course.caps(np.array([0]))
    assert (caps["read"].high[0], caps["ratings"].most[0]) == (0, 7)  # nothing to read yet
    assert course.caps(np.array([3]))["read"].high[0] == 1
    take(course, 3, [1, 2, 3, 4], 0)
    caps = course.caps(np.array([1]))
    assert (caps["read"].high[0], caps["ratings"].most[0]) == (2, 3)
    with pytest.raises(ValueError, match=r"read of row 0 is \[3.0\]; allowed: 1 of 0 to 2"):
        take(course, 1, [], 3)


@pytest.mark.parametrize("ratings", [[8], [0], [3.5], [1] * 8])
def test_impossible_reports_are_refused(ratings: list[float]):
    with pytest.raises(ValueError, match="ratings of row 0"):
        take(Course(LOW_MOOD, 1), 0, ratings, 0)


def test_people_leave_at_the_end_of_a_day_only():
    course = Course(LOW_MOOD, 1)
    done = [bool(take(course, 0, [], 0, leaving=True).done[0]) for _ in range(3)]
    assert done == [False, False, True]
    steps = Course(STEPS, 1)
    reports = {k: np.zeros(1) for k in ("steps", "opened", "effort")}
    outcome = [steps.step(np.zeros(1, int), reports, np.ones(1, bool)) for _ in range(20)]
    assert [bool(o.done[0]) for o in outcome] == [False] * 19 + [True]  # nobody can leave this one
    assert not any(o.left[0] for o in outcome)


@pytest.mark.parametrize("study", [LOW_MOOD, STEPS], ids=["low-mood", "steps"])
def test_states_from_a_table_are_those_that_were_acted_on(study):
    rng = np.random.default_rng(0)
    seen: list[np.ndarray] = []

    def watched(now: np.ndarray) -> np.ndarray:
        seen.append(now.copy())
        return uniform(study)(now)

    cohort = play(study, Truth(study, PARAMETERS["fragile"], 20, rng), watched, 20, rng)
    before, ends = states(study, cohort)
    acted_on = np.stack(seen, axis=1)
    for person, span in enumerate(cohort.spans()):
        length = span.stop - span.start
        np.testing.assert_array_equal(before[span], acted_on[person, :length])
        if length < acted_on.shape[1]:
            np.testing.assert_array_equal(ends[person], acted_on[person, length])
    low, high = np.array([(low, high) for _, low, high in study.features()]).T
    assert ((before >= low) & (before <= high)).all()


def test_the_state_does_not_know_the_action():
    """In the original a row's state counts the message that its action sends, and so tells it."""
    rng = np.random.default_rng(1)
    cohort = play(
        LOW_MOOD, Truth(LOW_MOOD, PARAMETERS["responsive"], 50, rng), uniform(LOW_MOOD), 50, rng
    )
    before, _ = states(LOW_MOOD, cohort)
    features = [name for name, _, _ in LOW_MOOD.features()]
    received = before[:, features.index("numberMessageReceived")]
    morning = cohort["day_part_x"] == 0
    sent = cohort["action"] > 0
    assert (received[morning] == 0).all()
    assert 0.7 < sent[morning].mean() < 0.8  # three of four actions, whatever the state
    leaking = cohort["numberMessageReceived"][morning]
    assert ((leaking == 1) == sent[morning]).all()  # what the original's state says


def test_a_next_state_is_the_same_persons_and_a_new_day_is_empty():
    rng = np.random.default_rng(2)
    cohort = play(
        LOW_MOOD, Truth(LOW_MOOD, PARAMETERS["fragile"], 30, rng), uniform(LOW_MOOD), 30, rng
    )
    before, _ = states(LOW_MOOD, cohort)
    features = [name for name, _, _ in LOW_MOOD.features()]
    number = before[:, features.index("numberRating")]
    same_day = follows(LOW_MOOD, cohort)
    assert not same_day[cohort.starts].any()
    np.testing.assert_array_equal(number[same_day], cohort["numberRating"][:-1][same_day[1:]])
    assert (number[~same_day] == 0).all()
    assert (before[cohort.starts, 0] == 0).all()


def test_states_of_one_person_do_not_depend_on_the_others():
    rng = np.random.default_rng(3)
    cohort = play(
        LOW_MOOD, Truth(LOW_MOOD, PARAMETERS["fragile"], 5, rng), uniform(LOW_MOOD), 5, rng
    )
    alone = cohort.take([3, 3])
    before, _ = states(LOW_MOOD, cohort)
    both, _ = states(LOW_MOOD, alone)
    span = list(cohort.spans())[3]
    np.testing.assert_array_equal(both, np.concatenate([before[span]] * 2))
    assert alone.people == ("3", "3#2")


def test_a_day_left_out_leaves_nothing_of_yesterday():
    rng = np.random.default_rng(4)
    cohort = play(
        LOW_MOOD, Truth(LOW_MOOD, PARAMETERS["responsive"], 2, rng), uniform(LOW_MOOD), 2, rng
    )
    gap = cohort.select(cohort["day_no"] != 3)
    before, _ = states(LOW_MOOD, gap)
    features = [name for name, _, _ in LOW_MOOD.features()]
    at = before[:, features.index("yesterday.numberMessageReceived")]
    assert (at[gap["day_no"] == 4] == 0).all()
    assert (at[gap["day_no"] == 6] > 0).any()


@pytest.mark.parametrize("name", PARAMETERS)
def test_truth_keeps_every_rule(name: str):
    rng = np.random.default_rng(5)
    cohort = play(LOW_MOOD, Truth(LOW_MOOD, PARAMETERS[name], 20, rng), uniform(LOW_MOOD), 20, rng)
    kept = rules(LOW_MOOD, cohort)
    assert len(kept) > 20
    assert all(rows.all() for rows in kept.values())


BREAKS = {
    "numberMessageRead": (4.0, "numberMessageRead is at most numberMessageReceived"),
    "numberRating": (9.0, "numberRating is in its range"),
    "medianRating": (-1.0, "medianRating is in its range"),
    "numberMessageReceived": (3.0, "numberMessageReceived counts the messages"),
    "reward": (0.123, "the reward is what the study says"),
    "day_part_x": (0.0, "the parts of a day are in order"),
}


@pytest.mark.parametrize("column", BREAKS)
def test_broken_rules_are_seen(column: str):
    rng = np.random.default_rng(6)
    cohort = play(
        LOW_MOOD, Truth(LOW_MOOD, PARAMETERS["indifferent"], 5, rng), uniform(LOW_MOOD), 5, rng
    )
    value, rule = BREAKS[column]
    broken = cohort[column].copy()
    broken[1] = value  # the afternoon of the first day
    kept = rules(LOW_MOOD, cohort.with_columns(**{column: broken}))[rule]
    assert not kept[1]
    assert kept[6:].all()
