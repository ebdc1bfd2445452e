"""Paths on bits against a plain breadth-first search over (x, y, direction)."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import DIRECTIONS, FORWARD, LEFT, RIGHT
from understudy.envs.grid.paths import (
    ARRIVED,
    NO_WAY,
    behind,
    beside,
    facing,
    first_steps,
    to_bits,
)

State = tuple[int, int, int]


def moves(free: np.ndarray, state: State) -> dict[int, State]:
    """Where each action leads, on a map [W, H]."""
    x, y, d = state
    ahead = x + int(DIRECTIONS[d, 0]), y + int(DIRECTIONS[d, 1])
    inside = 0 <= ahead[0] < free.shape[0] and 0 <= ahead[1] < free.shape[1]
    found = {LEFT: (x, y, (d - 1) % 4), RIGHT: (x, y, (d + 1) % 4)}
    if inside and free[ahead]:
        found[FORWARD] = (*ahead, d)
    return found


def distance(free: np.ndarray, goals: np.ndarray, start: State) -> int | None:
    """Fewest actions from start into goals [4, W, H] that can be stood on."""
    free = free.copy()
    free[start[:2]] = True
    far, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        x, y, d = state
        if goals[d, x, y]:
            return far[state]
        for following in moves(free, state).values():
            if following not in far:
                far[following] = far[state] + 1
                queue.append(following)
    return None


def unpack(bits: np.ndarray, height: int) -> np.ndarray:
    """Words [..., W] as booleans [..., W, H]."""
    return (bits[..., None] >> np.arange(height, dtype=np.uint32) & 1).astype(bool)


def step_of(free: np.ndarray, goals: np.ndarray, state: State) -> int:
    """`first_steps` for one map in booleans."""
    found = first_steps(
        to_bits(free[None]), to_bits(goals[None]), np.array([state[:2]]), np.array([state[2]])
    )
    return int(found[0])


@pytest.mark.parametrize(
    ("width", "height", "maps", "density"),
    [(1, 1, 20, 0.5), (5, 7, 250, 0.6), (10, 10, 250, 0.7), (20, 20, 60, 0.65), (3, 32, 60, 0.85)],
)
def test_shortest_paths(width: int, height: int, maps: int, density: float) -> None:
    """All maps in one call are followed to the goal in exactly the fewest steps."""
    rng = np.random.default_rng(width)
    free = rng.random((maps, width, height)) < density
    goals = rng.random((maps, 4, width, height)) < 1.2 / (width * height)
    states = [
        (int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(4)))
        for _ in range(maps)
    ]
    left = [distance(f, g, s) for f, g, s in zip(free, goals, states, strict=True)]
    stand = free.copy()
    for i, (x, y, _) in enumerate(states):
        stand[i, x, y] = True
    for _ in range(1 + max(n or 0 for n in left)):
        found = first_steps(
            to_bits(stand),
            to_bits(goals),
            np.array([s[:2] for s in states]),
            np.array([s[2] for s in states]),
        )
        for i, action in enumerate(found.tolist()):
            if left[i] is None:
                assert action == NO_WAY
            elif left[i] == 0:
                assert action == ARRIVED
            else:
                states[i] = moves(stand[i], states[i])[action]
                left[i] -= 1
    assert set(left) <= {0, None}
    if width > 1:
        assert 0 in left
        assert None in left


def test_the_agents_own_cell_counts_as_free() -> None:
    free = np.zeros((3, 3), bool)
    free[2, 1] = True
    goals = np.zeros((4, 3, 3), bool)
    goals[2, 1, 1] = True
    assert step_of(free, goals, (1, 1, 2)) == ARRIVED
    assert step_of(free, goals, (1, 1, 3)) == LEFT
    assert step_of(free, goals, (1, 1, 1)) == RIGHT
    goals[:] = False
    goals[0, 2, 1] = True
    assert step_of(free, goals, (1, 1, 0)) == FORWARD
    goals[:] = False
    goals[0, 0, 1] = True
    assert step_of(free, goals, (1, 1, 0)) == NO_WAY, "a goal that cannot be stood on"


def test_nothing_wraps_around_the_edges() -> None:
    everywhere, goals = np.ones((4, 32), bool), np.zeros((4, 4, 32), bool)
    goals[:, 0, 0] = True
    assert step_of(everywhere, goals, (0, 31, 3)) == FORWARD
    assert step_of(everywhere, goals, (0, 31, 1)) in (LEFT, RIGHT)
    assert step_of(everywhere, goals, (3, 0, 2)) == FORWARD
    assert step_of(everywhere, goals, (3, 0, 0)) in (LEFT, RIGHT)


def test_no_maps_no_answers() -> None:
    none = np.zeros((0, 5), np.uint32)
    found = first_steps(
        none, np.zeros((0, 4, 5), np.uint32), np.zeros((0, 2), int), np.zeros(0, int)
    )
    assert found.shape == (0,)


@pytest.mark.parametrize("height", [1, 9, 32])
def test_facing_and_beside_by_hand(height: int) -> None:
    rng = np.random.default_rng(height)
    cells = rng.random((40, 6, height)) < 0.3
    before, at_side = facing(to_bits(cells)), beside(to_bits(cells))
    assert np.array_equal(unpack(to_bits(cells), height), cells)
    wide = np.pad(cells, ((0, 0), (1, 1), (1, 1)))

    def towards(d: int) -> np.ndarray:
        dx, dy = DIRECTIONS[d % 4]
        return wide[:, 1 + dx : 7 + dx, 1 + dy : 1 + height + dy]

    for d in range(4):
        assert np.array_equal(unpack(before, height)[:, d], towards(d))
        assert np.array_equal(unpack(at_side, height)[:, d], towards(d + 1) | towards(d - 1))


def test_behind_is_forward_backwards() -> None:
    everywhere = np.ones((6, 8), bool)
    for x, y, d in [(0, 0, 0), (5, 7, 1), (3, 2, 2), (4, 6, 3), (0, 3, 2)]:
        states = np.zeros((1, 4, 6, 8), bool)
        states[0, d, x, y] = True
        found = np.argwhere(unpack(behind(to_bits(states)), 8)[0])
        expected = [
            [d, a, b]
            for a in range(6)
            for b in range(8)
            if moves(everywhere, (a, b, d)).get(FORWARD) == (x, y, d)
        ]
        assert found.tolist() == expected


def test_a_map_too_high_is_refused() -> None:
    with pytest.raises(EnvError, match="a map of 33 rows; paths are found in at most 32"):
        to_bits(np.zeros((1, 4, 33), bool))
