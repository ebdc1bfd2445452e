"""Statistics that compare runs of methods: values by hand, and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import mannwhitneyu

from understudy import ops

Scores = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def test_probability_of_improvement_by_hand():
    # Pairs (x, y): 2>1, 2=2, 2<4, 3>1, 3>2, 3<4: 3 won, 1 tied of 6.
    assert ops.probability_of_improvement([2, 3], [1, 2, 4]) == pytest.approx(3.5 / 6)
    assert ops.probability_of_improvement([1, 1], [1, 1]) == 0.5
    assert ops.probability_of_improvement([5], [1, 2]) == 1.0


@settings(deadline=None)
@given(Scores, Scores)
def test_probability_of_improvement_is_mann_whitneys_u_of_all_pairs(x, y):
    u = mannwhitneyu(x, y).statistic
    assert ops.probability_of_improvement(x, y) == pytest.approx(u / (len(x) * len(y)))
    both = ops.probability_of_improvement(x, y) + ops.probability_of_improvement(y, x)
    assert both == pytest.approx(1.0)


def test_mann_whitney_by_hand():
    # Of the 6 ways to choose 2 of 4 ranks only {3, 4} and {1, 2} are as extreme.
    assert ops.mann_whitney([3, 4], [1, 2]) == pytest.approx(2 / 6)
    # Of 20 ways two: three against three cannot reach 0.05, four against four can (2 of 70).
    assert ops.mann_whitney([4, 5, 6], [1, 2, 3]) == pytest.approx(0.1)
    assert ops.mann_whitney([5, 6, 7, 8], [1, 2, 3, 4]) == pytest.approx(2 / 70)
    assert ops.mann_whitney([1, 1, 1], [1, 1]) == 1.0


@settings(deadline=None)
@given(Scores, Scores)
def test_mann_whitney_is_the_share_of_divisions_as_extreme(x, y):
    pooled, n = [*x, *y], len(x)

    def distance(places: tuple[int, ...]) -> float:
        mine = [pooled[i] for i in places]
        rest = [pooled[i] for i in range(len(pooled)) if i not in places]
        return abs(ops.probability_of_improvement(mine, rest) - 0.5)

    found = distance(tuple(range(n)))
    ways = list(itertools.combinations(range(len(pooled)), n))
    share = sum(distance(way) >= found - 1e-9 for way in ways) / len(ways)
    assert ops.mann_whitney(x, y) == pytest.approx(share)


def test_performance_profile_by_hand():
    assert ops.performance_profile([0.2, 0.5, 0.5, 1.0], [0.0, 0.2, 0.5, 1.0]) == [
        1.0, 0.75, 0.25, 0.0,
    ]  # fmt: skip


def test_mean_over_steps_by_hand():
    # From (0, 0) to (10, 1): mean 1/2; then 10 steps at 1: (5 + 10)/20.
    curve = [(0.0, 0.0), (10.0, 1.0)]
    assert ops.mean_over_steps(curve, 10) == pytest.approx(0.5)
    assert ops.mean_over_steps(curve, 20) == pytest.approx(0.75)
    assert ops.mean_over_steps(curve, 5) == pytest.approx(0.25)
    # Before the first point it is that one's value.
    assert ops.mean_over_steps([(10.0, 3.0)], 5) == 3.0


def _difference(groups) -> float:
    return ops.iqm(np.concatenate(groups[0])) - ops.iqm(np.concatenate(groups[1]))


def test_stratified_bootstrap_keeps_every_task():
    # No spread within a task: whatever is drawn, the pooled mean is the same.
    groups = [[[0.0, 0.0], [10.0, 10.0]]]
    found = ops.stratified_bootstrap_ci(
        groups, lambda g: float(np.concatenate(g[0]).mean()), np.random.default_rng(0), 50
    )
    assert found == (5.0, 5.0)


def test_stratified_bootstrap_is_near_the_normal_interval():
    rng = np.random.default_rng(1)
    values = rng.normal(size=400)
    low, high = ops.stratified_bootstrap_ci([[values]], lambda g: float(g[0][0].mean()), rng)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_stratified_bootstrap_of_a_difference_has_its_sign():
    groups = [[[5.0, 6.0, 7.0, 8.0]], [[1.0, 2.0, 3.0, 4.0]]]
    low, high = ops.stratified_bootstrap_ci(groups, _difference, np.random.default_rng(0), 200)
    assert 0 < low < 4 < high


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.probability_of_improvement([], [1]), "no scores"),
        (lambda: ops.mann_whitney([1], []), "no scores"),
        (lambda: ops.performance_profile([], [1]), "no scores"),
        (lambda: ops.mean_over_steps([(0, 1)], 0), "until 0"),
        (
            lambda: ops.stratified_bootstrap_ci([[[]]], _difference, np.random.default_rng(0)),
            "no scores",
        ),
    ],
)
def test_nothing_to_compare_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
