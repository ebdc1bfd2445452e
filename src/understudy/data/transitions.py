"""Offline data of people: one ragged episode each, the state always the one before the decision.

A transition never joins two people, nor two copies of one person in a resample: rows of a person
lie together in time, and the row after the last one is told apart by `lengths`, not by sorting.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.data.jsonl import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
BLOCK = 65_536
"""Rows worked on at once where a copy of all would be large."""


@dataclass(frozen=True)
class Person:
    """One person's episode of T decisions."""

    name: str
    states: ArrayLike
    """Before each decision [T, D]."""
    actions: ArrayLike
    """[T]"""
    rewards: ArrayLike
    """Following each action [T]."""
    terminal: bool
    """True: nothing follows (the person dropped out). False: the study ended, life went on."""
    final_state: ArrayLike | None = None
    """After the last action [D]; None if unknown or terminal."""


@dataclass(frozen=True, eq=False)
class Offline:
    """N decisions of P people, person after person, each in the order of time."""

    states: Floats
    """[N, D], before the action."""
    actions: Ints
    """[N], 0 … n_actions − 1."""
    rewards: Floats
    """[N], following the action."""
    lengths: Ints
    """[P], decisions of each person, at least 1."""
    final_states: Floats
    """[P, D], after the last action; not looked at where `terminal`."""
    terminal: Bools
    """[P]: whether the person dropped out (nothing follows) or the study ended (truncation)."""
    persons: tuple[str, ...]
    """[P], all different."""
    n_actions: int
    source: tuple[str, ...] = ()
    """[P], where each person comes from ("original", "synthetic", …)."""

    def __post_init__(self) -> None:
        """Raises DataError where the arrays do not belong together."""
        if not self.source:
            object.__setattr__(self, "source", ("original",) * len(self.persons))
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        people = len(self.persons)
        if not people:
            raise DataError("offline data: nobody in it")
        if len(set(self.persons)) < people:
            twice = next(p for p in self.persons if self.persons.count(p) > 1)
            raise DataError(
                f"offline data: person {twice!r} is there twice; merge their rows first"
            )
        rows = int(self.lengths.sum())
        wanted = {
            "states": (rows, self.width),
            "actions": (rows,),
            "rewards": (rows,),
            "lengths": (people,),
            "final_states": (people, self.width),
            "terminal": (people,),
        }
        for name, shape in wanted.items():
            if (found := getattr(self, name).shape) != shape:
                raise DataError(f"offline data: {name} is {found}, not {shape}")
        if len(self.source) != people:
            raise DataError(f"offline data: {len(self.source)} sources of {people} people")
        if self.lengths.min() < 1:
            who = self.persons[int(self.lengths.argmin())]
            raise DataError(f"offline data: person {who!r} has no decision")

    def _check_values(self) -> None:
        for name, values in (("states", self.states), ("rewards", self.rewards)):
            bad = np.isfinite(values.reshape(len(values), -1)).sum(1) < values[:1].size
            if bad.any():
                raise DataError(f"offline data: {name} of {self._where(bad)} is not finite")
        bad = np.logical_or(self.actions < 0, self.actions >= self.n_actions)
        if bad.any():
            raise DataError(
                f"offline data: action {self.actions[bad][0]} of {self._where(bad)} is not one of "
                f"0 … {self.n_actions - 1}"
            )
        ends = ~np.isfinite(self.final_states).all(1) & ~self.terminal
        if ends.any():
            who = self.persons[int(ends.argmax())]
            raise DataError(f"offline data: the final state of {who!r} is not finite")

    def _where(self, bad: Bools) -> str:
        row = int(bad.argmax())
        return f"{self.persons[self.person[row]]!r} at decision {self.time[row]}"

    @property
    def width(self) -> int:
        """D, the numbers in a state."""
        return self.states.shape[-1]

    @property
    def n(self) -> int:
        """P, how many people."""
        return len(self.persons)

    @cached_property
    def starts(self) -> Ints:
        """The first row of each person [P]."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    @cached_property
    def person(self) -> Ints:
        """Whose decision a row is [N], as a position in `persons`."""
        return np.repeat(np.arange(self.n), self.lengths)

    @cached_property
    def time(self) -> Ints:
        """Which of the person's decisions a row is [N], from 0."""
        return np.arange(len(self.actions)) - self.starts[self.person]

    @cached_property
    def last(self) -> Bools:
        """Whether a row is the person's last [N]."""
        return self.time == self.lengths[self.person] - 1

    @cached_property
    def done(self) -> Bools:
        """Whether nothing follows a row [N]: the last of somebody who dropped out."""
        return self.last & self.terminal[self.person]

    @cached_property
    def next_states(self) -> Floats:
        """The state that followed [N, D]; zeros where `done`."""
        following = np.roll(self.states, -1, axis=0)
        following[self.last] = np.where(self.terminal[:, None], 0.0, self.final_states)
        return following

    @cached_property
    def following(self) -> Ints:
        """Where each row's next state is [N]: a row of `states`, or N + a person of `final_states`."""
        rows = np.arange(len(self.actions))
        return np.where(self.last, len(rows) + self.person, rows + 1)

    def padded(self, values: NDArray[Any], fill: float = 0.0) -> NDArray[Any]:
        """Row values [N, …] as [P, T, …], T the greatest length, `fill` after a person's end."""
        out = np.full((self.n, int(self.lengths.max()), *values.shape[1:]), fill, values.dtype)
        out[self.person, self.time] = values
        return out

    def select(self, people: ArrayLike) -> Offline:
        """The people at these positions, in this order; a repeated one is a person of their own.

        Copies are renamed ("ann", "ann#2", …), so that each keeps its own episode.
        """
        chosen = np.asarray(people, dtype=np.int64)
        if not len(chosen):
            raise DataError("offline data: a selection of nobody")
        lengths = self.lengths[chosen]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = np.repeat(self.starts[chosen], lengths) + within
        return Offline(
            states=self.states[rows],
            actions=self.actions[rows],
            rewards=self.rewards[rows],
            lengths=lengths,
            final_states=self.final_states[chosen],
            terminal=self.terminal[chosen],
            persons=_distinct([self.persons[i] for i in chosen]),
            n_actions=self.n_actions,
            source=tuple(self.source[i] for i in chosen),
        )

    def split(self, rng: np.random.Generator, share: float) -> tuple[Offline, Offline]:
        """Two sets of people, the second a `share` of them (at least one in each).

        Raises:
            DataError: one person, or not 0 < share < 1.
        """
        if not 0 < share < 1:
            raise DataError(f"offline data: a share of {share}; it must be between 0 and 1")
        if self.n < 2:
            raise DataError("offline data: one person cannot be split into two sets")
        order = rng.permutation(self.n)
        second = min(self.n - 1, max(1, round(share * self.n)))
        return self.select(np.sort(order[second:])), self.select(np.sort(order[:second]))

    def folds(self, rng: np.random.Generator, count: int) -> Ints:
        """A fold 0 … count − 1 for each person [P], sizes equal to within one."""
        return rng.permutation(np.arange(self.n) % min(count, self.n))

    def resample(self, rng: np.random.Generator) -> Offline:
        """As many people drawn with replacement: the bootstrap of people, not of rows."""
        return self.select(rng.integers(self.n, size=self.n))

    def save(self, path: Path) -> None:
        """Writes an .npz of plain arrays.

        Raises:
            DataError: the file cannot be written.
        """
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        temporary = path.with_name(path.name + ".part")
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **values)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot write ({error.strerror})") from error

    @classmethod
    def load(cls, path: Path) -> Offline:
        """Reads what `save` wrote.

        Raises:
            DataError: no such file, or not offline data; it names the path.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls)}
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not offline data ({error})") from error
        for name in ("persons", "source"):
            found[name] = tuple(found[name].tolist())
        found["n_actions"] = int(found["n_actions"])
        return cls(**found)


def gather(people: Sequence[Person], n_actions: int, source: str = "original") -> Offline:
    """Offline data from episodes.

    Somebody whose study ended without a known final state loses their last decision: the state
    before it serves as the final one, since what followed it is not known.

    Raises:
        DataError: nobody, an episode without a usable decision, or arrays of unequal length.
    """
    if not people:
        raise DataError("offline data: nobody in it")
    rows = [_episode(person) for person in people]
    widths = {row[0].shape[1] for row in rows}
    if len(widths) > 1:
        raise DataError(f"offline data: states of different widths {sorted(widths)}")
    return Offline(
        states=np.concatenate([row[0] for row in rows]),
        actions=np.concatenate([row[1] for row in rows]),
        rewards=np.concatenate([row[2] for row in rows]),
        lengths=np.array([len(row[1]) for row in rows], dtype=np.int64),
        final_states=np.stack([row[3] for row in rows]),
        terminal=np.array([person.terminal for person in people], dtype=np.bool_),
        persons=tuple(person.name for person in people),
        n_actions=n_actions,
        source=(source,) * len(people),
    )


def merge(*sets: Offline) -> Offline:
    """All people of several data sets; equal names are told apart as copies are.

    Raises:
        DataError: nothing to merge, or states or actions that do not agree.
    """
    if not sets:
        raise DataError("offline data: nothing to merge")
    for name in ("width", "n_actions"):
        if len(found := {getattr(s, name) for s in sets}) > 1:
            raise DataError(f"offline data: sets of different {name} {sorted(found)}")
    arrays = ("states", "actions", "rewards", "lengths", "final_states", "terminal")
    joined = {name: np.concatenate([getattr(s, name) for s in sets]) for name in arrays}
    return Offline(
        **joined,
        persons=_distinct([name for s in sets for name in s.persons]),
        n_actions=sets[0].n_actions,
        source=tuple(where for s in sets for where in s.source),
    )


@dataclass(frozen=True)
class Scaler:
    """Standardises states by what the training people show; it travels with the policy."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, data: Offline) -> Scaler:
        """Mean and deviation of every number of a state; a constant one is left unscaled."""
        mean = data.states.mean(0)
        squares = sum(((data.states[rows] - mean) ** 2).sum(0) for rows in _blocks(data.states))
        std = np.sqrt(squares / len(data.states))
        std = np.where(std > 1e-12, std, 1.0)
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, states: ArrayLike) -> Floats:
        """States [..., D] in the training people's units."""
        found = np.asarray(states, dtype=np.float64)
        if found.shape[-1] != len(self.mean):
            raise DataError(f"states of width {found.shape[-1]}; the scaler knows {len(self.mean)}")
        return (found - np.asarray(self.mean)) / np.asarray(self.std)

    def write(self, states: Floats, out: NDArray[np.float32]) -> None:
        """The same into `out`, in single precision and without a copy of all in double."""
        for rows in _blocks(states):
            out[rows] = self(states[rows])


