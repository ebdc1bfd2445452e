"""A batch of remembered maps as arrays, and what they hold in words.

The words are canonical: what is remembered and what is held, sorted and without coordinates, so
that a whole task comes down to a handful of texts, and a language model is asked once for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from understudy.envs.grid.codes import (
    BALL,
    BOX,
    COLOURS,
    DIRECTIONS,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    NOBODY,
    OBJECTS,
    OPEN,
    UNSEEN,
    WALL,
    Image,
)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

STATES = ("open", "closed", "locked")
"""Of doors."""
THINGS = (KEY, BALL, BOX, DOOR, GOAL)
"""What is worth a word and can be gone to."""


@dataclass(frozen=True, slots=True)
class Scene:
    """N remembered maps; [N, W, H] where nothing else is said."""

    kind: Bytes
    colour: Bytes
    state: Bytes
    position: Ints
    """[N, 2]"""
    direction: Ints
    """[N]"""
    held: Bytes
    """Type of what is carried, EMPTY for nothing, [N]."""
    held_colour: Bytes
    """[N]"""

    @classmethod
    def of(cls, image: Image) -> Scene:
        """Reads observations, uint8 [N, W, H, 4]."""
        n, _, height, _ = image.shape
        rows = np.arange(n)
        spot = np.argmax((image[..., 3] != NOBODY).reshape(n, -1), axis=1)
        x, y = spot // height, spot % height
        kind = image[..., 0].copy()
        # The agent's cell shows what it carries; it can be stood on, whatever lies there.
        kind[rows, x, y] = EMPTY
        return cls(
            kind=kind,
            colour=image[..., 1],
            state=image[..., 2],
            position=np.stack([x, y], axis=1),
            direction=image[rows, x, y, 3].astype(int),
            held=image[rows, x, y, 0],
            held_colour=image[rows, x, y, 1],
        )

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Ints) -> Scene:
        """Some of the maps."""
        return Scene(*(getattr(self, field.name)[rows] for field in fields(self)))

    def front(self) -> tuple[Bytes, Bytes]:
        """Type and colour of the cell before each agent, [N]; walls beyond the edge."""
        _, width, height = self.kind.shape
        x, y = (self.position + DIRECTIONS[self.direction]).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        at = (np.arange(len(self)), np.clip(x, 0, width - 1), np.clip(y, 0, height - 1))
        return np.where(inside, self.kind[at], WALL).astype(np.uint8), self.colour[at]

    def walkable(self, *, lava: bool = False) -> npt.NDArray[np.bool_]:
        """The remembered cells one can walk on: empty, floor, goal, open doors; `lava` too."""
        free = np.isin(self.kind, (EMPTY, FLOOR, GOAL, *((LAVA,) if lava else ())))
        return free | (self.kind == DOOR) & (self.state == OPEN)


def seen(kind: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which cells were ever seen."""
    return kind != UNSEEN


@dataclass(frozen=True, slots=True)
class Words:
    """One scene in words."""

    text: str
    """What a language model is shown; scenes with equal texts get equal plans."""
    objects: tuple[str, ...]
    """The names that a plan may use."""
    held: str = ""
    """The name of what is carried."""


def describe(scene: Scene, missions: Sequence[str]) -> list[Words]:
    """Every scene in words, N of them."""
    n = len(scene)
    # One number per remembered cell that matters; equal rows are put in words once.
    matters = np.isin(scene.kind, (*THINGS, LAVA))
    code = np.where(
        matters,
        1 + scene.kind + 16 * scene.colour.astype(int) + 128 * scene.state.astype(int),
        0,
    )
    flat = np.sort(code.reshape(n, -1), axis=1)
    widest = int((flat > 0).sum(axis=1).max(initial=0))
    known: dict[tuple[bytes, int, int, str], Words] = {}
    answers: list[Words] = []
    for row in range(n):
        things = flat[row, flat.shape[1] - widest :]
        key = (things.tobytes(), int(scene.held[row]), int(scene.held_colour[row]), missions[row])
        if key not in known:
            found = [int(v) - 1 for v in things if v]
            known[key] = _words(found, key[1], key[2], key[3])
        answers.append(known[key])
    return answers


def _words(found: Sequence[int], held: int, held_colour: int, mission: str) -> Words:
    carried = [(held, held_colour, 0)] if held != EMPTY else []
    things = [(v % 16, v // 16 % 8, v // 128) for v in found if v % 16 != LAVA]
    # Colours are said where they tell things apart or the mission speaks of them.
    coloured = len({colour for kind, colour, _ in (*things, *carried) if kind != GOAL}) > 1
    coloured |= any(colour in mission.split() for colour in COLOURS)

    def name(thing: tuple[int, int, int]) -> str:
        kind, colour, state = thing
        words = [STATES[state]] if kind == DOOR else []
        words += [COLOURS[colour]] if coloured and kind != GOAL else []
        return " ".join([*words, OBJECTS[kind]])

    counts = Counter(name(thing) for thing in sorted(things))
    listed = [f"{count} {n}s" if count > 1 else n for n, count in counts.items()]
    holding = name(carried[0]) if carried else ""
    lines = [
        f"Mission: {mission}.",
        f"Remembered: {', '.join(listed) or 'nothing'}.",
        f"Held: {holding or 'nothing'}.",
    ]
    if any(v % 16 == LAVA for v in found) and "lava" not in mission:
        lines.append("Danger: lava.")
    objects = (*counts, holding) if holding and holding not in counts else tuple(counts)
    return Words("\n".join(lines), objects, holding)
