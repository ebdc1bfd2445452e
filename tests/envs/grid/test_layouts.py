"""Rooms keep the tasks' rules, and every choice is uniform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chisquare

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import (
    BLUE,
    DIRECTIONS,
    DOOR,
    EMPTY,
    GREY,
    KEY,
    LAVA,
    LOCKED,
    NOBODY,
    RED,
    UNSEEN,
    WALL,
    as_image,
    pack,
)
from understudy.envs.grid.layouts import DRAWS, RULES, lay_out, rules_of

ROOMS = 20_000
ONE_DOOR = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey")


class Rooms:
    """Many rooms of a task, taken apart."""

    def __init__(self, task: str, seed: int = 1, count: int = ROOMS) -> None:
        u = np.random.default_rng(seed).random((count, DRAWS))
        self.cells, self.agent, self.direction = lay_out(RULES[task], u)
        self.kind, self.colour, self.state, who = np.moveaxis(as_image(self.cells), -1, 0)
        assert (who == NOBODY).all()
        wall = (self.kind == WALL) | (self.kind == DOOR)
        self.width = wall[:, :, 0].sum(1)
        self.height = wall[:, 0].sum(1)

    def where(self, kind: int, colour: int | None = None) -> np.ndarray:
        """Room, x and y of each such thing, [M, 3]."""
        there = self.kind == kind
        return np.argwhere(there if colour is None else there & (self.colour == colour))

    def sides(self, doors: np.ndarray) -> np.ndarray:
        """The directions in which doors' walls lie."""
        room, x, y = doors.T
        on = [x == self.width[room] - 1, y == self.height[room] - 1, x == 0, y == 0]
        assert (np.sum(on, 0) == 1).all(), "a door in no wall, or in a corner"
        return np.argmax(on, 0)

    def fronts(self, doors: np.ndarray) -> np.ndarray:
        return doors[:, 1:] - DIRECTIONS[self.sides(doors)]


def uniform(values: np.ndarray, options: int) -> bool:
    """Whether values 0 … options − 1 are as frequent as chance has it; fails once in a thousand."""
    assert values.min() >= 0
    assert values.max() < options
    return chisquare(np.bincount(values, minlength=options)).pvalue > 1e-3


