"""The verdict: it refuses where it must, corrects for many comparisons, and claims no more than it can."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.ope_coverage import (
    BEST,
    GAMMA,
    NEAR,
    NEVER,
    NEVER_LOW,
    K,
    S,
    Tabular,
    candidates,
    simulate,
    true_values,
    two_people_with_action_2,
)

from understudy.data.transitions import Person, gather
from understudy.roles.simulator.offline.config import FqeConfig, JudgeConfig, OfflineError
from understudy.roles.simulator.offline.judge import comparators, evaluate
from understudy.roles.simulator.offline.policies import Fixed, Uniform
from understudy.roles.simulator.offline.verdict import Comparison, Judgement, Value, Verdict

CONFIG = JudgeConfig(gamma=GAMMA, resamples=200)
INFORMS = Fixed(2, K)


@pytest.fixture(scope="module")
def verdict():
    return evaluate(
        simulate(200, np.random.default_rng(0)), candidates(), CONFIG, np.random.default_rng(1)
    )


def reasons(data, policy, config=CONFIG):
    judged = evaluate(data, [policy], config, np.random.default_rng(0)).policies[0]
    assert judged.supported == (not judged.reasons)
    return " / ".join(judged.reasons)


def test_the_best_is_first_and_every_claim_is_true(verdict):
    worth = true_values(candidates())
    assert verdict.ranked[0] == verdict.best == "best"
    assert verdict.summary == "best is best."
    assert len(verdict.better) >= 6
    assert all(worth[a] > worth[b] for a, b in verdict.better)
    for judged in verdict.policies:
        found = judged.values["fqe"]
        assert found.low < found.value < found.high
        assert found.low - 0.2 < worth[judged.name] < found.high + 0.2


def test_few_people_are_told_what_they_could_have_resolved():
    data = simulate(25, np.random.default_rng(2))
    found = evaluate(data, [Uniform(K), Fixed(0, K), Fixed(1, K)], CONFIG, np.random.default_rng(0))
    assert found.best is None
    assert found.better == ()
    assert found.summary.startswith("Cannot tell which is best: ")
    assert "25 people could have resolved differences of" in found.summary
    worth = true_values(candidates())
    assert worth["always 0"] - worth["random"] < min(c.resolvable for c in found.comparisons)
    for c in found.comparisons:
        # z(1 − 0.05/6) + z(0.8): what the correction for three comparisons costs is in it.
        assert c.resolvable == pytest.approx((2.39398 + 0.84162) * c.error, rel=1e-4)


def test_more_resamples_are_no_more_evidence():
    data = simulate(20, np.random.default_rng(3))
    p = {
        many: evaluate(
            data, [Fixed(0, K), Uniform(K)], replace(CONFIG, resamples=many),
            np.random.default_rng(0),
        ).comparisons[0].p
        for many in (400, 8000)
    }  # fmt: skip
    assert p[8000] == pytest.approx(p[400], abs=0.06)
    assert p[8000] > 0.02


@pytest.mark.parametrize(
    ("data", "policy", "why"),
    [
        (simulate(60, np.random.default_rng(4), NEVER), INFORMS, "0 of 60 people ever had it"),
        (simulate(60, np.random.default_rng(5), NEVER_LOW), INFORMS, "less than 2% of the time"),
        (two_people_with_action_2(60, np.random.default_rng(6)), INFORMS, "2 of 60 people ever"),
        (simulate(6, np.random.default_rng(7)), NEAR, "6 people; 10 are the least"),
    ],
    ids=["never", "never in a low mood", "two people", "too few"],
)
def test_it_refuses_without_support(data, policy, why):
    assert why in reasons(data, policy)


def test_it_does_not_refuse_what_is_sound():
    data = simulate(60, np.random.default_rng(8))
    assert reasons(data, NEAR) == ""
    assert reasons(data, BEST) == ""
    assert reasons(simulate(60, np.random.default_rng(9), NEVER), Fixed(1, K)) == ""


def test_it_refuses_ratios_of_whole_episodes_that_rest_on_nobody():
    data = simulate(60, np.random.default_rng(10))
    for primary in ("wpdis", "dr", "magic"):
        found = reasons(data, BEST, replace(CONFIG, primary=primary))
        assert f"{primary} rests on" in found
        assert "effective people; it needs 15" in found


def test_it_refuses_impossible_values():
    data = simulate(60, np.random.default_rng(11))
    found = reasons(data, NEAR, replace(CONFIG, reward_range=(0.0, 0.1)))
    assert "impossible for these rewards" in found


def test_a_model_that_ratios_contradict_is_not_believed():
    """The reward is of a product of two numbers of the state, which linear features cannot see."""
    rng = np.random.default_rng(12)
    people = []
    for i in range(200):
        length = rng.geometric(0.4)  # without memory, as the state has none
        x = rng.choice([-1.0, 1.0], size=(length, 2))
        a = rng.integers(2, size=length)
        pays = np.where(a == (x.prod(1) > 0), 2.0, -2.0)
        people.append(Person(str(i), x, a, pays + rng.normal(0, 0.1, length), True))

    class Knows:
        name = "knows"

        def probabilities(self, states):
            right = (np.asarray(states).prod(1) > 0).astype(int)
            return 0.3 * 0.5 + 0.7 * np.eye(2)[right]

    data, config = gather(people, 2), JudgeConfig(gamma=0.5, resamples=200)
    assert "standard errors apart" in reasons(data, Knows(), config)
    assert reasons(data, Knows(), replace(config, features="quadratic")) == ""


def test_refused_policies_are_not_ranked():
    data = simulate(60, np.random.default_rng(4), NEVER)
    found = evaluate(data, [INFORMS, NEAR, Fixed(1, K)], CONFIG, np.random.default_rng(0))
    names = {name for c in found.comparisons for name in (c.first, c.second)}
    assert "always 2" not in names | set(found.ranked)
    assert "always 2" in found.summary
    assert "cannot tell" in found.table()


def test_equal_policies_are_not_told_apart():
    twin = Tabular("twin", NEAR.table)
    data = simulate(40, np.random.default_rng(13))
    found = evaluate(data, [NEAR, twin], CONFIG, np.random.default_rng(0))
    assert found.comparisons[0].p_holm == 1
    assert found.best is None
    assert found.unbeaten == found.ranked


def test_the_same_seed_gives_the_same_verdict_and_the_policies_order_does_not_matter_much():
    data = simulate(30, np.random.default_rng(14))
    runs = [
        evaluate(data, [NEAR, BEST], CONFIG, np.random.default_rng(s)).to_json() for s in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_comparators_and_networks_stand_in_the_same_table():
    data = simulate(40, np.random.default_rng(15))
    config = replace(
        CONFIG,
        network_replicates=5,
        network=FqeConfig(steps=60, batch=16, hidden=8, target_rate=0.1),
    )
    found = evaluate(
        data, comparators(data, ["none", "encourage", "inform"]), config, np.random.default_rng(0)
    )
    names = [j.name for j in found.policies]
    assert names == ["behaviour", "random", "always none", "always encourage", "always inform"]
    for judged in found.policies:
        assert judged.network is not None
        assert judged.network.low <= judged.network.high
    text = found.table()
    assert text.count("networks ") == 5
    assert all(name in text for name in names)


def test_json_is_plain(verdict):
    again = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert again["best"] == "best"
    assert again["policies"][0]["values"]["fqe"]["usable"] is True
    assert again["comparisons"][0]["p_holm"] <= 1
    assert again["people"] == 200


def judged(name, value, supported=True):
    one = Value(value, value - 1, value + 1, 0.5, 20.0, True)
    return Judgement(name, {"fqe": one}, None, 0.0, supported, ())


def compared(first, second, difference, p):
    return Comparison(first, second, difference, 1.0, p, p, 3.0)


def test_a_ranking_by_hand():
    found = Verdict(
        20, 400, 0.9, 0.95, "fqe",
        (judged("a", 1.0), judged("b", 3.0), judged("c", 2.0), judged("d", 9.0, supported=False)),
        (compared("a", "b", -2.0, 0.01), compared("a", "c", -1.0, 0.2), compared("b", "c", 1.0, 0.3)),
    )  # fmt: skip
    assert found.ranked == ("b", "c", "a")
    assert found.better == (("b", "a"),)
    assert found.unbeaten == ("b", "c")
    assert found.best is None
    assert "b, c are not told apart" in found.summary
    assert "Of d these people cannot tell." in found.summary


def test_what_cannot_be_judged_at_all():
    data = simulate(20, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for people, policies, message in (
        (data, [], "no policies"),
        (data, [NEAR, NEAR], "two policies are called 'near'"),
        (data, [Fixed(0, 2)], "'always 0' chooses among 2 actions; the data have 3"),
        (data.select([0]), [NEAR], "one person"),
    ):
        with pytest.raises(OfflineError, match=message):
            evaluate(people, policies, CONFIG, rng)
    for change, message in (
        ({"gamma": 1.0}, "gamma is 1.0"),
        ({"primary": "is"}, "primary is 'is'"),
        ({"features": "deep"}, "features is 'deep'"),
        ({"reward_range": (1.0, 1.0)}, "reward_range"),
        ({"folds": 1}, "folds is 1"),
    ):
        with pytest.raises(OfflineError, match=message):
            JudgeConfig(**change)
    assert len(NEVER_LOW) == S
