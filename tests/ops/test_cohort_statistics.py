"""Aggregates by hand, what hiding and noise do to them, and that nothing else is kept."""

import json

import numpy as np
import pytest

from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import (
    Rows,
    _not_negative,
    from_json,
    private_profile,
    profile,
    series,
    to_json,
)
from understudy.ops.cohort_summary import (
    correlations,
    hazard,
    mean_of,
    quantiles_of,
    sd_of,
    spearman,
    summary,
)

NAN = np.nan


def rows_of(
    values: list[list[float]], actions: list[list[int]] | None = None, parts: int = 2
) -> Rows:
    """One measure x on levels 0 .. 4 (and y = 4 - x), each person's rows half a day apart."""
    lengths = np.array([len(v) for v in values])
    x = np.concatenate([np.array(v, float) for v in values])
    step = np.concatenate([np.arange(n) for n in lengths])
    action = np.concatenate(actions) if actions else np.zeros(len(x), int)
    cohort = Cohort(tuple(map(str, range(len(values)))), lengths, {"x": x})
    levels = {"x": np.arange(5.0), "y": np.arange(5.0)}
    return Rows(
        cohort, step // parts, step % parts, action.astype(int), {"x": x, "y": 4 - x}, levels,
        ("am", "pm"), ("none", "send"), 5,
    )  # fmt: skip


def test_counts_by_hand():
    found = profile(rows_of([[0, 1, 4], [2, NAN]], [[0, 1, 1], [1, 0]]))
    x = found.measures["x"]
    assert x.table[0, 0].tolist() == [1, 0, 0, 0, 0]  # morning, none
    assert x.table[0, 1].tolist() == [0, 0, 1, 0, 1]  # morning, send
    assert x.table[1, 1].tolist() == [0, 1, 0, 0, 0]
    assert x.table.sum() == 4  # NaN is not counted
    assert np.argwhere(x.moves).tolist() == [
        [1, 0, 1],
        [1, 1, 4],
    ]  # not from one person to the next
    assert found.last_days.tolist() == [1, 1, 0, 0, 0]
    assert x.means.sum() == 2


def test_series_by_hand():
    found = series(rows_of([[0, 1, 3, 4], [2, 2, 2], [1]]), np.array([0, 1, 3, 4, 2, 2, 2, 1.0]))
    assert found.mean.tolist() == [2, 2, 1]
    assert found.sd[0] == pytest.approx(np.sqrt(10 / 3))
    # Deviations -2, -1, 1, 2: products 2, -1, 2 over 4 + 1 + 1 + 4.
    assert found.carry[0] == pytest.approx(0.3)
    # Half a day apart: 1.4 a step, so 2.8 a day; left over 10 - 2.8 * 3.5 = 0.2.
    assert found.slope[0] == pytest.approx(2.8)
    assert found.swing[0] == pytest.approx(np.sqrt(0.1))
    assert np.isnan(found.carry[1])
    assert found.slope[1] == 0
    assert np.isnan(found.sd[2])
    assert np.isnan(found.slope[2])


def test_series_equal_numpys_on_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    found = series(rows_of([x.tolist()]), x)
    t = np.arange(40) / 2
    line = np.polyfit(t, x, 1)
    assert found.slope[0] == pytest.approx(line[0])
    assert found.swing[0] == pytest.approx(np.sqrt(((x - np.polyval(line, t)) ** 2).sum() / 38))
    assert found.sd[0] == pytest.approx(x.std(ddof=1))


def test_small_cells_are_hidden_by_people_not_rows():
    # Level 0: three rows of one person. Level 1: one row of each of three.
    found = profile(rows_of([[0, 0, 0, 1], [1], [1]]), hidden_below=2)
    pooled = found.measures["x"].table.sum(axis=(0, 1))
    assert pooled.tolist() == [0, 2, 0, 0, 0]  # the first person's 1 is alone in its afternoon
    assert found.last_days.tolist() == [2, 0, 0, 0, 0]
    kept = json.dumps(to_json(found))
    assert json.loads(kept)["hidden_below"] == 2


def test_one_person_changes_any_private_table_by_at_most_one():
    """What the noise is scaled to: the tables' sensitivity, with a weight of 1 per person."""
    from understudy.ops.cohort_statistics import _profile, _tables

    rng = np.random.default_rng(0)
    people = [rng.integers(0, 5, size=n).tolist() for n in (10, 3, 1, 7)]
    acts = [rng.integers(0, 2, size=len(p)) for p in people]

    def tables(which: list[int]):
        rows = rows_of([people[i] for i in which], [acts[i] for i in which])
        lengths = rows.cohort.lengths
        return list(_tables(_profile(rows, 1 / np.repeat(lengths, lengths), 0, "people")))

    for out in range(4):
        rest = [i for i in range(4) if i != out]
        for with_all, without in zip(tables([*rest, out]), tables(rest), strict=True):
            assert np.abs(with_all - without).sum() <= 1 + 1e-9