def _blocks(values: Floats) -> Iterator[slice]:
    """Rows, so many at a time that what is made of them is small beside a large whole."""
    return (slice(i, i + BLOCK) for i in range(0, len(values), BLOCK))


def _episode(person: Person) -> tuple[Floats, Ints, Floats, Floats]:
    states = np.asarray(person.states, dtype=np.float64)
    actions = np.asarray(person.actions, dtype=np.int64)
    rewards = np.asarray(person.rewards, dtype=np.float64)
    if states.ndim != 2 or not len(states) == len(actions) == len(rewards):
        raise DataError(
            f"offline data: person {person.name!r} has states {states.shape}, "
            f"{len(actions)} actions and {len(rewards)} rewards"
        )
    if person.terminal:
        return states, actions, rewards, np.zeros(states.shape[1])
    if person.final_state is not None:
        return states, actions, rewards, np.asarray(person.final_state, dtype=np.float64)
    if len(states) < 2:
        raise DataError(
            f"offline data: person {person.name!r} has no decision whose consequence is known"
        )
    return states[:-1], actions[:-1], rewards[:-1], states[-1]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    taken: set[str] = set()
    out: list[str] = []
    copies: dict[str, int] = {}
    for name in names:
        label = name
        while label in taken:
            copies[name] = copies.get(name, 1) + 1
            label = f"{name}#{copies[name]}"
        taken.add(label)
        out.append(label)
    return tuple(out)
