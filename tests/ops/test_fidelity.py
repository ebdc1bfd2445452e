"""Distances, tests and intervals against independent references, and on planted differences."""

import numpy as np
import pytest

from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import Rows
from understudy.ops.discriminator import auc, logistic, tell_apart
from understudy.ops.distances import (
    DISTINCT,
    category_coverage,
    category_ratio,
    count_people,
    distances,
    halves,
    resamples,
    support_of,
)
from understudy.ops.effects import compare_effects, estimate
from understudy.ops.fidelity import (
    Interval,
    compare,
    compare_survival,
    correlation,
    correlations_of,
    statistics_of,
    survival,
)
from understudy.ops.leaks import copied, nearest, stretches
from understudy.ops.stats import holm

NAN = np.nan


def people(
    rng: np.random.Generator, n: int, rows: int = 20, shift: float = 0.0, spread: float = 0.5
):
    """Values with a level of each person's own, rounded to halves."""
    x = shift + spread * rng.normal(size=(n, 1)) + rng.normal(size=(n, rows))
    values = np.round(2 * x.ravel()) / 2
    return Cohort(tuple(map(str, range(n))), np.full(n, rows), {"x": values}), values


def rows_of(cohort: Cohort, action: np.ndarray, values: dict[str, np.ndarray]) -> Rows:
    step = np.concatenate([np.arange(n) for n in cohort.lengths])
    levels = {name: np.linspace(-5, 5, 11) for name in values}
    return Rows(
        cohort,
        step // 2,
        step % 2,
        action,
        values,
        levels,
        ("am", "pm"),
        ("none", "one", "two"),
        30,
    )


def test_distances_by_hand():
    found = distances(np.array([0.0, 1, 3]), np.array([2.0, 2, 0]), np.array([0.0, 1, 1]))
    assert float(found.ks) == 0.5
    assert float(found.tv) == 0.5
    assert float(found.w1) == 0.5 * 1 + 0.5 * 2
    # Middle (1/4, 1/2, 1/4): both divergences are ½ log 2 + ½ log 1.
    assert float(found.js) == pytest.approx(np.sqrt(0.5))


def test_distances_equal_scipys():
    stats = pytest.importorskip("scipy.stats")
    spatial = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, size=50) / 2, rng.integers(2, 12, size=80) / 2
    support = support_of(a, b)
    p, q = ((x[:, None] == support).sum(axis=0).astype(float) for x in (a, b))
    found = distances(support, p, q)
    assert float(found.ks) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert float(found.w1) == pytest.approx(stats.wasserstein_distance(a, b))
    assert float(found.js) == pytest.approx(spatial.jensenshannon(p, q, base=2))


def test_the_extremes_of_distances():
    same = distances(np.arange(3.0), np.array([1.0, 2, 1]), np.array([2.0, 4, 2]))
    apart = distances(np.arange(3.0), np.array([1.0, 0, 0]), np.array([0.0, 0, 1]))
    assert [float(d) for d in same] == [0, 0, 0, 0]
    assert [float(d) for d in apart] == [1, 1, 2, 1]


def test_many_values_are_gathered():
    rng = np.random.default_rng(0)
    cohort, _ = people(rng, 4, 500)
    values = rng.normal(size=2000)
    support = support_of(values, np.array([NAN]))
    assert len(support) <= DISTINCT
    counts = count_people(cohort, values, support)
    assert counts.sum(axis=1).tolist() == [500] * 4
    assert counts.sum(axis=0).max() < 40


def test_coverage_and_the_originals_ratio():
    """CAT is a ratio of counts: values that do not exist count, and it passes 1."""
    real, synthetic = np.array([0.0, 1, 2, 3, NAN]), np.array([0.0, 0, 7, 8, 9, 10])
    assert category_ratio(real, synthetic) == 5 / 4
    assert category_coverage(real, synthetic) == 1 / 4


def test_a_cat_score_of_0_880_worked_out():
    """Nine variables, as the original's mean over them: 8 of 8 levels in most, fewer in some."""
    pairs = [(8, 8)] * 4 + [(8, 7), (8, 6), (4, 4), (4, 3), (11, 6)]
    scores = [category_ratio(np.arange(float(r)), np.arange(float(s))) for r, s in pairs]
    assert np.mean(scores) == pytest.approx((4 + 7 / 8 + 6 / 8 + 1 + 3 / 4 + 6 / 11) / 9)
    assert np.mean(scores) == pytest.approx(0.880, abs=5e-4)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_resamples_and_halves():
    rng = np.random.default_rng(0)
    drawn = resamples(5, 200, rng)
    assert (drawn.sum(axis=1) == 5).all()
    assert (drawn == 2).any()
    split = halves(5, 200, rng)
    assert (split.sum(axis=1) == 2).all()
    assert len(np.unique(split, axis=0)) == 10