@pytest.mark.parametrize("delta", [0.0, 1e-5])
def test_noise_is_what_it_says_and_fades_with_epsilon(delta: float):
    rng = np.random.default_rng(1)
    rows = rows_of([rng.integers(0, 3, size=4).tolist() for _ in range(400)])
    exact = profile(rows)
    loud, quiet = (private_profile(rows, e, np.random.default_rng(2), delta) for e in (1.0, 50.0))
    assert loud.noise > 5 * quiet.noise > 0
    if not delta:
        assert loud.noise == pytest.approx(
            np.sqrt(2) * 16
        )  # 2 · 7 tables, one of pairs, one of days
    told = [summary(p)["measures"]["x"]["mean"] for p in (exact, quiet)]
    assert told[1] == pytest.approx(told[0], abs=0.1)
    assert not np.array_equal(quiet.measures["x"].table, exact.measures["x"].table)
    assert (loud.measures["x"].moves >= 0).all()
    assert quiet.unit == "people"


def test_a_privacy_that_cannot_be():
    rows = rows_of([[1, 2], [3]])
    for epsilon, delta in ((0.0, 0.0), (-1.0, 0.0), (np.inf, 0.0), (1.0, 1.0)):
        with pytest.raises(ValueError, match="epsilon"):
            private_profile(rows, epsilon, np.random.default_rng(0), delta)


def test_the_nearest_table_without_negatives():
    assert _not_negative(np.array([3.0, 1.0, -1.0])).tolist() == [2.5, 0.5, 0.0]
    assert _not_negative(np.array([-1.0, -2.0])).tolist() == [0.0, 0.0]
    kept = np.array([[1.0, 2.0]])
    np.testing.assert_allclose(_not_negative(kept), kept)


def test_numbers_from_counts():
    levels, counts = np.array([0.0, 1, 2, 3]), np.array([1.0, 0, 2, 1])
    assert mean_of(levels, counts) == 7 / 4
    assert sd_of(levels, counts) == pytest.approx(np.std([0, 2, 2, 3]))
    assert quantiles_of(levels, counts, (0.25, 0.26, 0.75, 0.76, 1.0)) == [0, 2, 2, 3, 3]
    assert np.isnan(mean_of(levels, np.zeros(4)))


def test_the_hazard_of_leaving():
    assert hazard(np.array([2.0, 0, 4, 4])).tolist() == [0.2, 0, 0.5, 0]  # who stays is not leaving


def test_rank_correlation_of_a_table_equals_scipys():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a = rng.integers(0, 6, size=300)
    b = np.clip(a + rng.integers(-2, 3, size=300), 0, 5)
    table = np.zeros((8, 8))
    np.add.at(table, (a, b), 1)
    assert spearman(table) == pytest.approx(scipy_stats.spearmanr(a, b).statistic)
    assert spearman(table[:, ::-1]) == pytest.approx(-spearman(table))


def test_correlations_have_signs():
    rng = np.random.default_rng(0)
    found = correlations(profile(rows_of([rng.integers(0, 5, size=9).tolist() for _ in range(20)])))
    np.testing.assert_allclose(found, [[1, -1], [-1, 1]])  # y = 4 - x


def test_a_summary_tells_actions_and_spreads_apart():
    people = [[0, 4, 0, 4], [1, 3, 1, 3]]
    told = summary(profile(rows_of(people, [[0, 1, 0, 1]] * 2)))["measures"]["x"]
    assert told["by_action"] == {"none": 0.5, "send": 3.5}
    assert told["by_part"] == {"am": 0.5, "pm": 3.5}
    assert told["between_sd"] == 0
    # Per person 16/3 and 4/3, each counted at the nearest twentieth of 2.
    assert told["within_sd"] == pytest.approx(np.sqrt((2.0**2 + 1.15**2) / 2), abs=1e-6)
    assert told["carry"] == pytest.approx(-0.75)


def test_json_round_trip_and_its_mistakes():
    whole = profile(rows_of([[0, 1, 4], [2, 3]]))
    values = json.loads(json.dumps(to_json(whole)))
    assert summary(from_json(values)) == summary(whole)
    broken = json.loads(json.dumps(values))
    broken["measures"]["x"]["moves"] = [[0.0]]
    with pytest.raises(ValueError, match=r"measures.x.moves must be \[2, 5, 5\]"):
        from_json(broken)
    del values["pairs"]
    with pytest.raises(ValueError, match="no profile: 'pairs'"):
        from_json(values)
