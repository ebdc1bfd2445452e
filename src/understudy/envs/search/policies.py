"""Policies as rows of numbers: linear ones, and tables of an action or of values per state.

A policy class fixes what the parameters mean; a point of its space is one policy. All of P policies
act at once, and each row's action depends on that row alone, to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.control.vector import Act
from understudy.envs.search.space import Space, box, choices

Kind = Literal["linear", "table", "values"]
Floats = NDArray[np.float64]
Array = NDArray[Any]
MOST_STATES = 5000
CLIP = 10.0
"""Scaled observations are cut to ± this many standard deviations."""


@dataclass(frozen=True)
class Scale:
    """Centre and spread by which observations are scaled (V2 of arXiv 1803.07055, equation 2)."""

    mean: Floats
    std: Floats

    @classmethod
    def none(cls, size: int) -> Scale:
        """Leaves observations as they are."""
        return cls(np.zeros(size), np.ones(size))

    def __call__(self, observations: Array) -> Floats:
        """[N, O] → [N, O]."""
        return np.clip((observations.astype(np.float64) - self.mean) / self.std, -CLIP, CLIP)


@dataclass(frozen=True)
class Bound:
    """P policies, ready to act (see `Policies` in `understudy.envs.control.vector`)."""

    count: int
    select: Callable[[NDArray[np.intp]], Act]

    def __len__(self) -> int:
        return self.count

    def rows(self, policy: NDArray[np.intp]) -> Act:
        """Row i of the observations is answered by policy[i]."""
        return self.select(policy)


class Policy(ABC):
    """What the parameters of a point mean."""

    space: Space
    scale: Scale

    @abstractmethod
    def bind(self, grid: Any) -> Bound:
        """The policies of points [P, D]."""

    @abstractmethod
    def arrays(self, point: Any) -> dict[str, Any]:
        """One policy in the words of `docs`: JSON lists that a few lines of numpy can follow."""


class Linear(Policy):
    """Scores = z @ W + b of scaled observations z, with W whole or the product of two thin factors.

    With a Box of actions the scores are the action, cut to the box. With n discrete actions there
    are n − 1 scores, of actions 1 … n − 1, action 0's being always 0; the greatest is taken.
    """

    def __init__(
        self,
        observations: spaces.Box,
        actions: spaces.Space[Any],
        scale: Scale,
        *,
        bias: bool = True,
        rank: int = 0,
        limit: float = 6.0,
        step: float = 0.1,
    ) -> None:
        """Weights within ± `limit` by `step`; `rank` 0 is a whole matrix.

        Raises:
            EnvError: neither a Box nor a Discrete space of actions.
        """
        self.scale, self.bias, self.actions = scale, bias, actions
        self.inputs = int(np.prod(observations.shape))
        self.discrete = isinstance(actions, spaces.Discrete)
        if isinstance(actions, spaces.Discrete):
            self.outputs = int(actions.n) - 1
        elif isinstance(actions, spaces.Box) and len(actions.shape) == 1:
            self.outputs = int(actions.shape[0])
        else:
            raise EnvError(f"policy: linear cannot act in {actions}; it needs Box or Discrete")
        self.rank = rank if 0 < rank < min(self.inputs, self.outputs) else 0
        self.space = box(self._names(), -limit, limit, step)

    def _names(self) -> list[str]:
        first = 1 if self.discrete else 0
        outputs = [f"action {first + k}" for k in range(self.outputs)]
        if self.rank:
            left = [
                f"observation {i} to factor {r}"
                for i in range(self.inputs)
                for r in range(self.rank)
            ]
            names = left + [f"factor {r} to {out}" for r in range(self.rank) for out in outputs]
        else:
            names = [f"observation {i} to {out}" for i in range(self.inputs) for out in outputs]
        return names + [f"bias of {out}" for out in outputs] * self.bias

    def matrices(self, grid: Any) -> tuple[Floats, Floats]:
        """W [P, inputs, outputs] and b [P, outputs] of points [P, D]."""
        values = self.space.values(np.atleast_2d(grid))
        n, k, r = self.inputs, self.outputs, self.rank
        offset = values[:, -k:] if self.bias else np.zeros((len(values), k))
        if not r:
            return values[:, : n * k].reshape(-1, n, k), offset
        left = values[:, : n * r].reshape(-1, n, r)
        right = values[:, n * r : n * r + r * k].reshape(-1, r, k)
        return sum(
            (left[:, :, i, None] * right[:, None, i] for i in range(r)), np.zeros(())
        ), offset

    def bind(self, grid: Any) -> Bound:
        """The policies of points [P, D]."""
        weights, offset = self.matrices(grid)
        ends = None if self.discrete else (self.actions.low, self.actions.high)  # pyright: ignore[reportAttributeAccessIssue]

        def select(policy: NDArray[np.intp]) -> Act:
            columns, start = (
                np.ascontiguousarray(weights[policy].transpose(1, 0, 2)),
                offset[policy],
            )

            def act(observations: Array) -> Array:
                z = self.scale(observations)
                scores = start
                # Summed term by term: a matrix product's rounding would depend on the batch.
                for index, column in enumerate(columns):
                    scores = scores + column * z[:, index, None]
                if ends is not None:
                    return np.clip(scores, *ends).astype(np.float32)
                if scores.shape[1] == 1:
                    return (scores[:, 0] > 0).astype(np.int64)
                best = scores.argmax(axis=1)
                return np.where(scores.max(axis=1) > 0, best + 1, 0)

            return act

        return Bound(len(weights), select)

    def arrays(self, point: Any) -> dict[str, Any]:
        """`mean`, `std`, `weights`, `bias`; `low` and `high` where actions are numbers."""
        weights, offset = self.matrices(point)
        found = {
            "kind": "linear",
            "mean": self.scale.mean.tolist(),
            "std": self.scale.std.tolist(),
            "weights": weights[0].tolist(),
            "bias": offset[0].tolist(),
        }
        if isinstance(self.actions, spaces.Box):
            found |= {"low": self.actions.low.tolist(), "high": self.actions.high.tolist()}
        return found


class Table(Policy):
    """An action for each state (`table`), or a value for each action in each state (`values`).

    A Box of observations is cut into `bins` equal parts between −2 and 2 of each scaled number, and
    a Box of actions is offered as `bins` equally spaced values of each number.
    """

    def __init__(
        self,
        observations: spaces.Space[Any],
        actions: spaces.Space[Any],
        scale: Scale,
        *,
        values: bool = False,
        bins: int = 5,
        limit: float = 6.0,
        step: float = 0.1,
    ) -> None:
        """`limit` and `step` are of the values.

        Raises:
            EnvError: more than `MOST_STATES` states, or a space that cannot be cut into bins.
        """
        self.scale, self.bins, self.values = scale, bins, values
        self.binned = isinstance(observations, spaces.Box)
        self.offered = _offered(actions, bins)
        actions_count = len(self.offered)
        if isinstance(observations, spaces.Box):
            self.states = bins ** int(np.prod(observations.shape))
        elif isinstance(observations, spaces.Discrete):
            self.states = int(observations.n)
        else:
            raise EnvError(f"policy: a table cannot observe {observations}")
        if self.states > MOST_STATES:
            raise EnvError(
                f"policy: a table of {self.states} states is too large (at most {MOST_STATES}); "
                "use fewer bins, or --policy linear"
            )
        if values:
            names = [
                f"value of {a} in {s}" for s in range(self.states) for a in range(actions_count)
            ]
            self.space = box(names, -limit, limit, step)
        else:
            self.space = choices([f"action in {s}" for s in range(self.states)], actions_count)

    def state(self, observations: Array) -> Array:
        """[N, O] or [N] observations → [N] states."""
        if not self.binned:
            return observations
        cut = np.floor((self.scale(observations) + 2.0) / 4.0 * self.bins).astype(np.int64)
        inside = np.clip(cut, 0, self.bins - 1)
        return np.asarray(np.ravel_multi_index(tuple(inside.T), (self.bins,) * cut.shape[1]))

    def table(self, grid: Any) -> NDArray[np.int64]:
        """[P, S] index of the action that each policy takes in each state."""
        points = np.atleast_2d(grid)
        if not self.values:
            return points.astype(np.int64)
        values = points.reshape(len(points), self.states, len(self.offered))
        return values.argmax(axis=2)

    def bind(self, grid: Any) -> Bound:
        """The policies of points [P, D]."""
        table = self.table(grid)

        def select(policy: NDArray[np.intp]) -> Act:
            return lambda observations: self.offered[table[policy, self.state(observations)]]

        return Bound(len(table), select)

    def arrays(self, point: Any) -> dict[str, Any]:
        """`actions` of every state; `mean`, `std` and `bins` where observations are numbers."""
        found: dict[str, Any] = {
            "kind": "values" if self.values else "table",
            "actions": self.offered[self.table(point)[0]].tolist(),
        }
        if self.binned:
            scale = {"mean": self.scale.mean.tolist(), "std": self.scale.std.tolist()}
            found |= {"bins": self.bins, **scale}
        return found


def _offered(actions: spaces.Space[Any], bins: int) -> Array:
    """[A] or [A, M] the actions a table chooses from."""
    if isinstance(actions, spaces.Discrete):
        return np.arange(int(actions.n))
    if isinstance(actions, spaces.Box) and actions.is_bounded() and len(actions.shape) == 1:
        edges = zip(actions.low, actions.high, strict=True)
        parts = np.meshgrid(*(np.linspace(low, high, bins) for low, high in edges), indexing="ij")
        return np.stack([part.ravel() for part in parts], axis=1).astype(np.float32)
    raise EnvError(f"policy: a table cannot act in {actions}; it needs Discrete or a bounded Box")


def make_policy(
    kind: Kind,
    observations: spaces.Space[Any],
    actions: spaces.Space[Any],
    scale: Scale | None = None,
    *,
    bias: bool = True,
    rank: int = 0,
    bins: int = 5,
    limit: float = 6.0,
    step: float = 0.1,
) -> Policy:
    """The policy class of a name, over an environment's spaces.

    Raises:
        EnvError: it cannot observe or act in these spaces.
    """
    size = int(np.prod(observations.shape)) if isinstance(observations, spaces.Box) else 1
    scale = scale or Scale.none(size)
    if kind != "linear":
        return Table(
            observations, actions, scale, values=kind == "values", bins=bins, limit=limit, step=step
        )
    if not isinstance(observations, spaces.Box):
        raise EnvError(f"policy: linear cannot observe {observations}; use --policy table")
    return Linear(observations, actions, scale, bias=bias, rank=rank, limit=limit, step=step)
