"""Known-truth people: what the parameters say is what happens, and the environments keep theirs."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from understudy.envs.study.course import Course
from understudy.envs.study.declare import StudyError
from understudy.envs.study.env import StudyEnv, StudyVectorEnv, make_truth, recruit_truth
from understudy.envs.study.load import load
from understudy.envs.study.play import draw, play, returns
from understudy.envs.study.policies import always, best_schedule, schedule, true_value, uniform
from understudy.envs.study.table import left, measured
from understudy.envs.study.truth import PARAMETERS, Parameters, Truth, parameters

STUDY = load("low-mood")
STEPS = load(Path(__file__).with_name("steps.toml"))


def cohort_of(given: Parameters, policy, n: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    return play(STUDY, Truth(STUDY, given, n, rng), policy, n, rng)


def test_indifferent_people_report_the_same_whatever_is_done():
    given = PARAMETERS["indifferent"]
    both = [cohort_of(given, always(STUDY, a), 100) for a in ("encouraging", "affirming")]
    np.testing.assert_array_equal(both[0]["ratings"], both[1]["ratings"])
    none = cohort_of(given, always(STUDY, "none"), 400)
    some = cohort_of(given, always(STUDY, "informing"), 400)
    a, b = (measured(STUDY, c)["numberRating.new"] for c in (none, some))
    assert abs(a.mean() - b.mean()) < 0.05  # a responsive person's is 0.23 more


def test_each_message_does_what_the_parameters_say():
    found = measured(STUDY, cohort := cohort_of(PARAMETERS["responsive"], uniform(STUDY), 600))
    number, mood = found["numberRating.new"], found["ratings.mean"]
    by = [cohort["action"] == a for a in range(4)]
    rates = [number[rows].mean() for rows in by]
    assert rates[1] > rates[2] + 0.2 > rates[3] + 0.2 > rates[0]  # pull 1.0, 0.4, 0.1, 0
    moods = [np.nanmean(mood[rows]) for rows in by]
    assert moods[1] > moods[2] + 0.1 > moods[3] > moods[0]


def test_messages_wear_off_where_people_habituate():
    policy = always(STUDY, "encouraging")
    first, last = [], []
    for name in ("responsive", "habituating"):
        number = measured(STUDY, c := cohort_of(PARAMETERS[name], policy, 800))["numberRating.new"]
        first.append(number[c["day_no"] == 0].mean())
        last.append(number[c["day_no"] >= 5].mean())
    assert last[0] > first[0] - 0.1
    assert last[1] < first[1] - 0.1


def test_messages_drive_fragile_people_away():
    given = PARAMETERS["fragile"]
    gone = [left(STUDY, cohort_of(given, always(STUDY, a))).mean() for a in ("none", "informing")]
    assert gone[0] < 0.35 < 0.9 < gone[1]


def test_people_differ_and_moods_last():
    found = measured(STUDY, c := cohort_of(PARAMETERS["diverse"], uniform(STUDY), 200))[
        "ratings.mean"
    ]
    means = [np.nanmean(found[s]) for s in c.spans() if not np.isnan(found[s]).all()]
    assert np.std(means) > 1.0
    # 0.9 between people times a unit of (7 - 1) / 4 is 1.35 on the scale, less what its ends cut.


def test_days_have_a_shape_and_moods_last_within_people():
    policy = always(STUDY, "none")
    found = measured(STUDY, c := cohort_of(PARAMETERS["indifferent"], policy, 200))
    morning, evening = (c["day_part_x"] == part for part in (0, 2))
    mood, number = found["ratings.mean"], found["numberRating.new"]
    assert np.nanmean(mood[evening]) > np.nanmean(mood[morning]) + 0.1
    assert number[evening].mean() > number[morning].mean() + 0.1
    within = mood.copy()
    for span in c.spans():
        within[span] -= np.nanmean(mood[span]) if not np.isnan(mood[span]).all() else 0
    pairs = ~c.first[1:] & ~np.isnan(within[1:]) & ~np.isnan(within[:-1])
    assert np.corrcoef(within[1:][pairs], within[:-1][pairs])[0, 1] > 0.3


def test_low_and_silent_people_leave_earlier():
    given = Parameters(leaving=-3.5, leaving_by_mood=-1.0, leaving_by_engagement=-1.0)
    cohort = cohort_of(given, always(STUDY, "none"), 300)
    found, gone = measured(STUDY, cohort), left(STUDY, cohort)
    assert 0.3 < gone.mean() < 0.9
    for name, least in (("ratings.mean", 0.3), ("numberRating.new", 0.15)):
        values, person = found[name], cohort.person
        there = ~np.isnan(values)
        n = np.bincount(person[there], minlength=300)
        means = np.bincount(person[there], values[there], 300)[n > 0] / n[n > 0]
        assert means[~gone[n > 0]].mean() > means[gone[n > 0]].mean() + least, name


def worth(name: str, *actions: str) -> float:
    policy = schedule(STUDY, actions)
    return true_value(STUDY, PARAMETERS[name], policy, 300, np.random.default_rng(1))[0]


def test_what_is_best_differs_for_known_reasons():
    e, none = "encouraging", "none"
    assert (
        worth("responsive", e, e, e)
        > worth("responsive", e, none, none)
        > worth("responsive", none, none, none) + 3
    )
    assert worth("habituating", e, none, none) > worth("habituating", e, e, e) + 0.5
    assert worth("fragile", none, none, none) > worth("fragile", e, e, e)
    assert worth("fragile", "affirming", none, none) > worth("fragile", none, none, none) + 1


def test_all_schedules_in_order_of_their_worth():
    tried = best_schedule(STEPS, PARAMETERS["responsive"], 100, seed=1)
    assert len(tried) == 9
    assert list(tried.values()) == sorted(tried.values(), reverse=True)
    assert next(iter(tried)) == ("goal", "goal")
    rng = np.random.default_rng(1)
    assert (
        tried["goal", "quiet"]
        == true_value(
            STEPS, PARAMETERS["responsive"], schedule(STEPS, ["goal", "quiet"]), 100, rng
        )[0]
    )


def test_a_true_value_by_hand():
    """Nobody reads, rates everything at once: 3 ratings a part until 7; reward half the count."""
    given = Parameters(engagement=50.0, engagement_between=0.0, leaving=-50.0, pull=(0.0,))
    value, error = true_value(STUDY, given, always(STUDY, "none"), 3, np.random.default_rng(0), 0.5)
    day = 1.5 + 0.5 * 3.0 + 0.25 * 3.5
    assert value == pytest.approx(day / (1 - 0.5**3), abs=1e-6)
    assert error == pytest.approx(0, abs=1e-9)


def test_returns_are_discounted_from_each_persons_own_start():
    cohort = cohort_of(PARAMETERS["fragile"], uniform(STUDY), 20)
    expected = [
        sum(0.9**t * r for t, r in enumerate(cohort["reward"][s].tolist())) for s in cohort.spans()
    ]
    np.testing.assert_allclose(returns(STUDY, cohort, 0.9), expected)


def test_actions_are_drawn_as_the_policy_says():
    chance = np.tile([0.1, 0.0, 0.6, 0.3], (20000, 1))
    share = np.bincount(draw(chance, np.random.default_rng(0)), minlength=4) / 20000
    np.testing.assert_allclose(share, chance[0], atol=0.015)
    assert share[1] == 0


def test_propensities_are_the_policys():
    cohort = cohort_of(PARAMETERS["responsive"], lambda s: np.tile([1.0, 3, 4, 8], (len(s), 1)), 20)
    np.testing.assert_allclose(
        cohort["propensity"], np.array([1, 3, 4, 8])[cohort["action"].astype(int)] / 16
    )


@pytest.mark.parametrize("study", [STUDY, STEPS], ids=["low-mood", "steps"])
def test_gymnasiums_checks(study):
    check_env(StudyEnv(study, recruit_truth(study, PARAMETERS["fragile"])), skip_render_check=True)


def test_an_episode_ends_when_the_person_leaves_or_the_study_does():
    env = StudyEnv(STUDY, recruit_truth(STUDY, PARAMETERS["fragile"]))
    lengths, gone = [], []
    for seed in range(20):
        env.reset(seed=seed)
        done, length, info = False, 0, {}
        while not done:
            _, _, done, truncated, info = env.step(np.int64(1))
            length += 1
            assert not truncated
        lengths.append(length)
        gone.append(info["left"])
    assert all(length % 3 == 0 and length <= 90 for length in lengths)
    assert any(gone)
    assert all(length == 90 for length, g in zip(lengths, gone, strict=True) if not g)


def test_the_vector_environment_is_seeded_saved_and_replaces_people():
    def make() -> StudyVectorEnv:
        return StudyVectorEnv(STUDY, recruit_truth(STUDY, PARAMETERS["fragile"]), 16)

    one, two = make(), make()
    rng = np.random.default_rng(0)
    actions = rng.integers(4, size=(120, 16))
    first = one.reset(seed=3)[0]
    np.testing.assert_array_equal(first, two.reset(seed=3)[0])
    ended = 0
    for step in actions[:60]:
        a, b = one.step(step), two.step(step)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
        assert a[0] in one.observation_space
        if a[2].any():
            ended += int(a[2].sum())
            assert (a[0][a[2]] == first[0]).all()  # somebody else, at the start
            assert (a[4]["final_obs"][a[2], 0] >= 1).all()
    assert ended > 5
    three = make()
    three.restore(one.state())
    for step in actions[60:]:
        np.testing.assert_array_equal(one.step(step)[0], three.step(step)[0])


def test_another_seed_is_other_people():
    env = StudyVectorEnv(STUDY, recruit_truth(STUDY, PARAMETERS["responsive"]), 8)
    found = []
    for seed in (1, 2):
        env.reset(seed=seed)
        found.append(env.step(np.ones(8, int))[1])
    assert (found[0] != found[1]).any()


def test_single_and_vector_environments_are_one():
    single = StudyEnv(STUDY, recruit_truth(STUDY, PARAMETERS["responsive"]))
    vector = StudyVectorEnv(STUDY, recruit_truth(STUDY, PARAMETERS["responsive"]), 1)
    single.reset(seed=5)
    vector.reset(seed=5)
    for action in (0, 1, 2, 3, 1):
        a, b = single.step(np.int64(action)), vector.step(np.array([action]))
        np.testing.assert_array_equal(a[0], b[0][0])
        assert a[1] == b[1][0]


def test_by_names():
    env = make_truth(parameters="fragile")
    assert env.reset(seed=0)[0].shape == (25,)
    with pytest.raises(StudyError, match="there are responsive"):
        make_truth(parameters="nobody")


def test_bad_names_are_told():
    with pytest.raises(StudyError, match="'encourage' is unknown; there are none, encouraging"):
        always(STUDY, "encourage")
    with pytest.raises(StudyError, match="needs 3 actions"):
        schedule(STUDY, ["none"])
    with pytest.raises(StudyError, match="'kind' are unknown; there are responsive"):
        parameters("kind")


def test_people_of_any_study():
    rng = np.random.default_rng(0)
    course, people = Course(STEPS, 50), Truth(STEPS, PARAMETERS["responsive"], 50, rng)
    reports, _ = people.respond(course, np.full(50, 1))
    assert ((reports["steps"] >= 0) & (reports["steps"] <= 15000)).all()
    assert np.std(reports["effort"]) > 0.05
    assert set(reports["opened"].tolist()) == {0.0, 1.0}
    assert not people.respond(course, np.zeros(50, int))[0]["opened"].any()
