"""What was tried and what came of it: an append-only list, one JSON line a trial on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.data.jsonl import DataError, read_rows
from understudy.envs.search.space import Point
from understudy.envs.search.task import Move
from understudy.run.files import on_disk, replace_file, sync

PRIOR_WEIGHT = 3.0
"""A trial's spread counts as if this many episodes of the common spread were among its own."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One point and its episodes."""

    generation: int
    proposer: str
    point: Point
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]
    """Of the episodes: any of them can be played again."""
    reason: str = ""
    """What the proposer said of it."""
    moves: tuple[Move, ...] = ()
    """What was seen of a tabular environment."""

    @property
    def n(self) -> int:
        """Episodes."""
        return len(self.returns)

    @property
    def mean(self) -> float:
        """Mean return."""
        return math.fsum(self.returns) / len(self.returns)


class Trials(Sequence[Trial]):
    """All trials of a run, in the order they ended."""

    def __init__(self, path: Path | None = None) -> None:
        """Appends to `path` too, if there is one; `restore` reads what is there."""
        self._path = path
        self._rows: list[Trial] = []
        self._returns: dict[Point, list[float]] = {}
        self._sums: dict[Point, Sums] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """A trial, or a list of them."""
        return self._rows[index]

    def restore(self, count: int) -> None:
        """Reads the first `count` trials of the file and cuts off what stands behind them.

        Raises:
            DataError: it has fewer, or a line that is no trial.
        """
        assert self._path is not None, "only trials on disk can be restored"
        found = [_read(self._path, n, row) for n, row in _rows(self._path, count)]
        if len(found) < count:
            raise DataError(f"{self._path}: has {len(found)} trials; the checkpoint needs {count}")
        self._rows, self._returns, self._sums = [], {}, {}
        self._add(found)
        with on_disk(self._path):
            replace_file(self._path, "".join(map(_line, found)).encode())

    def extend(self, trials: Iterable[Trial]) -> None:
        """Appends trials."""
        new = list(trials)
        if self._path is not None:
            with on_disk(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write("".join(map(_line, new)))
        self._add(new)

    def _add(self, trials: list[Trial]) -> None:
        self._rows += trials
        for trial in trials:
            self._returns.setdefault(trial.point, []).extend(trial.returns)
        for trial in trials:
            self._sums[trial.point] = summed(self._returns[trial.point])

    def sync(self) -> None:
        """Returns when every trial is on the disk."""
        if self._path is not None and self._path.exists():
            sync(self._path)

    @property
    def points(self) -> dict[Point, list[float]]:
        """The returns of every point that was tried, in order."""
        return self._returns

    def best(self, k: int) -> list[Point]:
        """The k points with the greatest `lower_bound`, best first."""
        points = list(self._sums)
        bounds = lower_bounds([*self._sums.values()])
        return [points[i] for i in np.argsort(-bounds, kind="stable")[:k]]


class Sums(NamedTuple):
    """What a sample comes down to."""

    n: int
    mean: float
    squares: float
    """Sum of the squared deviations from the mean."""


def summed(sample: Sequence[float]) -> Sums:
    """Of at least one number."""
    mean = math.fsum(sample) / len(sample)
    return Sums(len(sample), mean, math.fsum((x - mean) ** 2 for x in sample))


def lower_bounds(samples: Sequence[Sums], z: float = 1.0) -> NDArray[np.float64]:
    """Mean − z standard errors of each sample, so that one lucky episode is no record.

    A short sample says little of its own spread, so its variance is pulled towards that of all
    samples together, with the weight of `PRIOR_WEIGHT` episodes (Smyth 2004, equation 1).
    """
    sizes, means, squares = np.array(samples, float).reshape(-1, 3).T
    freedom = sizes - 1
    common = squares.sum() / max(1.0, freedom.sum())
    variance = (PRIOR_WEIGHT * common + squares) / (PRIOR_WEIGHT + freedom)
    return means - z * np.sqrt(variance / sizes)


def _line(trial: Trial) -> str:
    row = {name: value for name, value in asdict(trial).items() if value not in ("", ())}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _rows(path: Path, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first `count` rows; what a kill left half-written behind them is not read."""
    rows = read_rows(path, required=("point", "returns"))
    for _ in range(count):
        if (row := next(rows, None)) is None:
            return
        yield row


def _read(path: Path, number: int, row: dict[str, Any]) -> Trial:
    try:
        lists = {name: tuple(row.pop(name)) for name in ("point", "returns", "lengths", "seeds")}
        moves = tuple(tuple(move) for move in row.pop("moves", ()))
        return Trial(**lists, moves=moves, **row)
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}:{number}: not a trial ({error})") from error


def read_trials(path: Path) -> list[Trial]:
    """All trials of a file.

    Raises:
        DataError: no such file, or a line that is no trial; it names the line.
    """
    return [_read(path, n, row) for n, row in read_rows(path, required=("point", "returns"))]
