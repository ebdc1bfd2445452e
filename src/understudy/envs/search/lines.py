"""A search in so few characters that a small language model can be asked for the next point.

Every parameter is one digit: a choice its index, a number one of nine levels that stand closer
together near the middle of its box. The trials are written parameter by parameter, not point by
point: a letter, then that parameter's digit in each trial from the best to the worst. To answer,
`A5B3…`, is to go through the letters again, so that all a model needs to see stands behind the
same letter, at distances that are ranks; first of all, what the best trial had there.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from understudy.envs.search.space import Point, Space, SpaceError

Row = tuple[Point, float, int]
"""A point, its mean return, and of how many episodes."""
LEVELS = 9
"""Of a number; odd, so that the middle is one of them."""
OPTIONS = 10
"""Most options of a choice: as many as there are digits."""
ROWS = 6
"""Most trials that are shown."""
TRIES = 8
"""To find a new point, for every number of digits that are changed."""
TOKENS = 480
"""Question and answer take no more characters, and no character takes more than one token."""


def question(space: Space, rows: Sequence[Row], *, tokens: int = TOKENS) -> str:
    """The trials so far, and what is asked.

    Trials of the same text are one. Of those that fit, the best and the worst are shown, and
    between them the more the better they are; returns are digits from the shown worst's 0 to the
    shown best's 9.

    Args:
        space: what is searched.
        rows: everything tried so far, in any order.
        tokens: most characters of question and answer together.

    Raises:
        SpaceError: a choice of more than ten options, or too many parameters for `tokens`.
    """
    options = levels(space).shape[1]
    kind = "choices" if space.categorical.all() else "levels"
    head = f"Search {options} {kind}, {len(rows)} tried.\nReturns "
    labels = _labels(len(space))
    room = tokens - len(head) - len("\nNext:") - 2 * sum(map(len, labels)) - len(labels)
    if room < 0:
        raise SpaceError(
            f"a question about {len(space)} parameters needs more than {tokens} tokens"
        )
    shown = fit(space, rows, min(ROWS, room // (len(space) + 1)))
    digits = [_written(space, point) for point, *_ in shown]
    columns = (label + "".join(d) for label, d in zip(labels, _turned(digits, labels), strict=True))
    return f"{head}{_scaled([mean for _, mean, _ in shown])}\n{''.join(columns)}\nNext:"


def pattern(space: Space) -> str:
    """A regular expression that every answer matches, and nothing else.

    Raises:
        SpaceError: a choice of more than ten options.
    """
    labelled = zip(_labels(len(space)), greatest(space).tolist(), strict=True)
    return "".join(f"{label}[0-{last}]" for label, last in labelled)


def write(point: Point, space: Space) -> str:
    """The answer nearest to a point."""
    labelled = zip(_labels(len(space)), _written(space, point), strict=True)
    return "".join(label + digit for label, digit in labelled)


def read(text: str, space: Space) -> Point:
    """The point of an answer; blanks around it are ignored.

    Raises:
        SpaceError: the text is no answer about this space.
    """
    answer = text.strip()
    if not re.fullmatch(pattern(space), answer):
        form = pattern(space)
        raise SpaceError(f"an answer must match {form[:60]}{'…' * (len(form) > 60)}")
    chosen = [int(c) for c in answer if c in string.digits]
    table = levels(space)
    return space.point(table[np.arange(len(space)), chosen])


def unseen(point: Point, space: Space, seen: Iterable[Point], rng: np.random.Generator) -> Point:
    """The point of an answer, or one a few digits away where its text is that of a point in `seen`.

    `Space.unseen` would move it by a step of the grid, which no question shows. Where all texts
    seem used up, the point itself comes back.
    """
    known = {write(p, space) for p in seen}
    table = levels(space)
    top = greatest(space)
    here = np.array([int(digit) for digit in _written(space, point)])
    there = here
    for attempt in range(TRIES * len(space)):
        found = space.point(table[np.arange(len(space)), there])
        if write(found, space) not in known:
            return found
        # More and more parameters at once.
        moved = rng.permutation(len(space))[: 1 + attempt // TRIES]
        there = here.copy()
        steps = np.clip(here[moved] + rng.choice([-1, 1], len(moved)), 0, top[moved])
        there[moved] = np.where(space.categorical[moved], rng.integers(top[moved] + 1), steps)
    return point


def fit(space: Space, rows: Sequence[Row], most: int) -> list[Row]:
    """At most `most` trials, as they are read, from the best to the worst."""
    same: dict[str, list[Row]] = {}
    for row in rows:
        same.setdefault(write(row[0], space), []).append(row)
    merged = [_merged(group) for group in same.values()]
    merged.sort(key=lambda row: -row[1])
    if len(merged) > most:
        # The k-th squares: neighbours at the best, ever wider gaps towards the worst.
        places = np.linspace(0.0, 1.0, most) ** 2 * (len(merged) - 1)
        merged = [merged[place] for place in np.maximum(np.rint(places).astype(int), range(most))]
    return merged


def _merged(group: list[Row]) -> Row:
    episodes = sum(n for *_, n in group)
    return group[-1][0], sum(mean * n for _, mean, n in group) / episodes, episodes


def _scaled(means: list[float]) -> str:
    if not means:
        return "none"
    spread = max(means) - min(means)
    return "".join(str(round(9 * (m - min(means)) / spread)) if spread else "0" for m in means)


def _turned(digits: list[str], labels: list[str]) -> list[str]:
    """From a row for each trial to one for each parameter."""
    return ["".join(row[i] for row in digits) for i in range(len(labels))]


def _labels(count: int) -> list[str]:
    letters = string.ascii_uppercase + string.ascii_lowercase
    return [
        letters[i]
        if i < len(letters)
        else letters[i // len(letters) - 1] + letters[i % len(letters)]
        for i in range(count)
    ]


def _written(space: Space, point: Point) -> str:
    """The digit of each parameter."""
    distance = np.abs(levels(space) - np.asarray(point)[:, None])
    return "".join(map(str, distance.argmin(axis=1).tolist()))


def levels(space: Space) -> NDArray[np.int64]:
    """[D, L] the grid's integer of each digit; a parameter of fewer levels repeats its last.

    Raises:
        SpaceError: a choice of more than ten options.
    """
    return _table(tuple(space.low.tolist()), tuple(space.high.tolist()), tuple(space.categorical))


def greatest(space: Space) -> NDArray[np.int64]:
    """[D] the greatest digit of each parameter."""
    table = levels(space)
    return (table[:, 1:] > table[:, :-1]).sum(axis=1)


@lru_cache(maxsize=1024)
def _table(
    low: tuple[int, ...], high: tuple[int, ...], categorical: tuple[bool, ...]
) -> NDArray[np.int64]:
    rows = [_levels(*ends) for ends in zip(low, high, categorical, strict=True)]
    longest = max(map(len, rows))
    return np.array([row + row[-1:] * (longest - len(row)) for row in rows], np.int64)


def _levels(low: int, high: int, categorical: bool) -> list[int]:
    count = high - low + 1
    if categorical and count > OPTIONS:
        raise SpaceError(f"a choice of {count} options has no digit for each; at most {OPTIONS}")
    if count <= OPTIONS and (categorical or count <= LEVELS):
        return list(range(low, high + 1))
    along = np.linspace(-1.0, 1.0, LEVELS)
    # Signed squares; a coarse grid has no room for neighbours that close.
    curve = np.sign(along) * along**2 if count > 4 * LEVELS else along
    middle, radius = (low + high) / 2, (high - low) / 2
    return [int(level) for level in np.rint(middle + radius * curve)]
