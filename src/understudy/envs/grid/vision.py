"""What an agent sees in the 3 × 3 cells before it, by table.

MiniGrid's rule (`Grid.process_vis`), row by row away from the agent: a visible cell that can be
seen through reveals its neighbours in the row, and the three cells one row further on. Nine cells
that are opaque or not give 512 cases, worked out once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.envs.grid.codes import DIRECTIONS

ROWS = COLUMNS = 3


def _visible(opaque: int) -> int:
    """Bits of the cells seen; bit 3·row + column, the agent at row 0, column 1."""
    seen = {(0, 1)}
    for row in range(ROWS):
        for columns in (range(COLUMNS), reversed(range(COLUMNS))):
            for column in columns:
                if (row, column) not in seen or opaque >> (3 * row + column) & 1:
                    continue
                for near in (column - 1, column + 1):
                    if 0 <= near < COLUMNS:
                        seen |= {(row, near), (row + 1, near)}
                seen.add((row + 1, column))
    return sum(1 << (3 * row + column) for row, column in seen if row < ROWS)


VISIBLE: npt.NDArray[np.bool_] = np.array(
    [[_visible(case) >> bit & 1 for bit in range(9)] for case in range(512)], bool
)
"""[512, 9]: the cells seen, by the bits of the opaque ones."""

OFFSETS = np.array(
    [
        [
            row * DIRECTIONS[d] + (column - 1) * DIRECTIONS[(d + 1) % 4]
            for row in range(ROWS)
            for column in range(COLUMNS)
        ]
        for d in range(4)
    ]
)
"""[4, 9, 2]: where those cells lie, from the agent, by its direction."""