def test_equal_truths_are_within_noise_and_equivalent():
    rng = np.random.default_rng(3)
    found = compare(people(rng, 60), people(rng, 60), rng, margin=0.5)
    assert found.p_differs > 0.05
    assert found.p_equivalent < 0.01
    for distance in found.distances.values():
        assert distance.ratio < 1
        assert distance.low <= distance.value <= distance.high
        assert distance.floor_mean < distance.floor


def test_equal_truths_are_seldom_above_the_noise_floor():
    above = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        above += compare(people(rng, 30), people(rng, 30), rng, n=100).distances["ks"].ratio > 1
    assert above <= 5  # 5 % were the halves as large as the cohorts; they are half as large


def test_a_shift_is_seen_and_not_called_equivalent():
    rng = np.random.default_rng(4)
    found = compare(people(rng, 60), people(rng, 60, shift=0.6), rng)
    assert found.p_differs < 0.01
    assert found.p_equivalent > 0.9
    assert found.distances["ks"].ratio > 1.3
    assert found.distances["w1"].value == pytest.approx(0.6, abs=0.25)


def test_rows_of_few_people_prove_nothing():
    """7 people of 70 rows: by rows the difference is certain, by people there is none to show."""
    stats = pytest.importorskip("scipy.stats")
    by_rows, by_people = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = people(rng, 7, 70, spread=1.0), people(rng, 7, 70, spread=1.0)
        by_rows.append(stats.ks_2samp(a[1], b[1]).pvalue < 0.05)
        by_people.append(compare(a, b, rng, n=200).p_differs < 0.05)
    assert sum(by_rows) >= 8
    assert sum(by_people) <= 3


def test_permutation_p_values_are_uniform_under_equal_truths():
    p = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p.append(compare(people(rng, 12, 5), people(rng, 9, 5), rng, n=99).p_differs)
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_statistics_of_people():
    rng = np.random.default_rng(0)
    cohort, values = people(rng, 150, 40, shift=1.0, spread=0.8)
    rows = rows_of(cohort, np.zeros(len(values), int), {"x": values})
    found = statistics_of(rows, values, rng)
    assert 1.0 in found["mean"]
    assert found["between_sd"].value == pytest.approx(np.sqrt(0.64 + 1 / 40), abs=0.12)
    assert found["within_sd"].value == pytest.approx(1.0, abs=0.05)
    assert found["carry"].value == pytest.approx(-1 / 40, abs=0.03)  # the bias of short series
    width = found["mean"].high - found["mean"].low
    assert width == pytest.approx(2 * 1.96 * 0.8 / np.sqrt(150), rel=0.3)  # people, not rows


def test_correlations_are_of_ranks_and_pairs():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    cohort, x = people(rng, 6, 30)
    y = np.exp(x) + rng.normal(size=180)
    sums = correlations_of(cohort, {"x": x, "y": y})
    found = correlation(sums.sum(axis=0))
    assert found[0, 1] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    y[::7] = NAN
    found = correlation(correlations_of(cohort, {"x": x, "y": y, "c": 0 * x}).sum(axis=0))
    assert found[0, 1] == pytest.approx(
        stats.spearmanr(x, y, nan_policy="omit").statistic, abs=0.02
    )
    assert found[0, 2] == 0


def test_survival():
    last = np.array([0, 0, 2, 3])
    assert survival(last, 4).tolist() == [0.5, 0.5, 0.25, 0]
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 30, size=80), np.full(80, 29)
    same, other = (compare_survival(a, x, 30, rng) for x in (rng.permutation(a), b))
    assert same.value == 0
    assert other.value > 2 * other.floor


def planted(rng: np.random.Generator, effect: float, n: int = 60) -> Rows:
    """Action `one` adds `effect`, `two` nothing; who gets `one` more often has a higher level."""
    rows = 30
    level = rng.normal(size=(n, 1))
    chance = 1 / (1 + np.exp(-level))
    action = np.where(rng.random((n, rows)) < chance, 1, 2 * (rng.random((n, rows)) < 0.5))
    part = np.arange(rows) % 2
    x = level + 0.5 * part + effect * (action == 1) + 0.5 * rng.normal(size=(n, rows))
    cohort = Cohort(tuple(map(str, range(n))), np.full(n, rows), {})
    return rows_of(cohort, action.ravel(), {"x": x.ravel()})


def test_effects_are_within_people():
    rows = planted(np.random.default_rng(0), 0.7)
    x = rows.values["x"]
    found = estimate(rows, x, np.ones((1, 60)))[0]
    assert found == pytest.approx([0.7, 0.0], abs=0.06)
    naive = x[rows.action == 1].mean() - x[rows.action == 0].mean()
    assert naive > 1.1  # between people, the higher get more of it


