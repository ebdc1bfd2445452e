"""Remembered maps drawn with letters."""

from __future__ import annotations

import numpy as np

from understudy.envs.grid.codes import (
    BALL,
    BLUE,
    BOX,
    CLOSED,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    GREEN,
    GREY,
    KEY,
    LAVA,
    LOCKED,
    OPEN,
    RED,
    UNSEEN,
    WALL,
    as_image,
    pack,
)
from understudy.envs.grid.scene import Scene

LETTERS = {
    " ": pack(UNSEEN),
    ".": pack(EMPTY),
    "#": pack(WALL, GREY),
    ",": pack(FLOOR, BLUE),
    "k": pack(KEY, RED),
    "K": pack(KEY, BLUE),
    "b": pack(BALL, GREEN),
    "x": pack(BOX, GREEN),
    "L": pack(DOOR, RED, LOCKED),
    "M": pack(DOOR, BLUE, LOCKED),
    "C": pack(DOOR, RED, CLOSED),
    "O": pack(DOOR, RED, OPEN),
    "G": pack(GOAL, GREEN),
    "~": pack(LAVA),
}
AGENT = ">v<^"


def image(*lines: str, held: str = ".") -> np.ndarray:
    """Lines from north to south as an observation, uint8 [W, H, 4]; the agent is one of >v<^."""
    rows = [[LETTERS.get(letter, 0) for letter in line] for line in lines]
    cells = np.array(rows, np.uint32).T.copy()
    for y, line in enumerate(lines):
        for x, letter in enumerate(line):
            if letter in AGENT:
                cells[x, y] = LETTERS[held] & np.uint32(0xFFFFFF) | AGENT.index(letter) << 24
    return as_image(cells)


def draw(*maps: tuple[str, ...], held: str = ".") -> Scene:
    """Maps of one size as a scene."""
    return Scene.of(np.stack([image(*lines, held=held) for lines in maps]))
