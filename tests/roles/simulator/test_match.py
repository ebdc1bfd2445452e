import numpy as np
import pytest

from understudy.roles.simulator.match import (
    Aims,
    Said,
    Tilt,
    fit,
    frequencies,
    neutral,
    rebin,
    stacked,
)

PARTS, ACTIONS, CODES = 2, 3, 4
VALUES = np.arange(float(CODES))


def said(rng, n=4000, **changes):
    return Said(
        **{
            "part": rng.integers(PARTS, size=n),
            "action": rng.integers(ACTIONS, size=n),
            "deviations": rng.normal(0, [0.5, 0.8, 0.3], (n, 3)),
            "logprobs": np.log(rng.dirichlet(np.ones(CODES), n)),
        }
        | changes
    )


def moments(tilt: Tilt, of: Said):
    """By hand: each moment's own distribution, one after the other."""
    rows = zip(of.part, of.action, of.deviations, of.logprobs, strict=True)
    p = []
    for part, action, deviations, logprobs in rows:
        mass = np.exp(logprobs + tilt.weights(part, action, deviations))
        p.append(mass / mass.sum())
    p = np.array(p)
    table = np.zeros((PARTS, ACTIONS, CODES))
    for part in range(PARTS):
        for action in range(ACTIONS):
            table[part, action] = p[(of.part == part) & (of.action == action)].mean(axis=0)
    off = p @ VALUES - tilt.middle
    return table, np.linalg.lstsq(of.deviations, off, rcond=None)[0]


def aims(rng, rises=(0.36, -0.19, 0.2)):
    table = rng.dirichlet(np.full(CODES, 3.0), (PARTS, ACTIONS))
    return Aims(VALUES, table, 1.4, rises)


def test_the_fitted_moments_are_those_aimed_at():
    rng = np.random.default_rng(0)
    wanted, heard = aims(rng), said(rng)
    table, rises = moments(fit(wanted, heard, neutral(wanted)), heard)
    np.testing.assert_allclose(table, wanted.table, atol=2e-3)
    assert rises == pytest.approx(wanted.rises, abs=5e-3)


def test_what_is_there_already_needs_no_weights():
    rng = np.random.default_rng(1)
    heard = said(rng)
    wanted = aims(rng)
    table, rises = moments(neutral(wanted), heard)
    found = fit(Aims(VALUES, table, 1.4, tuple(rises)), heard, neutral(wanted))
    assert np.abs(found.table).max() < 0.02
    assert np.abs(found.slopes).max() < 0.02


def test_unknown_slopes_stay_flat():
    rng = np.random.default_rng(2)
    wanted = aims(rng, None)
    found = fit(wanted, said(rng), neutral(wanted))
    assert found.slopes.tolist() == [0, 0, 0]


def test_a_code_that_was_never_possible_is_left_out():
    rng = np.random.default_rng(3)
    logprobs = np.log(rng.dirichlet(np.ones(CODES), 4000))
    logprobs[:, 3] = -np.inf
    wanted = aims(rng, None)
    heard = said(rng, logprobs=logprobs)
    table, _ = moments(fit(wanted, heard, neutral(wanted)), heard)
    assert table[..., 3].max() == 0
    expected = wanted.table[..., :3] / wanted.table[..., :3].sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(table[..., :3], expected, atol=2e-3)


def test_counts_are_shared_out_between_neighbours():
    # Half-point levels onto whole numbers: 1.5 is half 1, half 2.
    counts = np.array([2.0, 4.0, 6.0])
    out = rebin(counts, np.array([1.0, 1.5, 2.0]), np.arange(4.0))
    np.testing.assert_allclose(out, [0, 2 + 2, 2 + 6, 0])


def test_thin_cells_lean_on_all_cells():
    table = np.zeros((1, 2, 2))
    table[0, 0] = [900, 100]
    found = frequencies(table)
    np.testing.assert_allclose(found[0, 1], [0.9, 0.1])
    np.testing.assert_allclose(found.sum(axis=-1), 1)


def test_a_tilt_survives_json():
    rng = np.random.default_rng(4)
    wanted = aims(rng)
    tilt = fit(wanted, said(rng, 200), neutral(wanted))
    again = Tilt.of(tilt.state())
    np.testing.assert_array_equal(again.table, tilt.table)
    np.testing.assert_array_equal(again.slopes, tilt.slopes)
    assert again.middle == tilt.middle


def test_rows_become_arrays():
    of = stacked([(0, 1, np.ones(3), np.zeros(4)), (1, 2, np.zeros(3), np.ones(4))])
    assert of.part.tolist() == [0, 1]
    assert of.action.tolist() == [1, 2]
    assert of.deviations.sum(axis=1).tolist() == [3, 0]
    assert of.logprobs.shape == (2, 4)
