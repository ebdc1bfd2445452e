import numpy as np
import pytest

from understudy.ops.tilt import STEEPEST, tilted, tilts


def test_every_row_has_its_mean_and_stays_as_near_as_it_can():
    rng = np.random.default_rng(0)
    p, values = rng.dirichlet(np.full(6, 0.5), 300), np.array([0.0, 1, 2, 3, 5, 9])
    means = rng.uniform(0.2, 8.0, 300)
    slopes = tilts(np.log(p), values, means)
    q = tilted(np.log(p), values, slopes)
    np.testing.assert_allclose(q @ values, means, atol=1e-7)
    # Along the line of distributions with that mean relative entropy is least where its slope is 0:
    # log(q / p) is linear in the value.
    ratio = np.log(q / p)
    line = ratio[:, :1] + slopes[:, None] * (values - values[0])
    np.testing.assert_allclose(ratio, line, atol=1e-7)


def test_a_row_without_a_mean_stays_and_an_impossible_mean_is_come_near_to():
    logprobs = np.log(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    slopes = tilts(logprobs, np.arange(3.0), np.array([np.nan, 2.5, -1.0]))
    assert slopes[0] == 0
    assert slopes[1:] == pytest.approx([STEEPEST, -STEEPEST], abs=1e-6)


def test_what_is_impossible_stays_so():
    logprobs = np.array([[np.log(0.5), np.log(0.5), -np.inf]])
    slope = tilts(logprobs, np.arange(3.0), np.array([0.9]))
    np.testing.assert_allclose(tilted(logprobs, np.arange(3.0), slope), [[0.1, 0.9, 0]], atol=1e-8)


def test_a_single_possible_value_needs_no_slope_to_be_found():
    slope = tilts(np.array([[0.0]]), np.array([0.0]), np.array([0.7]))
    assert np.isfinite(slope).all()
