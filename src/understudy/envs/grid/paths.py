"""Shortest paths in many remembered maps at once: breadth-first search on bits.

A state is a direction and a cell; turning left, turning right and walking forward cost one step
each. The search goes backwards from the goals, a whole level of all maps at a time. A column of a
map is one 32-bit word (bit y), so a level is a dozen operations on [Q, 4, W] words.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.envs.base import EnvError
from understudy.envs.grid.codes import FORWARD, LEFT, RIGHT

Bits = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

ARRIVED, NO_WAY = -1, -2
_HEIGHT = 32


def to_bits(mask: Bools) -> Bits:
    """Booleans [..., W, H] as words [..., W].

    Raises:
        EnvError: H is over 32.
    """
    if mask.shape[-1] > _HEIGHT:
        raise EnvError(f"a map of {mask.shape[-1]} rows; paths are found in at most {_HEIGHT}")
    wide = np.zeros((*mask.shape[:-1], _HEIGHT), bool)
    wide[..., : mask.shape[-1]] = mask
    return np.packbits(wide, axis=-1, bitorder="little").view("<u4")[..., 0]


def behind(states: Bits) -> Bits:
    """The states [Q, 4, W] from which one step forward leads into `states`, walls aside."""
    back = np.zeros_like(states)
    back[:, 0, :-1] = states[:, 0, 1:]
    back[:, 1] = states[:, 1] >> 1
    back[:, 2, 1:] = states[:, 2, :-1]
    back[:, 3] = states[:, 3] << 1
    return back


def facing(cells: Bits) -> Bits:
    """The states [Q, 4, W] that face one of `cells` [Q, W]."""
    return behind(np.repeat(cells[:, None], 4, axis=1))


def beside(cells: Bits) -> Bits:
    """The states [Q, 4, W] that have one of `cells` [Q, W] to their left or right."""
    across = facing(cells)
    sides = np.empty_like(across)
    sides[:, 0] = sides[:, 2] = across[:, 1] | across[:, 3]
    sides[:, 1] = sides[:, 3] = across[:, 0] | across[:, 2]
    return sides


def first_steps(free: Bits, goals: Bits, position: Ints, direction: Ints) -> Ints:
    """The first action of a shortest path to the nearest goal.

    Args:
        free: the cells one can stand on, [Q, W]; the agent's own counts in any case.
        goals: states, [Q, 4, W].
        position: the agents', [Q, 2].
        direction: the agents', [Q].

    Returns:
        left, right or forward; ARRIVED in a goal; NO_WAY where none can be reached, [Q].
    """
    q = np.arange(len(free))
    x, y = position.T
    bit = (np.uint32(1) << y.astype(np.uint32)).astype(np.uint32)
    free = free.copy()
    free[q, x] |= bit
    stand = free[:, None]
    reached = goals & stand
    answers = np.where(reached[q, direction, x] & bit, ARRIVED, NO_WAY)
    ask = np.flatnonzero(answers == NO_WAY)
    stand, reached = stand[ask], reached[ask]
    # What the agent's three moves lead to; a wall before it leads nowhere.
    while len(ask):
        d, ax, abit = direction[ask], x[ask], bit[ask]
        n = np.arange(len(ask))
        backwards = behind(reached) & stand
        hits = {
            RIGHT: reached[n, (d + 1) % 4, ax] & abit,
            LEFT: reached[n, (d - 1) % 4, ax] & abit,
            FORWARD: backwards[n, d, ax] & abit,
        }
        for action, hit in hits.items():
            answers[ask[hit != 0]] = action
        wider = reached | backwards | ((np.roll(reached, 1, 1) | np.roll(reached, -1, 1)) & stand)
        grew = (wider != reached).any(axis=(1, 2))
        left = (answers[ask] == NO_WAY) & grew
        if left.all():
            reached = wider
        else:
            ask, reached, stand = ask[left], wider[left], stand[left]
    return answers
