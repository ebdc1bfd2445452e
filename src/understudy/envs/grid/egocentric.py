"""A remembered map as the agent has it before its eyes: centred on it and turned the way it looks.

The map becomes a list of entries, small numbers for (place ahead and to the right, what lies there)
and for (place, colour) of things. Turning and moving with the map changes nothing, so what is learnt
in one corner of a room holds in all of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.envs.grid.codes import (
    AGENT,
    BALL,
    BOX,
    COLOURS,
    DIRECTIONS,
    DOOR,
    KEY,
    NOBODY,
    UNSEEN,
    Image,
)

KINDS = AGENT + 3
"""Object types; closed and locked doors are types of their own."""
PER_PLACE = KINDS + len(COLOURS)

_KIND = np.repeat(np.arange(AGENT + 1)[:, None], 3, axis=1)
_KIND[DOOR] = DOOR, AGENT + 1, AGENT + 2
_COLOURED = np.isin(np.arange(AGENT + 1), (DOOR, KEY, BALL, BOX))


def vocabulary(width: int, height: int) -> int:
    """One more than the largest entry of a map of this size."""
    return 1 + (2 * max(width, height) - 1) ** 2 * PER_PLACE


def entries(image: Image) -> npt.NDArray[np.int32]:
    """What is known, as seen from the agent.

    Args:
        image: uint8 [N, W, H, 4], see `DoorKeyVector`.

    Returns:
        int32 [N, 2 · W · H]: for each cell 1 + its place · PER_PLACE + its kind, then for each cell
        that holds a coloured thing 1 + its place · PER_PLACE + KINDS + its colour; 0 for none.
    """
    n, width, height, _ = image.shape
    cells = image.reshape(n, width * height, 4)
    x, y = np.divmod(np.arange(width * height, dtype=np.int32), height)
    rows = np.arange(n)
    agent = np.argmax(cells[..., 3] != NOBODY, axis=1)
    toward = DIRECTIONS.astype(np.int32)[cells[rows, agent, 3]]
    dx, dy = x - x[agent, None], y - y[agent, None]
    # Ahead is along the agent's direction, right the same turned by a quarter.
    ahead = dx * toward[:, :1] + dy * toward[:, 1:]
    right = dy * toward[:, :1] - dx * toward[:, 1:]
    reach = max(width, height) - 1
    place = 1 + ((ahead + reach) * (2 * reach + 1) + right + reach) * PER_PLACE
    kind, colour, state = cells[..., 0], cells[..., 1], cells[..., 2]
    found = np.zeros((n, 2, width * height), np.int32)
    np.add(place, _KIND[kind, state], out=found[:, 0], where=kind != UNSEEN, casting="unsafe")
    np.add(place, KINDS + colour, out=found[:, 1], where=_COLOURED[kind], casting="unsafe")
    return found.reshape(n, -1)