def share(room: Rooms, free: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Of each room's free cells, where in their order (in tenths) the chosen one [N, 2] comes."""
    flat = free.reshape(len(free), -1)
    index = at[:, 0] * free.shape[2] + at[:, 1]
    rows = np.arange(len(free))
    assert flat[rows, index].all(), "a thing lies where it must not"
    rank = np.cumsum(flat, 1)[rows, index] - 1
    # A draw within the cell makes the rank of a uniform cell a uniform number.
    return np.floor((rank + np.random.default_rng(9).random(len(rank))) / flat.sum(1) * 10).astype(
        int
    )


@pytest.fixture(scope="module")
def rooms() -> Callable[[str], Rooms]:
    made = {task: Rooms(task) for task in RULES}
    return made.__getitem__


@pytest.mark.parametrize("task", RULES)
def test_walls_around_and_nothing_outside(rooms: Callable[[str], Rooms], task: str) -> None:
    room = rooms(task)
    size = RULES[task].size
    x, y = np.arange(size)[None, :, None], np.arange(size)[None, None, :]
    w, h = room.width[:, None, None], room.height[:, None, None]
    border = (x < w) & (y < h) & ((x == 0) | (y == 0) | (x == w - 1) | (y == h - 1))
    inside = (x > 0) & (y > 0) & (x < w - 1) & (y < h - 1)
    assert (((room.kind == WALL) | (room.kind == DOOR)) == border).all()
    assert (room.colour[room.kind == WALL] == GREY).all()
    assert (room.kind[~border & ~inside] == EMPTY).all()
    assert not (room.kind == UNSEEN).any()
    rows = np.arange(ROOMS)
    assert inside[rows, *room.agent.T].all()
    assert (room.kind[rows, *room.agent.T] == EMPTY).all()
    assert uniform(room.direction, 4)


@pytest.mark.parametrize("task", ONE_DOOR)
def test_sizes_are_uniform_from_5_to_10(rooms: Callable[[str], Rooms], task: str) -> None:
    room = rooms(task)
    assert uniform((room.width - 5) * 6 + room.height - 5, 36)


def test_two_doors_have_one_size(rooms: Callable[[str], Rooms]) -> None:
    assert set(rooms("TwoDoor").width) == set(rooms("TwoDoor").height) == {20}


@pytest.mark.parametrize("task", RULES)
def test_what_lies_in_a_room(rooms: Callable[[str], Rooms], task: str) -> None:
    room, rules = rooms(task), RULES[task]
    for kind, count in ((DOOR, rules.doors), (KEY, 1 + rules.decoy), (LAVA, int(rules.lava))):
        assert ((room.kind == kind).sum(axis=(1, 2)) == count).all()
    doors, keys = room.where(DOOR), room.where(KEY)
    assert (room.state[tuple(doors.T)] == LOCKED).all()
    colours = room.colour[tuple(doors.T)].reshape(ROOMS, -1)
    held = room.colour[tuple(keys.T)].reshape(ROOMS, -1)
    if rules.decoy:
        assert (colours == BLUE).all()
        assert (np.sort(held, 1) == [RED, BLUE]).all()
    else:
        assert (colours == held).all()
        assert uniform(held[:, 0], 6)


@pytest.mark.parametrize("task", RULES)
def test_doors_are_anywhere_but_in_a_corner(rooms: Callable[[str], Rooms], task: str) -> None:
    room = rooms(task)
    doors = room.where(DOOR)
    sides = room.sides(doors)
    along = np.where(sides % 2 == 0, doors[:, 2], doors[:, 1])
    length = np.where(sides % 2 == 0, room.height[doors[:, 0]], room.width[doors[:, 0]])
    assert (along >= 1).all()
    assert (along <= length - 2).all()
    assert uniform(sides, 4)
    for size in set(length.tolist()):
        assert uniform(along[length == size] - 1, size - 2)


def test_two_doors_face_each_other(rooms: Callable[[str], Rooms]) -> None:
    room = rooms("TwoDoor")
    doors = room.where(DOOR)
    assert doors[:, 0].tolist() == np.repeat(np.arange(ROOMS), 2).tolist()
    sides = room.sides(doors)
    # In a room, the door in the east or south comes first.
    doors = doors[np.lexsort([sides, doors[:, 0]])].reshape(ROOMS, 2, 3)
    sides = np.sort(sides.reshape(ROOMS, 2), 1)
    assert (sides[:, 1] - sides[:, 0] == 2).all()
    assert uniform(sides[:, 0], 2)
    along = np.where(sides == [0, 2], doors[..., 2], doors[..., 1]) - 1
    assert uniform(along[:, 0] * 18 + along[:, 1], 18 * 18), "each door by its own draw"


@pytest.mark.parametrize("task", RULES)
def test_agents_start_anywhere(rooms: Callable[[str], Rooms], task: str) -> None:
    room = rooms(task)
    shares = share(room, inside_of(room), room.agent)
    assert uniform(shares, 10)


def inside_of(room: Rooms) -> np.ndarray:
    size = room.kind.shape[1]
    x, y = np.arange(size)[None, :, None], np.arange(size)[None, None, :]
    w, h = room.width[:, None, None], room.height[:, None, None]
    return (x > 0) & (y > 0) & (x < w - 1) & (y < h - 1)


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey"])
def test_a_key_lies_anywhere_else(rooms: Callable[[str], Rooms], task: str) -> None:
    room = rooms(task)
    free = inside_of(room)
    free[np.arange(ROOMS), *room.agent.T] = False
    keys = room.where(KEY)
    assert uniform(share(room, free, keys[:, 1:]), 10)
    fronts = room.fronts(room.where(DOOR))
    assert (fronts == keys[:, 1:]).all(1).any(), "in front of the door too"


def test_keys_that_might_bar_the_door_do_not(rooms: Callable[[str], Rooms]) -> None:
    room = rooms("ColoredDoorKey")
    free = inside_of(room)
    rows = np.arange(ROOMS)
    fronts = room.fronts(room.where(DOOR))
    free[rows, *room.agent.T] = False
    free[rows, *fronts.T] = False
    for colour in (RED, BLUE):
        keys = room.where(KEY, colour)[:, 1:]
        assert not (keys == fronts).all(1).any()
        assert uniform(share(room, free, keys), 10)
    assert (room.agent == fronts).all(1).any(), "the agent may stand there"


def test_lava_does_not_bar_the_door(rooms: Callable[[str], Rooms]) -> None:
    room = rooms("LavaDoorKey")
    free = inside_of(room)
    rows = np.arange(ROOMS)
    fronts = room.fronts(room.where(DOOR))
    free[rows, *room.agent.T] = False
    free[rows, *room.where(KEY)[:, 1:].T] = False
    free[rows, *fronts.T] = False
    lava = room.where(LAVA)[:, 1:]
    assert not (lava == fronts).all(1).any()
    assert uniform(share(room, free, lava), 10)


def test_the_key_of_two_doors_lies_in_the_middle(rooms: Callable[[str], Rooms]) -> None:
    room = rooms("TwoDoor")
    x, y = room.where(KEY)[:, 1:].T - 9
    assert uniform(2 * x + y, 4)
    assert set(x.tolist()) == set(y.tolist()) == {0, 1}


@pytest.mark.parametrize("task", RULES)
def test_a_room_depends_on_its_own_numbers(task: str) -> None:
    u = np.random.default_rng(0).random((50, DRAWS))
    together = lay_out(RULES[task], u)
    for i in (0, 17, 49):
        alone = lay_out(RULES[task], u[i : i + 1])
        assert all(np.array_equal(a[i], b[0]) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("edge", [0.0, np.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("task", RULES)
def test_the_ends_of_every_draw_are_rooms(task: str, edge: float) -> None:
    cells, agent, direction = lay_out(RULES[task], np.full((1, DRAWS), edge))
    kind = as_image(cells)[0, ..., 0]
    assert (kind == DOOR).sum() == RULES[task].doors
    assert (kind == KEY).sum() == 1 + RULES[task].decoy
    assert kind[tuple(agent[0])] == EMPTY
    assert direction[0] == (3 if edge else 0)


def test_cells_are_four_bytes() -> None:
    cell = pack(DOOR, np.array([RED, BLUE]), LOCKED, 3)
    assert as_image(cell).tolist() == [[DOOR, RED, LOCKED, 3], [DOOR, BLUE, LOCKED, 3]]
    assert pack(KEY, BLUE) == KEY + (BLUE << 8) + (NOBODY << 24)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(EnvError, match="no door-key task 'LavaDoor'; did you mean 'LavaDoorKey'"):
        rules_of("LavaDoor")
