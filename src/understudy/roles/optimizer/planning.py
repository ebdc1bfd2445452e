"""Posterior sampling for tables: learn the transitions from the trials, plan, try the plan.

Every episode of a table shows what its actions led to, so a trial says far more than its return.
The planner keeps the counts, draws a model of the environment from what they leave open, and
proposes that model's optimal table (Osband, Russo & Van Roy 2013, arXiv 1306.0940). What has not
been seen of a state and an action is worth the best reward seen so far, so that the planner goes
and looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.envs.control.tabular_optimum import discounted
from understudy.envs.control.vector import Table
from understudy.envs.search.space import Point, Space
from understudy.roles.optimizer.proposers import Proposal
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.errors import ConfigError

Outcome = tuple[int, float, bool]
"""Next state, reward, whether the episode ended."""
TOLERANCE = 1e-6


class Planner:
    """Proposes tables that are optimal in models drawn from the posterior."""

    def __init__(self, space: Space, *, limit: int, batch: int = 8, doubt: float = 0.5) -> None:
        """A table of a choice per state.

        Args:
            space: of the table.
            limit: the environment's longest episode.
            batch: proposals at a time.
            doubt: how many times something new is taken to have been seen, in every state and
                action that was tried; it fades as one over the times it was tried.

        Raises:
            ConfigError: the space is not that of a table.
        """
        if not space.categorical.all() or len(set(space.levels.tolist())) != 1:
            raise ConfigError("proposer: plan needs --policy table in an environment with states")
        self.name, self._batch, self.space = "plan", batch, space
        self._limit, self._doubt = limit, doubt
        self._states, self._actions = len(space), int(space.levels[0])
        self._seen: dict[tuple[int, int], dict[Outcome, int]] = {}

    @property
    def batch(self) -> int:
        """As it was made."""
        return self._batch

    def ask(self, n: int, _trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """The plans of n models."""
        return [Proposal(self._plan(rng), self.name) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Counts what any trial saw, whoever proposed it."""
        for trial in trials:
            for state, action, following, reward, ended, times in trial.moves:
                outcomes = self._seen.setdefault((state, action), {})
                outcome = (following, reward, ended)
                outcomes[outcome] = outcomes.get(outcome, 0) + times

    def recommend(self, _trials: Trials) -> list[Point]:
        """The plan of the mean model, in which nothing unseen is hoped for."""
        return [self._plan(None)] if self._seen else []

    def state(self) -> dict[str, Any]:
        """The counts."""
        rows = [[*pair, *o, n] for pair, found in self._seen.items() for o, n in found.items()]
        return {"seen": rows}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        self._seen = {}
        for s, a, following, reward, ended, times in state["seen"]:
            self._seen.setdefault((s, a), {})[following, reward, bool(ended)] = times

    def _plan(self, rng: np.random.Generator | None) -> Point:
        table = self._model(rng)
        return self.space.point(discounted(table, 1.0 - 1.0 / self._limit, TOLERANCE, rng))

    def _model(self, rng: np.random.Generator | None) -> Table:
        rewards = [o[1] for found in self._seen.values() for o in found]
        hoped = max(0.0, *rewards) if any(rewards) else 1.0
        feared = min(0.0, *rewards) * self._limit if any(rewards) else 0.0
        most = 1 + max((len(found) for found in self._seen.values()), default=0)
        shape = (self._states, self._actions, most)
        model = Table(
            np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape), np.ones(shape, bool),
            np.full(self._states, 1 / self._states), self._limit,
        )  # fmt: skip
        model.probabilities[:, :, 0] = 1.0
        model.rewards[:, :, 0] = feared if rng is None else hoped
        for pair, found in self._seen.items():
            weights = np.array([0.0, *found.values()])
            if rng is not None:
                weights[0] = self._doubt / (1.0 + weights.sum())
                weights = rng.standard_gamma(weights)
            n = len(weights)
            model.probabilities[pair][:n] = weights / weights.sum()
            model.following[pair][1:n] = [o[0] for o in found]
            model.rewards[pair][1:n] = [o[1] for o in found]
            model.ended[pair][1:n] = [o[2] for o in found]
        return model
