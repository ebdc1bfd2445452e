"""MiniGrid's numbers for what a cell holds and what an agent can do, and cells packed in one word.

A cell is four bytes: object type, colour, state, and who stands there (the agent's direction, or
`NOBODY`). Packed in one little-endian 32-bit word it can be copied and compared as a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

UNSEEN, EMPTY, WALL, FLOOR, DOOR, KEY, BALL, BOX, GOAL, LAVA, AGENT = range(11)
OBJECTS = (
    "unseen",
    "empty",
    "wall",
    "floor",
    "door",
    "key",
    "ball",
    "box",
    "goal",
    "lava",
    "agent",
)
OPEN, CLOSED, LOCKED = range(3)
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
RED, GREEN, BLUE, PURPLE, YELLOW, GREY = range(6)
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, WAIT = range(7)
ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "wait")
NOBODY = 4

DIRECTIONS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
"""Steps in x and y of the directions east, south, west, north."""

Cells = npt.NDArray[np.uint32]
Image = npt.NDArray[np.uint8]


def pack(kind: Any, colour: Any = 0, state: Any = 0, agent: Any = NOBODY) -> Any:
    """A cell as one word; arrays broadcast."""
    parts = [np.asarray(part, np.uint32) for part in (kind, colour, state, agent)]
    return parts[0] | parts[1] << 8 | parts[2] << 16 | parts[3] << 24


def as_image(cells: Cells) -> Image:
    """Words [..., W, H] as bytes [..., W, H, 4], without a copy."""
    return cells.astype("<u4", copy=False).view(np.uint8).reshape(*cells.shape, 4)
