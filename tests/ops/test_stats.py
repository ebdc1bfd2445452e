"""Statistics against published values and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.ops import bootstrap_ci, iqm, mcnemar, pass_at_k, wilson


def test_wilson_by_hand():
    # 8 of 10, z = 1.959964: centre (0.8 + 3.841459/20)/1.3841459 = 0.7167,
    # half-width √(0.016 + 3.841459/400) · 1.959964/1.3841459 = 0.2266.
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    # Nothing right of n: (0, z²/(n + z²)).
    assert wilson(0, 10) == pytest.approx((0.0, 3.841459 / 13.841459), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


@settings(deadline=None)
@given(st.integers(1, 300), st.data(), st.sampled_from([0.5, 0.9, 0.99]))
def test_wilson_bounds_solve_the_score_equation(n, data, confidence):
    """|p̂ − p| = z √(p (1 − p)/n) at both ends: what the interval inverts."""
    successes = data.draw(st.integers(0, n))
    z = {0.5: 0.6744898, 0.9: 1.6448536, 0.99: 2.5758293}[confidence]
    low, high = wilson(successes, n, confidence)
    assert 0 <= low <= successes / n <= high <= 1
    for p in (low, high):
        assert abs(successes / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), abs=1e-6)
    assert wilson(n - successes, n, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer():
    for n, c in itertools.product(range(1, 7), range(7)):
        if c > n:
            continue
        answers = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(answers, k))
            share = sum(any(s) for s in subsets) / len(subsets)
            assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_by_hand():
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)  # 1 − C(3, 2)/C(5, 2) = 1 − 3/10
    assert pass_at_k(4, 1, 1) == 0.25


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_binomial_test(b, c):
    n = b + c
    as_extreme = sum(math.comb(n, i) for i in range(n + 1) if abs(2 * i - n) >= abs(b - c))
    assert mcnemar(b, c) == pytest.approx(as_extreme / 2**n, abs=1e-12)
    assert mcnemar(b, c) == mcnemar(c, b)


def test_mcnemar_by_hand():
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar(0, 0) == 1.0
    assert 0 < mcnemar(900, 1100) < 1e-4  # 2^2000 does not fit a float


def test_iqm_by_hand():
    # Of eight, −70, 1 and 6, 100 go: (2 + 3 + 4 + 5)/4.
    assert iqm([100, 3, 1, 4, 6, 2, 5, -70]) == (2 + 3 + 4 + 5) / 4
    assert iqm([1, 2, 30]) == 11  # ⌊3/4⌋ = 0
    assert iqm(np.array([[9.0, 1.0], [2.0, 3.0]])) == 2.5


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    """Of normal samples: 90 % intervals of 40 values, with a standard error of 1.5 % over 400 tries."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        low, high = bootstrap_ci(rng.normal(3.0, 1.0, 40), np.mean, rng, 200, 0.9)
        covered += low <= 3.0 <= high
    assert 0.83 < covered / 400 < 0.95


def test_bootstrap_of_the_mean_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(1).normal(0.0, 2.0, 400)
    low, high = bootstrap_ci(values, np.mean, np.random.default_rng(2), 2000, 0.95)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)


def test_bootstrap_depends_on_its_generator_only():
    runs = [bootstrap_ci([1, 2, 3, 7], iqm, np.random.default_rng(s), 50) for s in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]
    assert bootstrap_ci([4.0] * 5, np.median, np.random.default_rng(0), 10) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "wilson: 3 successes of 2"),
        (lambda: wilson(1, 2, 95), "wilson: confidence is 95; it must be between 0 and 1"),
        (lambda: pass_at_k(2, 3, 1), "pass_at_k: 3 right of 2"),
        (lambda: pass_at_k(2, 0, 5), "pass_at_k: k is 5; it must be between 1 and the 2"),
        (lambda: mcnemar(-1, 2), "mcnemar: counts are -1 and 2"),
        (lambda: iqm([]), "iqm: no values"),
        (lambda: bootstrap_ci([], np.mean, np.random.default_rng(0)), "bootstrap_ci: no values"),
        (lambda: bootstrap_ci([1], np.mean, np.random.default_rng(0), 0), "0 resamples"),
    ],
)
def test_impossible_numbers_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
