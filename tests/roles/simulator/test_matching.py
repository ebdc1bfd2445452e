"""Which weights apply at which place of an answer, and what later ratings of a moment aim at."""

import re
from dataclasses import replace

import numpy as np
import pytest

from understudy.envs.study.diary import Entry
from understudy.envs.study.lines import Lines, Room
from understudy.envs.study.load import load
from understudy.envs.study.persona import typical
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import measured
from understudy.envs.study.truth import parameters
from understudy.ops.cohort_statistics import from_json, to_json
from understudy.roles.simulator.cohorts import generate_truth, profile
from understudy.roles.simulator.matching import Matching, _gain
from understudy.roles.simulator.prompt import Asked


@pytest.fixture(scope="module")
def study():
    return load("low-mood")


@pytest.fixture(scope="module")
def people(study):
    return generate_truth(study, parameters("responsive"), 150, uniform(study), 3)


@pytest.fixture(scope="module")
def told(study, people):
    return profile(people, study)


def asked(most=4, high=7):
    room = Room({"ratings": (1, high, most), "read": (0, 2, 1)}, True)
    past = [Entry(0, 0, 1, {"ratings": (6.0, 5.0), "read": (1.0,)})]
    return Asked(0, np.array([1.5, 4.0, 0.5]), past, 0, 1, 2, room)


def pieces(steer, text):
    return next((rule for rule in steer.rules if re.fullmatch(rule.pattern, text)), None)


def test_a_rating_follows_the_past_and_later_ones_of_the_moment_the_first(study, told):
    matching = Matching(study, told)
    steer, usual = matching(asked()), typical(study, told).everybody[1]
    aims, later = (field.aims for field in matching.fields[1:3])
    own = aims.own * (4.0 - usual)
    first = aims.means[1, 2] + own + aims.carry * (5.5 - aims.means[0].mean() - own)
    assert pieces(steer, "3:").mean == pytest.approx(first)
    for text in ("3:5", "3:51", "2:5", "4:577"):
        assert pieces(steer, text).mean == pytest.approx(first + later.alike * (5 - first))
    assert pieces(steer, "3:2").mean == pytest.approx(first + later.alike * (2 - first))
    assert min(aims.own, aims.carry, later.alike) > 0.3


def test_after_a_moment_without_ratings_only_the_person_counts(study, told):
    matching, moment = Matching(study, told), asked()
    nothing = Entry(0, 0, 1, {"ratings": (), "read": (1.0,)})
    steer = matching(replace(moment, past=[nothing]))
    aims = matching.fields[1].aims
    own = aims.own * (4.0 - typical(study, told).everybody[1])
    assert pieces(steer, "1:").mean == pytest.approx(aims.means[1, 2] + own)


def test_what_can_be_read_scales_what_is(study, told):
    matching = Matching(study, told)
    one, two = (
        replace(asked(), room=replace(asked().room, caps=asked().room.caps | {"read": (0, n, 1)}))
        for n in (1, 2)
    )
    assert pieces(matching(one), "0: ").mean is None  # nothing is known of the room yet
    matching.load(matching.state() | {"room": {"read": np.full((3, 4), 1.5).tolist()}})
    at_one, at_two = (pieces(matching(moment), "0: ").mean for moment in (one, two))
    assert at_two == pytest.approx(2 * at_one)
    # A person of the usual kind reads as much as the cell says.
    trait = np.array([1.5, 4.0, typical(study, told).everybody[2]])
    usual = pieces(matching(replace(asked(), persona=trait)), "0: ").mean
    assert usual * 1.5 == pytest.approx(2 * matching.fields[3].aims.means[1, 2])


def test_what_is_complete_has_no_further_rating(study, told):
    matching = Matching(study, told)
    for text in ("1:5", "3:555", "2:55"):
        assert pieces(matching(asked()), text) is None
    assert pieces(matching(asked(1)), "2:5") is None


def test_ratings_of_two_digits_are_weighed_at_their_first(study, told):
    mood = study.report("ratings")
    fine = replace(study, reported=(replace(mood, high=60.0), *study.reported[1:]))
    assert len(Lines(fine).code(fine.report("ratings"), 30.0)) == 2
    steer = Matching(fine, replace(told, measures={}))(asked(high=60))
    weighed = [t for t in ("3:", "3:4", "3:44", "3:445", "3:4455", "3:445566") if pieces(steer, t)]
    assert weighed == ["3:", "3:44", "3:4455"]


def test_the_aims_are_what_people_do(study, people, told):
    """The prediction from aggregates against least squares on the people themselves."""
    ratings, mean = people["ratings"], measured(study, people)["ratings.mean"]
    part, action = (people[c].astype(int) for c in (study.names.part, study.names.action))
    aims, later = (field.aims for field in Matching(study, told).fields[1:3])
    cell = aims.means[part, action]
    before = np.full(people.rows, np.nan)
    before[1:] = np.where(people.first[1:], np.nan, (mean - aims.means.mean(axis=1)[part])[:-1])
    own = np.array([np.nanmean((mean - cell)[people.person == p]) for p in range(len(people))])
    x = np.stack([own[people.person], before], axis=1)
    there = ~np.isnan(x).any(axis=1) & ~np.isnan(mean)
    found = np.linalg.lstsq(x[there], (mean - cell)[there], rcond=None)[0]
    assert aims.carry == pytest.approx(found[1], abs=0.08)
    assert found[1] > 0.3
    past = x[there] @ found
    second = there & ~np.isnan(ratings[:, 1])
    of_past = np.full(people.rows, np.nan)
    of_past[there] = past
    first = (ratings[:, 0] - cell - of_past)[second]
    alike = np.linalg.lstsq(first[:, None], (ratings[:, 1] - cell - of_past)[second], rcond=None)[0]
    assert later.alike == pytest.approx(alike[0], abs=0.12)


def test_aggregates_without_the_spread_of_a_moment_leave_later_ratings_alone(study, told):
    older = to_json(told)
    del older["measures"]["ratings.sd"]
    assert Matching(study, from_json(older)).fields[2].aims.alike == 0


def test_weights_survive_json(study, told):
    matching, again = Matching(study, told), Matching(study, told)
    for name in matching.weights:
        matching.weights[name] = matching.weights[name] + 0.3
    matching.room["read"] = np.full((3, 4), 1.2)
    again.load(matching.state())
    assert again(asked()) == matching(asked())


def test_nobody_is_asked_for_less_than_nothing(study, told):
    matching = Matching(study, told)
    quiet, loud = (replace(asked(), persona=np.array([r, 4.0, 0.5])) for r in (0.0, 2.9))
    assert 0 < pieces(matching(quiet), "").mean < 0.5
    assert 2 < pieces(matching(loud), "").mean < 4


def test_who_is_to_read_more_must_read_more_of_what_is_there(study, told):
    """Against readers who are played: how their means rise with what they take of what is there."""
    rng, rises = np.random.default_rng(0), []
    for share in (0.55, 0.65):
        total = 0
        for _ in range(20_000):
            left = 0
            for _ in study.parts:
                left += rng.random() < 0.75
                read = rng.binomial(left, share)
                total, left = total + read, left - read
        rises.append(total / 20_000 / len(study.parts))
    gain = sum(rises) / 2 / 0.6 / ((rises[1] - rises[0]) / 0.1)
    table = np.zeros((3, 4, 4))
    mean = sum(rises) / 2
    table[..., 0], table[..., 1] = 1 - mean, mean
    counts = replace(told.measures["numberMessageRead.new"], table=table)
    assert _gain(study, counts) == pytest.approx(gain, rel=0.1)
    assert gain > 1.3
