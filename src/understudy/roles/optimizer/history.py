"""Earlier trials as lines of text that only grow, within a budget of tokens.

What was written stays as it is, so that a provider's prompt cache can hold the beginning. When the
lines no longer fit, they are compacted once: the best, the latest and the most different are kept
within half of the budget, and lines are appended again from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from understudy.envs.search.space import Space
from understudy.roles.optimizer.trials import Trial, lower_bounds, summed
from understudy.run.errors import ConfigError

CHARS_PER_TOKEN = 2.0
"""Digits, blanks and signs take more tokens than words; this is counted with, on the safe side."""
ELITE, RECENT = 0.4, 0.3
"""Shares of what is kept; the rest is the most different."""
LEAST = 4
"""Lines that must fit after a compaction."""
LONGEST_RESULT = len(" = -1.2345e+100 (n=100000)\n")


def line(trial: Trial) -> str:
    """One trial: its parameters on the grid, its mean return, its episodes."""
    return f"{' '.join(map(str, trial.point))} = {trial.mean:.5g} (n={trial.n})"


class History:
    """Trials as text; what it says depends on the trials and its small state alone."""

    def __init__(self, space: Space, tokens: int) -> None:
        """At most `tokens` tokens, at `CHARS_PER_TOKEN`.

        Raises:
            ConfigError: too few for the lines of this space.
        """
        self.space, self._room = space, int(tokens * CHARS_PER_TOKEN)
        ends = zip(space.low.tolist(), space.high.tolist(), strict=True)
        longest = sum(1 + max(len(str(a)), len(str(b))) for a, b in ends) + LONGEST_RESULT
        self._most = self._room // 2 // longest
        """Lines that are kept."""
        if self._most < LEAST:
            needed = int(np.ceil(2 * LEAST * longest / CHARS_PER_TOKEN))
            raise ConfigError(
                f"ask.history_tokens: {tokens} are too few for trials of {len(space)} parameters; at "
                f"least {needed} are needed"
            )
        self._kept: list[int] = []
        self._start = 0

    def text(self, trials: Sequence[Trial]) -> str:
        """One line a trial, in the order they were tried; "" if there are none."""
        found = self._write(trials)
        if len(found) > self._room:
            self._kept, self._start = sorted(self._choose(trials)), len(trials)
            found = self._write(trials)
        assert len(found) <= self._room, "a compacted history fits by its construction"
        return found

    def _write(self, trials: Sequence[Trial]) -> str:
        places = [*self._kept, *range(self._start, len(trials))]
        return "".join(f"{line(trials[i])}\n" for i in places)

    def _choose(self, trials: Sequence[Trial]) -> list[int]:
        """Indices of the best, the latest, and what lies farthest from all that are chosen."""
        elite = max(1, int(ELITE * self._most))
        bounds = lower_bounds([summed(trial.returns) for trial in trials])
        chosen = np.argsort(-bounds, kind="stable")[:elite].tolist()
        recent = range(len(trials) - max(1, int(RECENT * self._most)), len(trials))
        chosen = list(dict.fromkeys([*chosen, *recent]))
        points = np.array([trial.point for trial in trials])
        distance = np.min([self._distances(points, points[i]) for i in chosen], axis=0)
        distance[chosen] = -1.0
        while len(chosen) < min(self._most, len(trials)):
            farthest = int(np.argmax(distance))
            chosen.append(farthest)
            distance = np.minimum(distance, self._distances(points, points[farthest]))
            distance[farthest] = -1.0
        return chosen

    def _distances(self, points: Any, point: Any) -> Any:
        """[N] mean distance over the parameters, in widths of the box; choices are same or not."""
        width = np.maximum(1, self.space.levels - 1)
        apart = np.where(self.space.categorical, points != point, np.abs(points - point) / width)
        return apart.mean(axis=1)

    def state(self) -> dict[str, Any]:
        """What the latest compaction kept, and where the lines behind it begin."""
        return {"kept": self._kept, "start": self._start}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        self._kept, self._start = list(state["kept"]), state["start"]


def counts(trials: Iterable[Trial]) -> dict[str, int]:
    """How many trials each proposer made, by name."""
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.proposer] = found.get(trial.proposer, 0) + 1
    return found
