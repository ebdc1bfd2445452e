"""One run of a grid: who, where, with which seed, and the configuration that makes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple, Protocol

from understudy.run.config import RunConfig


class Contender(NamedTuple):
    """Who is compared."""

    method: str
    lm: str | None = None
    """The language model, where the method asks one."""

    @property
    def label(self) -> str:
        """As it stands in a table."""
        return self.method if self.lm is None else f"{self.method} ({self.lm})"


@dataclass(frozen=True, slots=True)
class Cell:
    """A run that a grid asks for."""

    role: str
    env: str
    contender: Contender
    seed: int
    config: Any
    """What the role's `play` takes."""

    @property
    def name(self) -> str:
        """Of its directory; different for different cells of a role and environment."""
        return f"{slug(self.contender.label)}-s{self.seed}"


class Part(Protocol):
    """A role's table in a grid, as its module `grid` declares it."""

    envs: tuple[str, ...]
    lms: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def contenders(self) -> Sequence[str]:
        """The methods."""
        ...

    def asks(self, method: str) -> bool:
        """Whether a method asks a language model."""
        ...

    def config(self, env: str, method: str, lm: str, seed: int, run: RunConfig) -> Any:
        """The configuration of one run."""
        ...


def cells(role: str, part: Part, seeds: Sequence[int], run: RunConfig) -> Iterator[Cell]:
    """Environments × methods × language models × seeds; one run where no model is asked.

    Args:
        role: whose.
        part: its table.
        seeds: those of the grid, where the table has none of its own.
        run: how all of them are run; each has its own name.
    """
    for env, method in product(part.envs, part.contenders):
        for lm in part.lms if part.asks(method) else part.lms[:1]:
            who = Contender(method, lm if part.asks(method) else None)
            for seed in part.seeds or seeds:
                cell = Cell(role, env, who, seed, None)
                made = part.config(env, method, lm, seed, replace(run, name=cell.name))
                yield replace(cell, config=made)


def slug(text: str) -> str:
    """`text` as part of a file's name; what could be mistaken for another gets a digest."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60]
    if len(text) <= 60 and re.fullmatch(r"[A-Za-z0-9._+@ ()-]*", text):
        return plain
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
