"""The grid of parameters: integers both ways, neighbours that were not tried."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from understudy.envs.search.space import SpaceError, box, choices

MIXED = box(["a", "b"], -6.0, 6.0, 0.1) + choices(["c", "d"], 4)


@given(st.integers(0, 2**32))
def test_integers_and_numbers_are_the_same_points(seed: int) -> None:
    points = MIXED.sample(5, np.random.default_rng(seed))
    assert np.array_equal(MIXED.grid(MIXED.values(points)), points)
    assert (points >= MIXED.low).all()
    assert (points <= MIXED.high).all()


def test_numbers_are_counted_in_steps_from_zero() -> None:
    assert MIXED.values((-60, 3, 0, 3)).tolist() == [-6.0, 0.3, 0.0, 3.0]
    assert MIXED.grid([-7.0, 0.349, 1.2, 9.0]).tolist() == [-60, 3, 1, 3]
    assert MIXED.levels.tolist() == [121, 121, 4, 4]
    assert MIXED.names == ("a", "b", "c", "d")


def test_sampling_reaches_every_level_equally_often() -> None:
    drawn = choices(["c"], 4).sample(8000, np.random.default_rng(0))[:, 0]
    assert np.bincount(drawn, minlength=4).min() > 1800


@pytest.mark.parametrize(
    "point", [(0, 0, 0), (61, 0, 0, 0), (0, 0, 4, 0), (0, 0, -1, 0), (0.5, 0, 0, 0)]
)
def test_a_point_outside_is_refused_and_named(point: tuple[float, ...]) -> None:
    with pytest.raises(SpaceError, match=r"must be a whole number|needs 4 integers"):
        MIXED.point(point)


def test_spaces_that_cannot_be() -> None:
    with pytest.raises(SpaceError, match="multiples"):
        box(["a"], -1.0, 1.0, 0.3)
    with pytest.raises(SpaceError, match="holds no two points"):
        box(["a"], -1.0, 1.0, 0.0)
    with pytest.raises(SpaceError, match="at least 2"):
        choices(["a"], 1)
    with pytest.raises(SpaceError, match="finite"):
        MIXED.grid([float("nan"), 0, 0, 0])


def test_an_unseen_neighbour_is_near_and_new() -> None:
    rng = np.random.default_rng(0)
    point = (0, 60, 1, 3)
    assert MIXED.unseen(point, [], rng) == point
    seen = [point]
    for _ in range(8):
        near = MIXED.unseen(point, seen, rng)
        assert near not in seen
        MIXED.point(near)
        # One parameter moved: a number by one step, a choice to anything else.
        moved = [i for i in range(4) if near[i] != point[i]]
        assert len(moved) == 1
        assert all(abs(near[i] - point[i]) == 1 for i in moved if i < 2)
        seen.append(near)
    # Both numbers' single steps (60 has but one below it) and all other choices: 3 + 3 + 3.
    assert len(set(seen)) == 9


def test_a_used_up_space_gives_the_point_back() -> None:
    small = choices(["a", "b"], 2)
    everything = [(a, b) for a in range(2) for b in range(2)]
    assert small.unseen((0, 1), everything, np.random.default_rng(0)) == (0, 1)
    assert small.unseen((0, 1), everything[:3], np.random.default_rng(0)) == (1, 1)
