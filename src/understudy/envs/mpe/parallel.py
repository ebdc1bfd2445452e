"""Copies of any PettingZoo parallel environment, with the interface of `MpeVector`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.mpe.vector import State, Step, action_table, check_state
from understudy.envs.mpe.world import Floats, Observations


@dataclass
class _Copy:
    """One environment, the seed of its stream of episodes and what it did in the current one."""

    env: Any
    """A pettingzoo.ParallelEnv; untyped, as pettingzoo is no dependency."""
    seed: int = 0
    episode: int = 0
    actions: list[list[int]] = field(default_factory=list[list[int]])

    def episode_seed(self) -> int:
        """The seed itself for the first episode, after that one drawn from it and the episode's number."""
        if self.episode == 0:
            return self.seed
        words = np.random.SeedSequence(self.seed, spawn_key=(self.episode,)).generate_state(1)
        return int(words[0] >> 1)  # 31 bits: some environments refuse more


class ParallelVector:
    """N copies of a PettingZoo parallel environment, stepped one after the other.

    Agents need flat or array `Box` observations (they are flattened) and `Discrete` actions from 0, and
    must all end together. Every episode is reset with a seed of its own, so that a state can be brought
    back by playing the current episode again.

    Args:
        make: gives a new environment at every call.
        num_envs: N, at least 1.

    Raises:
        EnvError: N below 1, or spaces that are not as above.
    """

    def __init__(self, make: Callable[[], Any], num_envs: int) -> None:
        if num_envs < 1:
            raise EnvError(f"ParallelVector: num_envs is {num_envs}; it must be at least 1")
        self._copies = [_Copy(make()) for _ in range(num_envs)]
        first = self._copies[0].env
        self.name = str(first.metadata.get("name", type(first).__name__))
        self.num_envs = num_envs
        self.agents: tuple[str, ...] = tuple(first.possible_agents)
        spaces = {a: (first.observation_space(a), first.action_space(a)) for a in self.agents}
        self.observation_sizes = {a: self._length(a, seen) for a, (seen, _) in spaces.items()}
        self.action_sizes = {a: self._choices(a, chosen) for a, (_, chosen) in spaces.items()}
        self.terminated = np.zeros(num_envs, bool)
        """Which episodes ended for good in the last step, so that nothing is to be expected after it."""
        self._seen: Observations = {}

    @property
    def state_size(self) -> int:
        """Length of a central critic's input: all agents' observations, one after the other."""
        return sum(self.observation_sizes.values())

    def reset(self, seed: int | None = None) -> Observations:
        """Begins an episode in every copy; the first observations, agent → float32 [N, D].

        Copy i is seeded with `seed` + i; without a seed, with entropy the first time and then with the
        next seed of its stream.

        Raises:
            EnvError: a negative seed.
        """
        if seed is not None and seed < 0:
            raise EnvError(f"{self.name}: the seed is {seed}; it must be at least 0")
        fresh = seed is not None or not self._seen
        base = int(np.random.SeedSequence().generate_state(1)[0] >> 2) if seed is None else seed
        seen = {
            a: np.zeros((self.num_envs, n), np.float32) for a, n in self.observation_sizes.items()
        }
        for row, copy in enumerate(self._copies):
            if fresh:
                copy.seed, copy.episode = base + row, -1
            self._next_episode(row, seen)
        self._seen = seen
        return self.observe()

    def observe(self) -> Observations:
        """What every agent sees now, agent → float32 [N, D]."""
        self._require_reset("observe")
        return {agent: seen.copy() for agent, seen in self._seen.items()}

    def step(self, actions: Mapping[str, NDArray[Any]]) -> Step:
        """One step of every copy, which begins the next episode where one ends.

        Returns:
            as `MpeVector.step`; the third value is True where an episode ended, cut off or for good, and
            `terminated` tells these apart.

        Raises:
            EnvError: no reset yet; bad actions; an agent that leaves while others go on.
        """
        self._require_reset("step")
        table = action_table(self.name, self.action_sizes, actions, self.num_envs)
        rewards: dict[str, Floats] = {a: np.zeros(self.num_envs) for a in self.agents}
        ended = np.zeros(self.num_envs, bool)
        self.terminated = np.zeros(self.num_envs, bool)
        for row, chosen in enumerate(table.tolist()):
            earned, ended[row], self.terminated[row] = self._step_one(row, chosen)
            for agent in self.agents:
                rewards[agent][row] = earned[agent]
        if not ended.any():
            return self.observe(), rewards, ended, None
        last = self.observe()
        for row in np.flatnonzero(ended).tolist():
            self._next_episode(row, self._seen)
        return self.observe(), rewards, ended, last

    def get_state(self) -> State:
        """Seeds and the actions of the current episodes, as arrays, and what is seen now."""
        self._require_reset("get_state")
        cycles = np.array([len(copy.actions) for copy in self._copies])
        played = np.full((self.num_envs, int(cycles.max()), len(self.agents)), -1)
        for row, copy in enumerate(self._copies):
            if copy.actions:
                played[row, : len(copy.actions)] = copy.actions
        return {
            "seeds": np.array([copy.seed for copy in self._copies]),
            "episodes": np.array([copy.episode for copy in self._copies]),
            "cycles": cycles,
            "actions": played,
        } | {f"seen/{agent}": seen for agent, seen in self.observe().items()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes back to what `get_state` gave, by playing the current episodes again from their seeds.

        Raises:
            EnvError: the state of another environment or N, or an environment that does not do the same
                twice.
        """
        n, agents = self.num_envs, len(self.agents)
        longest = state["actions"].shape[1] if "actions" in state else 0
        wanted: State = {key: np.zeros(n) for key in ("seeds", "episodes", "cycles")}
        wanted["actions"] = np.zeros((n, longest, agents))
        seen = {a: np.zeros((n, d), np.float32) for a, d in self.observation_sizes.items()}
        check_state(self.name, state, wanted | {f"seen/{a}": s for a, s in seen.items()})
        self._seen = seen
        for row, copy in enumerate(self._copies):
            copy.seed, copy.episode = int(state["seeds"][row]), int(state["episodes"][row]) - 1
            self._next_episode(row, seen)
            for chosen in state["actions"][row, : int(state["cycles"][row])].tolist():
                self._step_one(row, chosen)
            for agent in self.agents:
                if not np.array_equal(
                    seen[agent][row], state[f"seen/{agent}"][row], equal_nan=True
                ):
                    raise EnvError(
                        f"{self.name}: playing the episode of copy {row} again from its seed gave "
                        f"{agent} another observation; it cannot be resumed"
                    )
        self.terminated = np.zeros(n, bool)

    def _step_one(self, row: int, chosen: list[int]) -> tuple[dict[str, float], bool, bool]:
        """Steps one copy and notes what is seen: rewards, whether the episode ended, whether for good."""
        copy = self._copies[row]
        seen, earned, over, cut, _ = copy.env.step(dict(zip(self.agents, chosen, strict=True)))
        copy.actions.append(chosen)
        left = [a for a in self.agents if over.get(a, True) or cut.get(a, True)]
        if left and len(left) < len(self.agents):
            raise EnvError(
                f"{self.name}: {left[0]} left at step {len(copy.actions)} while others go on; "
                "agents must all end together"
            )
        self._note(row, seen, self._seen)
        return earned, bool(left), all(over.get(a, False) for a in self.agents)

    def _next_episode(self, row: int, into: Observations) -> None:
        copy = self._copies[row]
        copy.episode += 1
        copy.actions = []
        seen, _ = copy.env.reset(seed=copy.episode_seed())
        self._note(row, seen, into)

    def _note(self, row: int, seen: Mapping[str, Any], into: Observations) -> None:
        missing = [agent for agent in self.agents if agent not in seen]
        if missing:
            raise EnvError(f"{self.name}: no observation for {missing[0]}; every agent needs one")
        for agent in self.agents:
            into[agent][row] = np.asarray(seen[agent], np.float32).ravel()

    def _length(self, agent: str, space: Any) -> int:
        if not isinstance(space, gym.spaces.Box):
            raise EnvError(f"{self.name}: {agent} observes {space}; a Box is needed")
        return int(np.prod(space.shape))

    def _choices(self, agent: str, space: Any) -> int:
        if not isinstance(space, gym.spaces.Discrete) or int(space.start) != 0:
            raise EnvError(f"{self.name}: {agent} acts in {space}; Discrete from 0 is needed")
        return int(space.n)

    def _require_reset(self, what: str) -> None:
        if not self._seen:
            raise EnvError(f"{self.name}: {what} before reset or set_state")
