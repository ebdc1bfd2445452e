import numpy as np
import pytest

from understudy.roles.simulator.match import Said, fit, frequencies, rebin, stacked

PARTS, ACTIONS, CODES = 2, 3, 4
DIGITS = np.arange(float(CODES))


def said(rng, n=4000, **changes):
    return Said(
        **{
            "part": rng.integers(PARTS, size=n),
            "action": rng.integers(ACTIONS, size=n),
            "mean": np.full(n, np.nan),
            "logprobs": np.log(rng.dirichlet(np.ones(CODES), n)),
        }
        | changes
    )


def drawn_from(weights, of: Said):
    """[M, L] by hand: each moment's own distribution, one after the other."""
    found = []
    for part, action, mean, logprobs in zip(of.part, of.action, of.mean, of.logprobs, strict=True):
        mass = np.exp(logprobs + weights[part, action])
        found.append(mass / mass.sum() if np.isnan(mean) else with_mean(mass, mean))
    return np.array(found)


def with_mean(mass, mean):
    """The tilt of a distribution over 0, 1, ... that has a mean, by halving."""
    low, high = -8.0, 8.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        p = mass * np.exp(middle * DIGITS)
        p /= p.sum()
        low, high = (middle, high) if p @ DIGITS < mean else (low, middle)
    return p


def frequencies_of(p, of: Said):
    table = np.zeros((PARTS, ACTIONS, CODES))
    for part in range(PARTS):
        for action in range(ACTIONS):
            table[part, action] = p[(of.part == part) & (of.action == action)].mean(axis=0)
    return table


@pytest.fixture
def aim():
    return np.random.default_rng(9).dirichlet(np.full(CODES, 3.0), (PARTS, ACTIONS))


FLAT = np.zeros((PARTS, ACTIONS, CODES))


def test_the_frequencies_are_those_aimed_at(aim):
    heard = said(np.random.default_rng(0))
    weights = fit(aim, heard, FLAT)
    np.testing.assert_allclose(frequencies_of(drawn_from(weights, heard), heard), aim, atol=2e-3)


def test_frequencies_and_means_are_met_together(aim):
    """Means that agree with the frequencies on average but differ from moment to moment."""
    rng = np.random.default_rng(1)
    heard = said(rng, 1200)
    off = rng.normal(0, 0.3, 1200)
    for part in range(PARTS):
        for action in range(ACTIONS):
            here = (heard.part == part) & (heard.action == action)
            off[here] -= off[here].mean()
    means = (aim @ DIGITS)[heard.part, heard.action] + off
    heard = said(rng, part=heard.part, action=heard.action, mean=means, logprobs=heard.logprobs)
    p = drawn_from(fit(aim, heard, FLAT), heard)
    np.testing.assert_allclose(p @ DIGITS, means, atol=1e-6)
    np.testing.assert_allclose(frequencies_of(p, heard), aim, atol=5e-3)


def test_an_aim_gives_way_to_the_means_asked_for(aim):
    rng = np.random.default_rng(2)
    heard = said(rng, 1200, mean=np.full(1200, 1.9))
    weights = fit(aim, heard, FLAT)
    found = frequencies_of(drawn_from(weights, heard), heard)
    expected = np.array([[with_mean(cell, 1.9) for cell in row] for row in aim])
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert np.abs(weights).max() < 6  # nothing ran away


def test_what_is_there_already_needs_no_weights():
    heard = said(np.random.default_rng(3))
    table = frequencies_of(drawn_from(FLAT, heard), heard)
    assert np.abs(fit(table, heard, FLAT)).max() < 0.02


def test_a_code_that_was_never_possible_is_left_out(aim):
    rng = np.random.default_rng(4)
    logprobs = np.log(rng.dirichlet(np.ones(CODES), 4000))
    logprobs[:, 3] = -np.inf
    heard = said(rng, logprobs=logprobs)
    found = frequencies_of(drawn_from(fit(aim, heard, FLAT), heard), heard)
    assert found[..., 3].max() == 0
    expected = aim[..., :3] / aim[..., :3].sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found[..., :3], expected, atol=2e-3)


def test_a_cell_without_moments_keeps_its_weights(aim):
    rng = np.random.default_rng(5)
    heard = said(rng, action=np.zeros(4000, dtype=int))
    weights = fit(aim, heard, FLAT)
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(weights[:, 1:], FLAT[:, 1:])


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


def test_rows_become_arrays():
    of = stacked([(0, 1, 0.5, np.zeros(4)), (1, 2, np.nan, np.ones(4))])
    assert of.part.tolist() == [0, 1]
    assert of.action.tolist() == [1, 2]
    assert of.mean.tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert of.logprobs.shape == (2, 4)
