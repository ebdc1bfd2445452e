"""Points scored by several processes: the same returns, to the last bit, in whatever order they come.

Every row of a batch depends on its own policy and seed alone (`envs.search.policies`), so a batch can
be cut anywhere. What cannot be cut is a running scale, which sums what all rows saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.envs.control.vector import Arena, Played
from understudy.envs.search.policies import Policy, Scale
from understudy.envs.search.space import Point
from understudy.envs.search.task import Moments, Move, Task
from understudy.roles.optimizer.build import build_policy
from understudy.roles.optimizer.config import OptimizerConfig, Option, PolicyShape
from understudy.run.executors import Executor, gathered
from understudy.run.workers import share

Scored = tuple[Played, list[tuple[Move, ...]]]


@dataclass(frozen=True, slots=True)
class Part:
    """Some points and some seeds, with what another process needs to play them."""

    env: str
    options: tuple[tuple[str, Option], ...]
    shape: PolicyShape
    scale: Scale
    points: tuple[Point, ...]
    seeds: tuple[int, ...]


_open: dict[Any, Arena] = {}
"""In a worker: the environment it played in last, which its next part is of, too."""


def score_part(part: Part) -> Scored:
    """Plays a part, in whatever process this is."""
    key = part.env, part.options
    if key not in _open:
        for arena in _open.values():
            arena.close()
        _open.clear()
        _open[key] = Arena(part.env, dict(part.options))
    arena = _open[key]
    return Task(arena, build_policy(part.shape, arena, part.scale)).score(part.points, part.seeds)


class SharedTask(Task):
    """A task whose points are scored by the workers of an executor."""

    def __init__(
        self,
        arena: Arena,
        policy: Policy,
        running: Moments | None,
        config: OptimizerConfig,
        executor: Executor,
    ) -> None:
        """`executor` is open; `config` says how a worker makes the same policies."""
        super().__init__(arena, policy, running)
        self._config, self._executor = config, executor

    def score(self, points: Sequence[Point], seeds: Sequence[int]) -> Scored:
        """See `Task`; the points are divided, or the seeds where they are more.

        Raises:
            RunError: a worker died again and again.
        """
        size = self._executor.workers
        if self.running is not None or size < 2 or len(points) * len(seeds) < 2:
            return super().score(points, seeds)
        by_points = len(points) >= len(seeds)
        whole = points if by_points else seeds
        cuts = [cut for rank in range(size) if (cut := tuple(share(whole, rank, size)))]
        parts = [
            self._part(cut, seeds) if by_points else self._part(points, cut)  # pyright: ignore[reportArgumentType]
            for cut in cuts
        ]
        found = gathered(self._executor, score_part, parts, "the scoring of points")
        return _joined(found, axis=0 if by_points else 1)

    def _part(self, points: Sequence[Point], seeds: Sequence[int]) -> Part:
        options = tuple(self._config.env_options.items())
        shape, scale = self._config.policy, self.policy.scale
        return Part(self._config.env, options, shape, scale, tuple(points), tuple(seeds))


def _joined(parts: Sequence[Scored], axis: int) -> Scored:
    """Parts that were cut along the policies (0) or the episodes (1), in their order."""
    columns = zip(*(played for played, _ in parts), strict=True)
    played = Played(*(np.concatenate(column, axis=axis) for column in columns))
    if axis == 0:
        return played, [moves for _, part in parts for moves in part]
    return played, [_summed(seen) for seen in zip(*(moves for _, moves in parts), strict=True)]


def _summed(parts: Sequence[tuple[Move, ...]]) -> tuple[Move, ...]:
    """How often a policy saw each transition in all parts, in the order that one part has."""
    times = Counter[tuple[int, int, int, float, bool]]()
    for part in parts:
        for state, action, following, reward, ended, n in part:
            times[state, action, following, reward, ended] += n
    return tuple((*move, n) for move, n in sorted(times.items()))