def test_effects_equal_least_squares_with_a_level_per_person():
    rows = planted(np.random.default_rng(1), 0.4, n=8)
    x = rows.values["x"].copy()
    x[::11] = NAN
    kept = ~np.isnan(x)
    design = np.concatenate(
        [np.eye(3)[rows.action][:, 1:], np.eye(2)[rows.part][:, 1:], np.eye(8)[rows.cohort.person]],
        1,
    )
    expected = np.linalg.lstsq(design[kept], x[kept], rcond=None)[0][:2]
    np.testing.assert_allclose(estimate(rows, x, np.ones((1, 8)))[0], expected, atol=1e-6)


def test_an_action_that_never_occurs_has_no_effect_to_tell():
    rows = planted(np.random.default_rng(1), 0.4, n=8)
    rows = Rows(**{**vars(rows), "action": np.minimum(rows.action, 1)})
    found = estimate(rows, rows.values["x"], np.ones((1, 8)))[0]
    assert np.isnan(found[1])
    assert np.isfinite(found[0])


def test_responses_are_compared():
    rng = np.random.default_rng(2)
    real = planted(rng, 0.7)
    same, other = (compare_effects(real, planted(rng, e), rng) for e in (0.7, 0.2))
    assert [e.action for e in same] == ["one", "two"]
    assert same[0].p_differs > 0.01
    assert 0.7 in same[0].real
    assert other[0].p_differs < 1e-6
    assert not other[0].inside
    assert other[0].difference.value in other[0].difference
    assert other[0].difference.value == pytest.approx(-0.5, abs=0.1)
    assert other[1].p_differs > 0.001


def test_effect_intervals_cover():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        real = planted(rng, 0.3, n=25)
        inside += 0.3 in compare_effects(real, real, rng, n=200)[0].real
    assert inside >= 51  # 95 % of 60 is 57; fewer than 51 has a chance of 1 in 500


def test_auc_by_hand():
    assert auc(np.array([0.0, 1, 2]), np.array([1.0, 3])) == (1.5 + 3) / 6
    assert auc(np.zeros(3), np.zeros(2)) == 0.5


def test_logistic_regression_is_at_its_minimum():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.ones((80, 1)), rng.normal(size=(80, 2))], axis=1)
    y = (x[:, 1] + rng.normal(size=80) > 0).astype(float)
    w = logistic(x, y, 2.0)
    p = 1 / (1 + np.exp(-x @ w))
    np.testing.assert_allclose(x.T @ (p - y) + np.array([0, 2, 2]) * w, 0, atol=1e-5)
    assert w[1] > 0.5


def test_telling_apart():
    rng = np.random.default_rng(0)
    real, same = rng.normal(size=(2, 80, 10))
    found = tell_apart(real, same, rng).auc
    assert 0.5 in Interval(found.value, found.low - 0.05, found.high + 0.05)
    moved, wide = same.copy(), same.copy()
    moved[:, 0] += 2
    wide[:, 3] *= 4  # another spread, the same mean
    for other in (moved, wide):
        assert tell_apart(real, other, rng).auc.low > 0.7
    with pytest.raises(ValueError, match="at least 2 people"):
        tell_apart(real[:1], same, rng)


def test_copied_stretches_are_found():
    rng = np.random.default_rng(0)
    a, _ = people(rng, 30, 20)
    b, _ = people(rng, 30, 20)
    share, expected = copied(a, b, ["x"], 6, rng)
    assert share < 0.02
    assert expected < 0.02
    copy = b["x"].copy()
    copy[5 * 20 : 6 * 20] = a["x"][2 * 20 : 3 * 20]  # person 5 is the real person 2
    share, _ = copied(a, b.with_columns(x=copy), ["x"], 6, rng)
    assert share == pytest.approx(1 / 30, abs=0.01)
    assert copied(a, a.take([3, 3]), ["x"], 6, rng)[0] == 1


def test_stretches_are_of_one_person():
    cohort = Cohort(("a", "b"), np.array([3, 2]), {"x": np.array([1.0, 2, NAN, 1, 2])})
    whose, what = stretches(cohort, ["x"], 2)
    assert whose.tolist() == [0, 0, 1]
    assert what[0] == what[2] != what[1]
    assert len(stretches(cohort, ["x"], 4)[0]) == 0


def test_the_nearest_real_person():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(2, 50, 4))
    to_real, among = nearest(real, other)
    assert np.median(to_real) == pytest.approx(np.median(among), rel=0.3)
    assert nearest(real, real[:5])[0].tolist() == [0] * 5
    assert nearest(np.array([[0.0], [2.0]]), np.array([[3.0]]))[0][0] == 1  # sd is 1
