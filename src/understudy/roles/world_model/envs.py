"""Gymnasium environments side by side, in the records a world model learns from.

Each is reset by hand, so that the last observation of an episode is a record of its own. Every
episode has a seed of its own, which is how a resumed run gets its environments back: the episode is
begun again with its seed and its actions are repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from understudy.roles.world_model.replay import Array
from understudy.roles.world_model.spaces import Actions, Key, actions_of, flatten, keys_of

log = logging.getLogger("understudy")
Seed = Callable[[int, int], int]
"""(environment, episode) → its seed."""


class Ended(NamedTuple):
    """An episode that is over."""

    env: int
    total: float
    """Sum of its rewards."""
    length: int
    success: float | None
    """What the environment's `info` said at its end, where it says so."""


class Envs:
    """Environments alike, one record of each at a time."""

    def __init__(
        self,
        envs: Sequence[gymnasium.Env[Any, Any]],
        seed: Seed,
        *,
        blank: bool = False,
        scale: float = 1.0,
    ) -> None:
        """`seed` gives every episode's seed; `blank` hides what is said in words.

        Rewards in records are multiplied by `scale`; returns of episodes are not.
        """
        self.envs, self.seed, self.blank, self.scale = list(envs), seed, blank, scale
        self.keys: tuple[Key, ...] = keys_of(envs[0].observation_space)
        self.actions: Actions = actions_of(envs[0].action_space)
        count = len(self.envs)
        self.episodes = [-1] * count
        """The number of the episode each is in."""
        self.history: list[list[list[float]]] = [[] for _ in range(count)]
        """Actions of the episode so far."""
        self.over = [True] * count
        """Whether the last record was an episode's end."""
        self.returns = [0.0] * count
        self.finished: list[Ended] = []
        """The episodes that ended since this list was last emptied."""
        self.records: dict[str, Array] = {}
        """The present record of every environment, without its action."""
        self.steps = 0
        """Environment steps so far; resets are none."""

    def __len__(self) -> int:
        return len(self.envs)

    def advance(self, actions: Array | None, *, restart: bool = True) -> dict[str, Array]:
        """The next record of each: after `actions` [envs, A], or of a new episode where one ended.

        Where the last record was an episode's end its action is not looked at. Without `restart` an
        environment stays at its end.
        """
        rows = [
            {name: values[i] for name, values in self.records.items()}
            if not restart and self.over[i] and actions is not None
            else self._one(i, None if actions is None else actions[i])
            for i in range(len(self))
        ]
        self.records = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return self.records

    def _one(self, i: int, action: Array | None) -> dict[str, Array]:
        if self.over[i] or action is None:
            return self._begin(i, self.episodes[i] + 1)
        observation, reward, terminated, truncated, info = self.envs[i].step(
            self.actions.to_env(action)
        )
        self.steps += 1
        self.history[i].append(action.tolist())
        self.returns[i] += float(reward)
        self.over[i] = bool(terminated or truncated)
        if self.over[i]:
            success = float(info["success"]) if "success" in info else None
            self.finished.append(Ended(i, self.returns[i], len(self.history[i]), success))
        return self._record(observation, float(reward), False, self.over[i], bool(terminated))

    def _begin(self, i: int, episode: int) -> dict[str, Array]:
        observation, _ = self.envs[i].reset(seed=self.seed(i, episode) % 2**31)
        self.episodes[i], self.history[i] = episode, []
        self.over[i], self.returns[i] = False, 0.0
        return self._record(observation, 0.0, True, False, False)

    def _record(
        self, observation: Any, reward: float, first: bool, last: bool, terminal: bool
    ) -> dict[str, Array]:
        found = flatten(self.keys, observation, blank=self.blank)
        found["reward"] = np.array(self.scale * reward, np.float32)
        found |= {"is_first": np.array(first), "is_last": np.array(last)}
        found["is_terminal"] = np.array(terminal)
        return found

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs, as JSON."""
        return {
            "episodes": list(self.episodes), "history": [list(h) for h in self.history],
            "over": list(self.over), "steps": self.steps,
        }  # fmt: skip

    def set_state(self, state: Mapping[str, Any], records: Mapping[str, Array]) -> None:
        """Plays the episodes that were going on again, up to `records`, where they were."""
        for i, (episode, actions) in enumerate(
            zip(state["episodes"], state["history"], strict=True)
        ):
            row = self._begin(i, int(episode))
            for action in actions:
                row = self._one(i, np.array(action, np.float32))
            if not all(np.array_equal(row[key.name], records[key.name][i]) for key in self.keys):
                log.warning(
                    "environment %d does not repeat an episode from its seed: the resumed run will "
                    "differ from one that was not stopped", i,
                )  # fmt: skip
        self.over = [bool(over) for over in state["over"]]
        self.steps, self.finished = int(state["steps"]), []
        self.records = dict(records)
