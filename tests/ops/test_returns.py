"""Returns and advantages: by hand, against O(T²) references, and their laws."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from understudy import ops


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def flags(*values):
    return torch.tensor(values, dtype=torch.bool)


# ---- by hand --------------------------------------------------------------------------------------


def test_discounted_returns_by_hand():
    # γ = 1/2: G₂ = 4, G₁ = 2 + 4/2 = 4, G₀ = 1 + 4/2 = 3. Second row stops after one step.
    found = ops.discounted_returns(
        rows([1, 2, 4], [5, 7, 9]), flags([True] * 3, [True, False, False]), 0.5
    )
    assert found.tolist() == [[3, 4, 4], [5, 0, 0]]


def by_hand(terminated, ended):
    """γ = 1/2, λ = 1/2, rewards 1 2 3, V = 4 6 8, V(next) = 6 8 10."""
    return ops.gae(
        rows([1, 2, 3]), rows([4, 6, 8]), rows([6, 8, 10]), terminated, ended, 0.5, 0.5
    ).tolist()


def test_gae_by_hand():
    no = flags([False] * 3)
    last = flags([False, False, True])
    # δ₀ = 1 + 6/2 − 4 = 0, δ₁ = 2 + 8/2 − 6 = 0, δ₂ = 3 + 10/2 − 8 = 0 where the last is cut;
    assert by_hand(no, last) == [[0, 0, 0]]
    # δ₂ = 3 − 8 = −5 where it terminates; Â₁ = 0 + (−5)/4, Â₀ = 0 + (−5/4)/4.
    assert by_hand(last, last) == [[-0.3125, -1.25, -5]]
    # Terminated at step 1: δ₁ = 2 − 6 = −4, δ₂ = 0 is another episode's; Â₀ = −4/4.
    middle = flags([False, True, False])
    assert by_hand(middle, middle) == [[-1, -4, 0]]


def test_truncation_cuts_the_sum_but_bootstraps():
    # Cut at step 0: δ₀ = 1 + 6/2 − 4 = 0, whatever comes after (δ₂ = −5).
    found = by_hand(flags([False, False, True]), flags([True, False, True]))
    assert found == [[0, -1.25, -5]]


def test_what_does_not_count_is_not_read():
    nan, inf = torch.nan, torch.inf
    found = ops.discounted_returns(rows([1, nan]), flags([True, False]), 1.0)
    assert found.tolist() == [[1, 0]]
    ends = flags([True, True])
    found = ops.gae(rows([1, 0]), rows([0, nan]), rows([inf, nan]), ends, ends, 0.9, 0.9)
    assert found[0, 0] == 1


# ---- laws -----------------------------------------------------------------------------------------

numbers = st.floats(-10, 10, width=32)
fractions = st.floats(0, 1, width=32)


@st.composite
def trajectories(draw):
    """Rewards, V, V(next), terminated, ended: [B, T]; episodes end anywhere, for either reason."""
    batch, time = draw(st.integers(1, 3)), draw(st.integers(1, 7))

    def table(of):
        return draw(
            st.lists(st.lists(of, min_size=time, max_size=time), min_size=batch, max_size=batch)
        )

    terminated = torch.tensor(table(st.booleans()))
    ended = terminated | torch.tensor(table(st.booleans()))
    values = [torch.tensor(table(numbers), dtype=torch.float64) for _ in range(3)]
    return *values, terminated, ended


def brute_gae(rewards, values, following, terminated, ended, gamma, lam):
    """Σ_k (γλ)^k δ_{t+k} up to the end of the episode, by two loops."""
    found = torch.zeros_like(rewards)
    batch, time = rewards.shape
    for b in range(batch):
        for t in range(time):
            for k, s in enumerate(range(t, time)):
                next_value = 0.0 if terminated[b, s] else following[b, s]
                delta = rewards[b, s] + gamma * next_value - values[b, s]
                found[b, t] += (gamma * lam) ** k * delta
                if ended[b, s]:
                    break
    return found


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions, fractions)
def test_gae_is_the_sum_of_its_definition(case, gamma, lam):
    torch.testing.assert_close(ops.gae(*case, gamma, lam), brute_gae(*case, gamma, lam))


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions)
def test_gae_with_lambda_1_is_monte_carlo_less_the_value(case, gamma):
    rewards, values, following, _, _ = case
    ends = torch.zeros_like(rewards, dtype=torch.bool)
    ends[:, -1] = True
    everything = torch.ones_like(ends)
    # V must be one function: the value after step t is that before step t + 1.
    following = torch.cat([values[:, 1:], following[:, -1:]], 1)
    found = ops.gae(rewards, values, following, ends, ends, gamma, 1.0)
    torch.testing.assert_close(
        found, ops.discounted_returns(rewards, everything, gamma) - values, atol=1e-9, rtol=1e-9
    )


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions)
def test_gae_with_lambda_0_is_one_step(case, gamma):
    rewards, values, following, terminated, _ = case
    delta = rewards + gamma * following * ~terminated - values
    torch.testing.assert_close(ops.gae(*case, gamma, 0.0), delta)


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions)
def test_discounted_returns_satisfy_bellman(case, gamma):
    rewards, *_ = case
    returns = ops.discounted_returns(rewards, torch.ones_like(rewards, dtype=torch.bool), gamma)
    torch.testing.assert_close(returns[:, :-1], rewards[:, :-1] + gamma * returns[:, 1:])
    torch.testing.assert_close(returns[:, -1], rewards[:, -1])


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions)
def test_discounted_returns_are_the_sum_of_their_definition(case, gamma):
    rewards, *_ = case
    time = rewards.shape[1]
    brute = torch.stack(
        [sum(gamma**k * rewards[:, t + k] for k in range(time - t)) for t in range(time)], 1
    )
    mask = torch.ones_like(rewards, dtype=torch.bool)
    torch.testing.assert_close(ops.discounted_returns(rewards, mask, gamma), brute)


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions, fractions)
def test_lambda_returns_satisfy_their_recursion(case, gamma, lam):
    rewards, values, following, terminated, ended = case
    ended = ended.clone()
    ended[:, -1] = True
    # V must be one function: inside an episode, the value after step t is that before step t + 1.
    following = torch.where(ended, following, values.roll(-1, 1))
    found = ops.lambda_returns(rewards, values, following, terminated, ended, gamma, lam)
    mixed = (1 - lam) * following + lam * found.roll(-1, 1)
    bootstrap = torch.where(terminated, 0.0, torch.where(ended, following, mixed))
    torch.testing.assert_close(found, rewards + gamma * bootstrap, atol=1e-9, rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(trajectories(), fractions, fractions, st.integers(1, 4))
def test_padding_changes_nothing(case, gamma, lam, extra):
    rewards, values, following, terminated, ended = case
    time = rewards.shape[1]
    ended = ended.clone()
    ended[:, -1] = True

    def pad(x, fill):
        return torch.nn.functional.pad(x, (0, extra), value=fill)

    padded = ops.gae(
        pad(rewards, 7.0), pad(values, 3.0), pad(following, torch.inf), pad(terminated, False),
        pad(ended, False), gamma, lam,
    )[:, :time]  # fmt: skip
    torch.testing.assert_close(
        padded, ops.gae(rewards, values, following, terminated, ended, gamma, lam)
    )
    mask = torch.ones_like(ended)
    torch.testing.assert_close(
        ops.discounted_returns(pad(rewards, torch.nan), pad(mask, False), gamma)[:, :time],
        ops.discounted_returns(rewards, mask, gamma),
    )


@pytest.mark.parametrize("wrong", [-1.0, 0.5])
def test_the_reference_notices_a_wrong_result(wrong):
    case = (rows([1, 2]), rows([1, 1]), rows([1, 1]), flags([False, True]), flags([False, True]))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(wrong * ops.gae(*case, 0.9, 0.9), brute_gae(*case, 0.9, 0.9))


def test_bootstrapped_returns_by_hand():
    # λ = ½, c = ½ throughout; r = 1 2, v = 4 8, bootstrap 8:
    # R₁ = 2 + ½ (½·8 + ½·8) = 6; R₀ = 1 + ½ (½·4 + ½·6) = 3.5.
    half = rows([0.5, 0.5])
    found = ops.bootstrapped_returns(rows([1, 2]), half, rows([4, 8]), rows(8)[0], 0.5)
    assert found.tolist() == [[3.5, 6.0]]
    # An end after the first step (c₀ = 0) leaves its reward; λ = 0 asks the value alone.
    ended = ops.bootstrapped_returns(rows([1, 2]), rows([0.0, 0.5]), rows([4, 8]), rows(8)[0], 0.5)
    assert ended.tolist() == [[1.0, 6.0]]
    lam = rows([0.0, 0.5])
    asked = ops.bootstrapped_returns(rows([1, 2]), half, rows([4, 8]), rows(8)[0], lam)
    assert asked.tolist() == [[3.0, 6.0]]


def test_bootstrapped_returns_equal_lambda_returns_with_a_constant_discount():
    generator = torch.Generator().manual_seed(3)
    r, v = torch.randn(2, 4, 9, generator=generator, dtype=torch.float64)
    terminated = torch.rand(4, 9, generator=generator) < 0.2
    nothing = torch.zeros_like(r)
    old = ops.lambda_returns(r, torch.cat([nothing[:, :1], v[:, :-1]], 1), v, terminated, terminated, 0.9, 0.8)  # fmt: skip
    new = ops.bootstrapped_returns(r, 0.9 * (~terminated).double(), v, v[:, -1], 0.8)
    assert torch.allclose(old, new, atol=1e-12)
