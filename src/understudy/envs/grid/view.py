"""What a MiniGrid agent sees and remembers, from tables in place of MiniGrid's pure-Python view.

MiniGrid spends nine tenths of a step on its view: it copies, rotates and floods a grid of Python
objects, cell by cell. Here the grid is mirrored once per episode as packed codes, the mirror follows
the few cells that change, and what can be seen of a window is looked up by its opaque cells.

A cell is four bytes (object type, colour, state, direction) held as one uint32. A map of W × H cells
is flat, cell (x, y) at x·H + y, with one more cell at the end for everything outside the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from minigrid.core.world_object import WorldObj
    from minigrid.minigrid_env import MiniGridEnv

Cells = NDArray[np.uint32]
Places = NDArray[np.intp]

NO_AGENT = 4
"""The fourth byte of a cell where the agent is not; where it is, its direction 0 to 3."""


@lru_cache(maxsize=4096)
def pack(kind: int, colour: int, state: int, direction: int = NO_AGENT) -> int:
    """Four bytes as they lie in memory, as one number."""
    return int(np.array([kind, colour, state, direction], np.uint8).view(np.uint32)[0])


UNSEEN, EMPTY, OUTSIDE = pack(0, 0, 0), pack(1, 0, 0), pack(2, 5, 0)


@lru_cache(maxsize=1 << 16)
def sweep(seen: int, opaque: int, width: int) -> tuple[int, int]:
    """One row of MiniGrid's rule of sight (`Grid.process_vis`): light spreads sideways, then ahead.

    Args:
        seen: bit i is set where cell i of the row was lit from the row behind.
        opaque: bit i is set where cell i stops the light.
        width: cells in a row.

    Returns:
        The bits seen in this row, and those it lights in the next.
    """
    ahead = 0
    for cell in range(width - 1):
        if seen & ~opaque & (1 << cell):
            seen |= 2 << cell
            ahead |= 3 << cell
    for cell in range(width - 1, 0, -1):
        if seen & ~opaque & (1 << cell):
            seen |= 1 << (cell - 1)
            ahead |= 3 << (cell - 1)
    return seen, ahead


@lru_cache(maxsize=1 << 15)
def in_sight(opaque: bytes, size: int) -> Places:
    """Which cells of a window are seen, given which of them are opaque.

    Args:
        opaque: size² bytes, 0 or 1; cell (i, j) of the window at i·size + j, i from left to right,
            j from far to near; the agent is in the middle of the nearest row.
        size: cells on a side of the window.

    Returns:
        Positions in the window, ascending.
    """
    block = np.frombuffer(opaque, np.uint8).reshape(size, size)
    rows = ((1 << np.arange(size)) @ block.astype(np.int64)).tolist()
    lit = 1 << size // 2
    mask = np.zeros((size, size), bool)
    for j in range(size - 1, -1, -1):
        seen, lit = sweep(lit, rows[j], size)
        mask[:, j] = [seen >> i & 1 for i in range(size)]
    return np.flatnonzero(mask)


@lru_cache(maxsize=16)
def windows(width: int, height: int, size: int) -> Places:
    """Where the cells of each window lie on the map.

    Returns:
        [4 · width · height, size²]: row (direction · width + x) · height + y holds the places of an
        agent's window, in the order of `in_sight`; the place width · height is outside the grid.
    """
    direction, x, y, i, j = np.ogrid[:4, :width, :height, :size, :size]
    dx, dy = np.array([1, 0, -1, 0])[direction], np.array([0, 1, 0, -1])[direction]
    ahead, right = size - 1 - j, i - size // 2
    at_x, at_y = x + ahead * dx - right * dy, y + ahead * dy + right * dx
    inside = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
    places = np.where(inside, at_x * height + at_y, width * height)
    return places.reshape(4 * width * height, size * size).astype(np.intp)


@lru_cache(maxsize=256)
def _encodes_itself(kind: type[WorldObj]) -> bool:
    """Whether objects of a class have more to their code than a type and a colour."""
    from minigrid.core.world_object import WorldObj

    return kind.encode is not WorldObj.encode


class Sight:
    """The grid of one MiniGrid game as codes, and what the agent sees of it.

    Call `follow` whenever the game may have moved on; the rest speaks of the state at that time.

    Args:
        game: an unwrapped MiniGrid environment, already reset.
    """

    def __init__(self, game: MiniGridEnv) -> None:
        self._game = game
        self._width, self._height = game.width, game.height
        self._size = game.agent_view_size
        self._windows = windows(game.width, game.height, self._size)
        self._everywhere = np.arange(self._size**2)
        self._cells: list[WorldObj | None] = []
        grid = np.arange(game.width * game.height).reshape(game.width, game.height)
        self._places: list[int] = grid.T.ravel().tolist()
        """Of each cell of MiniGrid's list, which goes row by row."""
        self._constant: dict[tuple[type[WorldObj], str], tuple[int, bool]] = {}
        """Packed code and opacity by class and colour, where these two settle them."""
        self._changing: dict[int, tuple[WorldObj, tuple[int, int, int]]] = {}
        self.codes: Cells = np.full(self._width * self._height + 1, OUTSIDE, np.uint32)
        """[W · H + 1] what each cell is now, the agent left out."""
        self._opaque = np.ones(self._width * self._height + 1, bool)
        self.follow()

    def follow(self) -> bool:
        """Brings the codes up to date; whether any cell has changed."""
        now: Sequence[WorldObj | None] = self._game.grid.grid
        changed = now != self._cells
        if changed:
            self._replace(now)
        # Doors change without being replaced, as may any object with an encoding of its own.
        stale = [
            (place, thing)
            for place, (thing, code) in self._changing.items()
            if thing.encode() != code
        ]
        for place, thing in stale:
            self._write(place, thing)
        return changed or bool(stale)

    def row(self) -> int:
        """Where the agent stands and looks, as a row of `windows`."""
        game = self._game
        x, y = game.agent_pos
        return (game.agent_dir * self._width + int(x)) * self._height + int(y)

    def seen(self, row: int) -> Places:
        """Places of the map that are seen from a row of `windows`; W · H stands for outside."""
        window = self._windows[row]
        if self._game.see_through_walls:
            return window
        return window[in_sight(self._opaque[window].tobytes(), self._size)]

    def image(self) -> NDArray[np.uint8]:
        """[size, size, 3] uint8, the image of MiniGrid's own `gen_obs`."""
        size, window = self._size, self._windows[self.row()]
        seen = self._everywhere
        if not self._game.see_through_walls:
            seen = in_sight(self._opaque[window].tobytes(), size)
        image = np.zeros(size * size, np.uint32)
        image[seen] = self.codes[window[seen]]
        held = self._game.carrying
        image[size // 2 * size + size - 1] = EMPTY if held is None else pack(*held.encode())
        return image.view(np.uint8).reshape(size, size, 4)[..., :3]

    def _replace(self, now: Sequence[WorldObj | None]) -> None:
        """Writes the cells that hold another object than before."""
        before = self._cells
        if len(before) != len(now):
            before = [None] * len(now)
            self.codes[:-1] = EMPTY
            self._opaque[:-1] = False
        for k in compress(range(len(now)), map(is_not, now, before)):
            self._write(self._places[k], now[k])
        self._cells = list(now)

    def _write(self, place: int, thing: WorldObj | None) -> None:
        self._changing.pop(place, None)
        if thing is None:
            self.codes[place], self._opaque[place] = EMPTY, False
            return
        kind = (type(thing), thing.color)
        if kind in self._constant:
            self.codes[place], self._opaque[place] = self._constant[kind]
            return
        code, opaque = thing.encode(), not thing.see_behind()
        self.codes[place], self._opaque[place] = pack(*code), opaque
        if _encodes_itself(type(thing)):
            self._changing[place] = (thing, code)
        else:
            self._constant[kind] = (pack(*code), opaque)


def fast_view(env: gym.Env[Any, Any]) -> NDArray[np.uint8]:
    """[size, size, 3] uint8: the image of `gen_obs` of a MiniGrid environment, as it is now."""
    return Sight(cast("MiniGridEnv", env.unwrapped)).image()


class Memory:
    """The map an agent has seen since the episode began, as it last saw each cell.

    Args:
        game: an unwrapped MiniGrid environment, already reset.
        cells: [W · H + 1] uint32, the map, written in place.
    """

    def __init__(self, game: MiniGridEnv, cells: Cells) -> None:
        self._game, self._cells = game, cells
        self._area = game.width * game.height
        self._sight = Sight(game)
        self._looked: set[int] = set()
        """Rows of `windows` looked from since a cell last changed: they hold nothing new."""
        self.forget()

    def forget(self) -> None:
        """A new episode: only what is seen from the first cell is known."""
        self._cells.fill(UNSEEN)
        self._looked.clear()
        self._row, self._held = -1, None
        self._place, self._beneath = self._area, UNSEEN
        self.look()

    def look(self) -> None:
        """Writes what is seen now, and the agent over the cell it stands on."""
        changed = self._sight.follow()
        if changed:
            self._looked.clear()
        row, held = self._sight.row(), self._game.carrying
        if row == self._row and held is self._held and not changed:
            return
        cells = self._cells
        cells[self._place] = self._beneath
        if row not in self._looked:
            self._looked.add(row)
            seen = self._sight.seen(row)
            cells[seen] = self._sight.codes[seen]
        direction, place = divmod(row, self._area)
        self._beneath = cells[place]
        kind, colour = (1, 0) if held is None else held.encode()[:2]
        cells[place] = pack(kind, colour, 0, direction)
        self._row, self._held, self._place = row, held, place
