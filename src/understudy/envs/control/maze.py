"""A maze of three by three cells with walls between some of them."""

from __future__ import annotations

import numpy as np

from understudy.envs.control.nim import TabularEnv

SIZE = 3
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
WALLS = frozenset({(0, 1), (1, 4), (3, 6), (5, 8)})
"""Pairs of neighbouring cells, the smaller number first, that a wall parts."""


class Maze(TabularEnv):
    """From cell 0, top left, to cell 8, bottom right; actions are up, right, down, left.

    Cells are numbered row by row. Reaching the goal earns 1 and ends the episode, every other step
    costs 0.01, and a step into a wall stays where it is. The only way of four steps leads through
    cells 3, 4 and 7, so the best return is 0.97.
    """

    def __init__(self) -> None:
        """The maze is always the same."""
        start = np.zeros(SIZE * SIZE)
        start[0] = 1.0
        cells = range(SIZE * SIZE)
        super().__init__({s: {a: [_outcome(s, a)] for a in range(4)} for s in cells}, start)


def _outcome(cell: int, action: int) -> tuple[float, int, float, bool]:
    row, column = cell // SIZE + MOVES[action][0], cell % SIZE + MOVES[action][1]
    reached = SIZE * row + column
    outside = not (0 <= row < SIZE and 0 <= column < SIZE)
    if outside or (min(cell, reached), max(cell, reached)) in WALLS:
        reached = cell
    if reached == SIZE * SIZE - 1:
        return 1.0, reached, 1.0, True
    return 1.0, reached, -0.01, False
