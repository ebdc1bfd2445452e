"""How the four door-key tasks are laid out, for many environments at once.

Sizes and placement rules are those of the tasks of LLM4Teach (Zhou et al., 2024, arXiv:2311.13373).
Every draw is one uniform number, so that an environment's layout depends on its own generator only
and a batch is laid out without a loop over environments.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import (
    BLUE,
    COLOURS,
    DIRECTIONS,
    DOOR,
    EMPTY,
    GREY,
    KEY,
    LAVA,
    LOCKED,
    RED,
    WALL,
    Cells,
    pack,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = 10
"""Uniform numbers that one layout takes."""
_EMPTY, _WALL = pack(EMPTY), pack(WALL, GREY)
_OPPOSITE = np.array([2, 3, 0, 1])


@dataclass(frozen=True, slots=True)
class Rules:
    """What a task's room holds."""

    mission: str
    """What the agent is told."""
    size: int
    """Side of the canvas."""
    smallest: int
    """Sides of the room are uniform between this and `size`."""
    doors: int = 1
    decoy: bool = False
    """The door is blue, and a red key lies there beside the blue one."""
    lava: bool = False
    central_key: bool = False
    """The key lies in the four cells at the middle."""


RULES = {
    "SimpleDoorKey": Rules("use the key to open the door", 10, 5),
    "LavaDoorKey": Rules("use the key to open the door and do not step on lava", 10, 5, lava=True),
    "ColoredDoorKey": Rules("use the blue key to open the blue door", 10, 5, decoy=True),
    "TwoDoor": Rules(
        "use the key in the middle of the room to open one of the doors in the walls",
        20,
        20,
        doors=2,
        central_key=True,
    ),
}


def rules_of(task: str) -> Rules:
    """The rules of a task.

    Raises:
        EnvError: there is no such task.
    """
    if task not in RULES:
        near = difflib.get_close_matches(task, RULES, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EnvError(f"no door-key task {task!r}{hint}; there are {', '.join(RULES)}")
    return RULES[task]


def lay_out(rules: Rules, u: Floats) -> tuple[Cells, Ints, Ints]:
    """Lays out K rooms.

    Args:
        rules: the task's.
        u: uniform numbers in [0, 1), [K, DRAWS].

    Returns:
        cells [K, size, size], the agents' positions [K, 2] and directions [K].
    """
    k, rows = len(u), np.arange(len(u))
    span = rules.size - rules.smallest + 1
    sides = rules.smallest + np.floor(u[:, 0:2] * span).astype(int)
    x, y = np.arange(rules.size)[None, :, None], np.arange(rules.size)[None, None, :]
    w, h = sides[:, 0, None, None], sides[:, 1, None, None]
    inside = (x < w) & (y < h)
    border = inside & ((x == 0) | (y == 0) | (x == w - 1) | (y == h - 1))
    cells = np.where(border, _WALL, _EMPTY).astype(np.uint32)
    free = inside & ~border

    colour = BLUE if rules.decoy else np.floor(u[:, 2] * len(COLOURS)).astype(int)
    side, offset = np.floor(u[:, 3] * 4).astype(int), u[:, 4]
    blocked = np.zeros_like(free)
    for n in range(rules.doors):
        door = _on_wall(sides, _OPPOSITE[side] if n else side, u[:, 9] if n else offset)
        cells[rows, door[:, 0], door[:, 1]] = pack(DOOR, colour, LOCKED)
        front = door - DIRECTIONS[_OPPOSITE[side] if n else side]
        blocked[rows, front[:, 0], front[:, 1]] = True

    agent = _take(free, u[:, 5])
    middle = np.zeros_like(free)
    middle[:, 9:11, 9:11] = rules.central_key
    where = free & middle if rules.central_key else free & ~blocked if rules.decoy else free
    key = _take(where, u[:, 7])
    free[rows, key[:, 0], key[:, 1]] = False
    cells[rows, key[:, 0], key[:, 1]] = pack(KEY, colour)
    if rules.decoy:
        other = _take(free & ~blocked, u[:, 8])
        cells[rows, other[:, 0], other[:, 1]] = pack(KEY, RED)
    if rules.lava:
        pool = _take(free & ~blocked, u[:, 8])
        cells[rows, pool[:, 0], pool[:, 1]] = pack(LAVA)
    assert cells.shape == (k, rules.size, rules.size)
    return cells, agent, np.floor(u[:, 6] * 4).astype(int)


def _on_wall(sides: Ints, side: Ints, u: Floats) -> Ints:
    """A cell of the wall on the east, south, west or north that is no corner, [K, 2]."""
    rows = np.arange(len(sides))
    along = np.where(side % 2 == 0, 1, 0)
    place = np.zeros_like(sides)
    place[rows, along] = 1 + np.floor(u * (sides[rows, along] - 2)).astype(int)
    across = 1 - along
    place[rows, across] = np.where(side < 2, sides[rows, across] - 1, 0)
    return place


def _take(free: npt.NDArray[np.bool_], u: Floats) -> Ints:
    """A uniform cell of each row's free ones, [K, 2]; it is free no more."""
    k, _, height = free.shape
    flat = free.reshape(k, -1)
    rank = np.cumsum(flat, axis=1)
    wanted = 1 + np.floor(u * rank[:, -1]).astype(int)
    index = np.argmax(rank >= wanted[:, None], axis=1)
    flat[np.arange(k), index] = False
    return np.stack([index // height, index % height], axis=1)
