"""Simulators from statistics: what they must carry over, and what they cannot know."""

from pathlib import Path

import numpy as np
import pytest

from understudy.data.jsonl import DataError
from understudy.data.profile import read_profile, write_profile
from understudy.envs.study.declare import StudyError
from understudy.envs.study.env import StudyVectorEnv
from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import left, measured, rules
from understudy.envs.study.truth import PARAMETERS
from understudy.ops.cohort_statistics import Rows, profile as exact
from understudy.ops.cohort_summary import correlations, summary
from understudy.roles.simulator.baselines import (
    Copula,
    Markov,
    ProfilePeople,
    resampled_days,
    simulate,
)
from understudy.roles.simulator.cohorts import check_profile, generate_truth, profile, rows_of

STUDY = load("low-mood")
STEPS = load(Path(__file__).parents[2] / "envs" / "study" / "steps.toml")
REAL = generate_truth(STUDY, PARAMETERS["responsive"], 80, uniform(STUDY), seed=1)
WHOLE = profile(REAL, STUDY)


@pytest.mark.parametrize("how", ["markov", "copula"])
def test_a_profile_is_enough(how: str):
    made = simulate(STUDY, WHOLE, how, uniform(STUDY), 80, np.random.default_rng(0))
    assert all(rows.all() for rows in rules(STUDY, made).values())
    a, b = measured(STUDY, REAL), measured(STUDY, made)
    for name in ("numberRating.new", "numberMessageRead.new"):
        assert b[name].mean() == pytest.approx(a[name].mean(), abs=0.1)
    assert np.nanmean(b["ratings.mean"]) == pytest.approx(np.nanmean(a["ratings.mean"]), abs=0.1)
    # 23 % of these people leave; with 80 of each the difference has a standard error of 7 %.
    assert left(STUDY, made).mean() == pytest.approx(left(STUDY, REAL).mean(), abs=0.2)
    told = [
        summary(profile(c, STUDY))["measures"]["numberRating.new"]["by_action"]
        for c in (REAL, made)
    ]
    for action in told[0]:
        assert told[1][action] == pytest.approx(told[0][action], abs=0.12)


def test_markov_carries_over_and_the_copula_does_not():
    carry = []
    for how in ("markov", "copula"):
        made = simulate(STUDY, WHOLE, how, uniform(STUDY), 80, np.random.default_rng(0))
        carry.append(summary(profile(made, STUDY))["measures"]["ratings.mean"]["carry"])
    real = summary(WHOLE)["measures"]["ratings.mean"]["carry"]
    assert carry[0] > 0.5 * real > 0.15
    assert abs(carry[1]) < 0.06


def test_the_copula_has_the_correlations():
    rng = np.random.default_rng(0)
    n = 20000
    drawn = Copula(WHOLE, n).draw(rng.integers(3, size=n), rng.integers(4, size=n), rng)
    expected, names = correlations(WHOLE), list(WHOLE.measures)
    for a, b in (
        ("numberRating.new", "reward"),
        ("medianRating", "ratings.mean"),
        ("numberMediumRating.new", "numberHighRating.new"),
    ):
        ranks = [np.argsort(np.argsort(drawn[name] + 1e-9 * rng.random(n))) for name in (a, b)]
        found = np.corrcoef(*ranks)[0, 1]
        asked = expected[names.index(a), names.index(b)]
        # Ties and marginals that depend on the action take a part of it away, never its sign.
        assert abs(asked) > 0.1
        assert 0.35 < found / asked < 1.3, (a, b)


def test_a_chain_moves_as_it_was_counted():
    """x goes 0, 1, 0, 1, … after `none`; a chain without smoothing can do nothing else."""
    rows = rows_of(STUDY, REAL)
    flip = np.concatenate([np.arange(n) % 2 for n in REAL.lengths]).astype(float)
    only = Rows(
        **{
            **vars(rows),
            "values": {"x": flip},
            "levels": {"x": np.arange(3.0)},
            "action": 0 * rows.action,
        }
    )
    chain = Markov(exact(only), 50, smooth=0.0)
    rng = np.random.default_rng(0)
    chain.last["x"][:] = 0
    seen = [chain.draw(np.zeros(50, int), np.zeros(50, int), rng)["x"] for _ in range(4)]
    assert [set(s.tolist()) for s in seen] == [{1.0}, {0.0}, {1.0}, {0.0}]


def test_days_are_real_days_of_people_of_real_lengths():
    rng = np.random.default_rng(0)
    made = resampled_days(STUDY, REAL, 40, rng)
    assert set(made.lengths.tolist()) <= set(REAL.lengths.tolist())
    assert all(rows.all() for rows in rules(STUDY, made).values())

    def days(cohort):
        keys = ("action", "numberRating", "medianRating", "numberMessageRead")
        table = np.stack([cohort[k] for k in keys], axis=1).reshape(-1, 12)
        return set(map(tuple, table.tolist()))

    assert days(made) <= days(REAL)
    for span in made.spans():
        assert (
            made["day_no"][span].tolist()
            == np.repeat(np.arange((span.stop - span.start) // 3), 3).tolist()
        )


@pytest.mark.parametrize("kind", [Markov, Copula])
def test_baselines_are_environments(kind):
    env = StudyVectorEnv(STUDY, lambda n, rng: ProfilePeople(STUDY, WHOLE, kind(WHOLE, n), rng), 8)
    env.reset(seed=0)
    for step in range(40):
        env.step(np.full(8, step % 4))
    state = env.state()
    first = env.step(np.ones(8, int))[0]
    env.restore(state)
    np.testing.assert_array_equal(env.step(np.ones(8, int))[0], first)


def test_another_study():
    real = generate_truth(STEPS, PARAMETERS["responsive"], 40, uniform(STEPS), seed=0)
    whole = profile(real, STEPS)
    for how in ("markov", "copula"):
        made = simulate(STEPS, whole, how, uniform(STEPS), 40, np.random.default_rng(0))
        assert all(rows.all() for rows in rules(STEPS, made).values())
        assert made.lengths.tolist() == [20] * 40
        assert made["steps"].mean() == pytest.approx(real["steps"].mean(), rel=0.08)
        more = [
            c["steps"][c["action"] == 1].mean() - c["steps"][c["action"] == 0].mean()
            for c in (real, made)
        ]
        assert more[1] == pytest.approx(more[0], rel=0.35)


def test_profiles_at_rest(tmp_path: Path):
    write_profile(tmp_path / "p.json", WHOLE)
    again = read_profile(tmp_path / "p.json")
    assert summary(again) == summary(WHOLE)
    check_profile(STUDY, again)
    with pytest.raises(StudyError, match="another study: parts of the day"):
        check_profile(STEPS, again)
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(DataError, match=r"p.json: no profile: 'measures'"):
        read_profile(tmp_path / "p.json")
    with pytest.raises(DataError, match="no such file"):
        read_profile(tmp_path / "q.json")
    with pytest.raises(DataError, match="cannot write"):
        write_profile(tmp_path / "no" / "p.json", WHOLE)


def test_what_cannot_be():
    rng = np.random.default_rng(0)
    with pytest.raises(StudyError, match="baseline 'gan' is unknown; there are markov, copula"):
        simulate(STUDY, WHOLE, "gan", uniform(STUDY), 3, rng)
    poor = profile(REAL, STUDY, only=["reward"])
    with pytest.raises(StudyError, match="from which ratings could be drawn"):
        simulate(STUDY, poor, "markov", uniform(STUDY), 3, rng)
    with pytest.raises(StudyError, match="measure 'mood' is unknown"):
        profile(REAL, STUDY, only=["mood"])
