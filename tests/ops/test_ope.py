"""Off-policy estimators: by enumeration of every episode of a small process, and as the papers write them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.ops.intervals import (
    interval,
    linear_resamples,
    p_value,
    resample_counts,
    resolvable,
)
from understudy.ops.ope import (
    Estimate,
    clustered_errors,
    cumulative_ratios,
    doubly_robust,
    effective_size,
    horizon_effective_size,
    magic,
    partial_returns,
    resampled,
    simplex_minimum,
    temporal_differences,
    weighted_doubly_robust,
)
from understudy.ops.stats import holm

S, K, HORIZON, GAMMA = 2, 2, 3, 0.8
START = np.array([0.3, 0.7])
NEXT = np.array([[[0.5, 0.3], [0.1, 0.9]], [[0.6, 0.4], [0.2, 0.2]]])
"""[s, a, s']; what is missing to 1 is dropping out."""
REWARD = np.array([[1.0, -0.5], [0.3, 2.0]])
MU = np.array([[0.7, 0.3], [0.4, 0.6]])
PI = np.array([[0.1, 0.9], [0.8, 0.2]])


def values(policy, horizon=HORIZON):
    """Q and V with so many decisions left: Q[h], V[h]; those of 0 left are 0."""
    v = [np.zeros(S)]
    q = [np.zeros((S, K))]
    for _ in range(horizon):
        q.append(REWARD + GAMMA * NEXT @ v[-1])
        v.append((policy * q[-1]).sum(1))
    return q, v


def episodes():
    """Every episode under μ: its probability, states, actions."""
    out = []

    def go(p, states, actions):
        s = states[-1]
        for a in range(K):
            taken = p * MU[s, a]
            ends = len(actions) + 1 == HORIZON
            stop = 1.0 if ends else 1 - NEXT[s, a].sum()
            if stop > 0:
                out.append((taken * stop, states, [*actions, a]))
            if not ends:
                for s2 in range(S):
                    if NEXT[s, a, s2] > 0:
                        go(taken * NEXT[s, a, s2], [*states, s2], [*actions, a])

    for s in range(S):
        go(START[s], [s], [])
    return out


ALL = episodes()


def arrays(some, policy=PI, q=None):
    """Padded inputs of the estimators for some of the episodes; Q̂ [h, S, K] by decisions left."""
    n, shape = len(some), (len(some), HORIZON)
    mask, rewards, target, behaviour, qs, nexts = (np.zeros(shape) for _ in range(6))
    v0 = np.zeros(n)
    mask = mask.astype(bool)
    q = np.zeros((HORIZON + 1, S, K)) if q is None else q
    v = (policy * q).sum(-1)
    for i, (_, states, actions) in enumerate(some):
        v0[i] = v[HORIZON, states[0]]
        for t, (s, a) in enumerate(zip(states, actions, strict=True)):
            mask[i, t] = True
            rewards[i, t] = REWARD[s, a]
            target[i, t], behaviour[i, t] = policy[s, a], MU[s, a]
            qs[i, t] = q[HORIZON - t, s, a]
            if t + 1 < len(states):
                nexts[i, t] = v[HORIZON - t - 1, states[t + 1]]
    rho = cumulative_ratios(target, behaviour, mask)
    return rho, temporal_differences(rewards, qs, nexts, mask, GAMMA), v0


def anything(seed):
    q = np.random.default_rng(seed).normal(size=(HORIZON + 1, S, K))
    q[0] = 0
    return q


P = np.array([p for p, _, _ in ALL])
TRUTH = float(START @ values(PI)[1][HORIZON])
SAMPLE = [ALL[i] for i in np.random.default_rng(5).choice(len(ALL), size=12, p=P / P.sum())]


def test_the_enumeration_is_one():
    assert P.sum() == pytest.approx(1, abs=1e-12)
    assert {len(a) for _, _, a in ALL} == {1, 2, 3}


@pytest.mark.parametrize("q", [None, anything(1), anything(2)], ids=["pdis", "dr", "dr2"])
def test_importance_sampling_and_dr_are_unbiased_whatever_the_model(q):
    mean = sum(
        p * doubly_robust(*arrays([episode], q=q)).value for p, episode in zip(P, ALL, strict=True)
    )
    assert mean == pytest.approx(TRUTH, abs=1e-12)


def test_the_true_model_leaves_only_the_noise_of_the_world():
    """With Q̂ = Q^π each δ has mean 0 given (s, a): DR's expectation holds under wrong ratios too."""
    q = np.array(values(PI)[0])
    rho, delta, v0 = arrays(ALL, q=q)
    wrong = rho**0.5
    mean = float(P @ (v0 + (wrong * delta).sum(1)))
    assert mean == pytest.approx(TRUTH, abs=1e-12)
    assert float(P @ v0) == pytest.approx(TRUTH, abs=1e-12)


def test_dr_varies_less_with_the_true_model():
    def variance(q):
        rho, delta, v0 = arrays(ALL, q=q)
        each = v0 + (rho * delta).sum(1)
        return float(P @ each**2 - (P @ each) ** 2)

    assert variance(np.array(values(PI)[0])) < 0.7 * variance(None)


def test_same_policy_gives_the_mean_return():
    rho, delta, v0 = arrays(SAMPLE, policy=MU)
    returns = [
        sum(GAMMA**t * REWARD[s, a] for t, (s, a) in enumerate(zip(ss, aa, strict=True)))
        for _, ss, aa in SAMPLE
    ]
    for estimate in (doubly_robust(rho, delta, v0), weighted_doubly_robust(rho, delta, v0)):
        assert estimate.value == pytest.approx(np.mean(returns), abs=1e-12)
        assert estimate.error == pytest.approx(np.std(returns, ddof=1) / math.sqrt(len(returns)))


def test_weighted_dr_as_thomas_and_brunskill_write_it():
    """Σᵢ Σₜ γᵗ (wₜ rₜ − (wₜ Q̂ − wₜ₋₁ V̂)), w₋₁ = 1/n, behind the end all 0 and ratios kept."""
    q = anything(3)
    rho, delta, v0 = arrays(SAMPLE, q=q)
    v = (PI * q).sum(-1)
    n = len(SAMPLE)
    weights = rho / rho.sum(0)
    before = np.column_stack([np.full(n, 1 / n), weights[:, :-1]])
    literal = 0.0
    for i, (_, states, actions) in enumerate(SAMPLE):
        for t, (s, a) in enumerate(zip(states, actions, strict=True)):
            gain = weights[i, t] * (REWARD[s, a] - q[HORIZON - t, s, a])
            literal += GAMMA**t * (gain + before[i, t] * v[HORIZON - t, s])
    assert weighted_doubly_robust(rho, delta, v0).value == pytest.approx(literal, abs=1e-12)


def test_weighted_pdis_by_hand():
    # Two people, one step: ratios 3 and 1, rewards 4 and 0: (3·4 + 1·0)/4; plainly (12 + 0)/2.
    rho, delta = np.array([[3.0], [1.0]]), np.array([[4.0], [0.0]])
    assert weighted_doubly_robust(rho, delta, np.zeros(2)).value == 3.0
    assert doubly_robust(rho, delta, np.zeros(2)).value == 6.0


def test_weighted_pdis_is_consistent():
    """Of n copies of all episodes in proportion to μ it is the truth; of few it is not."""
    rho, delta, _ = arrays(ALL)
    weights = P[:, None] * rho
    value = ((weights * delta).sum(0) / weights.sum(0)).sum()
    assert value == pytest.approx(TRUTH, abs=1e-12)


def test_partial_returns_go_from_the_model_to_weighted_dr():
    rho, delta, v0 = arrays(SAMPLE, q=anything(4))
    g, influence = partial_returns(rho, delta, v0)
    assert len(g) == HORIZON + 1
    assert g[0] == pytest.approx(v0.mean())
    assert g[-1] == pytest.approx(weighted_doubly_robust(rho, delta, v0).value)
    assert influence.mean(0) == pytest.approx(np.zeros(HORIZON + 1), abs=1e-12)
    for j in range(HORIZON):
        cut = delta.copy()
        cut[:, j + 1 :] = 0
        assert g[j + 1] == pytest.approx(weighted_doubly_robust(rho, cut, v0).value)


@pytest.mark.parametrize("estimator", [doubly_robust, weighted_doubly_robust])
def test_influence_is_the_derivative_by_a_persons_weight(estimator):
    """ψᵢ = n ∂value/∂cᵢ at c = 1, by finite differences on repeated people."""
    rho, delta, v0 = arrays(SAMPLE, q=anything(6))
    influence = estimator(rho, delta, v0).influence
    n, many = len(SAMPLE), 400

    def with_more_of(i):
        rows = np.concatenate([np.repeat(np.arange(n), many), [i]])
        return estimator(rho[rows], delta[rows], v0[rows]).value

    base = estimator(rho, delta, v0).value
    found = [(with_more_of(i) - base) * (n * many + 1) for i in range(n)]
    assert influence == pytest.approx(np.array(found), abs=0.02 * np.abs(influence).max())


def test_resamples_at_once_equal_resamples_one_by_one():
    rho, delta, v0 = arrays(SAMPLE, q=anything(7))
    counts = resample_counts(len(SAMPLE), 20, np.random.default_rng(0))
    found, errors = resampled(rho, delta, v0, counts)
    for value, error, some in zip(found, errors, counts, strict=True):
        rows = np.repeat(np.arange(len(SAMPLE)), some.astype(int))
        one = weighted_doubly_robust(rho[rows], delta[rows], v0[rows])
        assert value == pytest.approx(one.value, abs=1e-12)
        assert error == pytest.approx(one.error, abs=1e-12)


def test_magic_is_a_blend_of_least_estimated_error():
    rho, delta, v0 = arrays(SAMPLE, q=anything(8))
    g, influence = partial_returns(rho, delta, v0)
    blend = magic(rho, delta, v0, np.random.default_rng(0))
    assert g.min() - 1e-9 <= blend.value <= g.max() + 1e-9
    assert blend.error <= max(Estimate(0, influence[:, j]).error for j in range(len(g)))
    # A model far off is not believed, a perfect one in a world without noise is.
    off = np.array(values(PI)[0]) + 50
    off[0] = 0
    rho, delta, v0 = arrays(SAMPLE, q=off)
    assert magic(rho, delta, v0, np.random.default_rng(0)).value < 25


def test_simplex_minimum_by_grid():
    rng = np.random.default_rng(3)
    grid = np.array(
        [(a, b, 100 - a - b) for a in range(101) for b in range(101 - a)], dtype=float
    ) / 100  # fmt: skip
    for _ in range(20):
        half = rng.normal(size=(3, 3))
        matrix = half @ half.T
        x = simplex_minimum(matrix)
        assert x.sum() == pytest.approx(1)
        assert x.min() >= 0
        best = np.einsum("ni,ij,nj->n", grid, matrix, grid).min()
        assert x @ matrix @ x <= best + 1e-6
    assert simplex_minimum(np.zeros((4, 4))) == pytest.approx(np.full(4, 0.25))


def test_ratios_stay_behind_the_end_and_need_support():
    mask = np.array([[True, False, False], [True, True, True]])
    target = np.array([[0.5, 9, 9], [1, 0, 1]])
    behaviour = np.array([[0.25, 0, 0], [0.5, 0.5, 0.5]])
    found = cumulative_ratios(target, behaviour, mask)
    assert found.tolist() == [[2, 2, 2], [2, 0, 0]]
    with pytest.raises(ValueError, match="not above 0"):
        cumulative_ratios(target, np.where(mask, 0.0, behaviour), mask)
    long = np.ones((1, 2000), dtype=bool)
    assert np.isfinite(cumulative_ratios(long * 1.0, long * 0.25, long) ** 2).all()


def test_effective_size_by_hand():
    assert effective_size(np.array([1.0, 1, 1, 1])) == 4
    assert effective_size(np.array([3.0, 1])) == pytest.approx(16 / 10)
    assert effective_size(np.zeros(3)) == 0
    rho = np.array([[1.0, 2, 5, 1], [1, 0, 1, 0]])
    assert horizon_effective_size(rho, 0.5) == pytest.approx(36 / 26)  # (1 + .5 + .25)/1.875 = .93
    assert horizon_effective_size(rho, 0.5, share=0.8) == 1
    assert horizon_effective_size(rho, 0.0) == 2


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_procedure(p):
    """An adjusted p is the least α at which Holm's procedure rejects."""
    found = holm(np.array(p))
    order = sorted(range(len(p)), key=lambda i: p[i])
    for alpha in (0.01, 0.05, 0.3):
        passed = [p[i] * (len(p) - k) <= alpha for k, i in enumerate(order)]
        stop = passed.index(False) if False in passed else len(p)
        rejected = set(order[:stop])
        assert {i for i in range(len(p)) if found[i] <= alpha} == rejected


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_replicates_do_not_make_evidence_but_wilcoxon_on_them_would():
    """7 people, 150 replicates: treated as pairs their p falls with B; ours does not."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(4)
    difference = rng.normal(0.4, 1.0, 7)
    estimate = Estimate(float(difference.mean()), difference - difference.mean())
    wilcoxon, ours = {}, {}
    for many in (150, 1500):
        counts = resample_counts(7, many, np.random.default_rng(0))
        replicates = counts @ difference / 7
        wilcoxon[many] = stats.wilcoxon(replicates, alternative="greater").pvalue
        ours[many] = p_value(estimate, resample_counts(7, many, np.random.default_rng(0)))
    assert wilcoxon[1500] < wilcoxon[150] ** 5 < 1e-10
    assert 0.05 < ours[1500] < 1
    assert ours[1500] == pytest.approx(ours[150], abs=0.08)
    assert ours[1500] == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, abs=0.15)


def test_p_values_of_no_difference_are_uniform():
    rng = np.random.default_rng(1)
    counts = resample_counts(20, 400, rng)
    p = []
    for _ in range(400):
        x = rng.normal(size=20)
        p.append(p_value(Estimate(float(x.mean()), x - x.mean()), counts))
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
    assert 0.42 < np.mean(p) < 0.58


def test_intervals_of_skewed_people_cover():
    """Exponential, n = 30: percentile-t covers about 95 %, where the percentile interval does not."""
    rng = np.random.default_rng(2)
    counts = resample_counts(30, 500, rng)
    covered = []
    for _ in range(400):
        x = rng.exponential(size=30)
        estimate = Estimate(float(x.mean()), x - x.mean())
        low, high = interval(estimate, *linear_resamples(estimate, counts))
        assert low < estimate.value < high
        covered.append(low <= 1 <= high)
    assert 0.925 <= np.mean(covered) <= 0.975


def test_linear_resamples_are_those_of_the_mean():
    x = np.random.default_rng(0).normal(size=9)
    counts = resample_counts(9, 30, np.random.default_rng(1))
    assert (counts.sum(1) == 9).all()
    found, errors = linear_resamples(Estimate(float(x.mean()), x - x.mean()), counts)
    for value, error, some in zip(found, errors, counts, strict=True):
        drawn = np.repeat(x, some.astype(int))
        assert value == pytest.approx(drawn.mean())
        assert error == pytest.approx(drawn.std(ddof=1) / 3)
    one = clustered_errors((x - x.mean())[None], np.ones((1, 9)))
    assert one[0] == pytest.approx(x.std(ddof=1) / 3)


def test_what_could_have_been_resolved():
    assert resolvable(1.0, 0.05) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    rng = np.random.default_rng(0)
    truth = resolvable(1 / math.sqrt(200), 0.05)
    found = [abs(x.mean()) > 1.96 / math.sqrt(200) for x in rng.normal(truth, 1, (500, 200))]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_people_alike_have_no_interval_and_no_difference():
    same = Estimate(2.0, np.zeros(5))
    counts = resample_counts(5, 100, np.random.default_rng(0))
    assert interval(same, *linear_resamples(same, counts)) == (2.0, 2.0)
    assert p_value(same, counts) == 1.0
    with pytest.raises(ValueError, match="confidence is 95"):
        interval(same, *linear_resamples(same, counts), confidence=95)
