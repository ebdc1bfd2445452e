"""Many policies, many episodes, one batch: the same seed is the same episode for every policy.

CartPole, both MountainCars, Pendulum, Acrobot and every environment with a transition table are
stepped as arrays; any other through a pool of single environments, with the policies still asked
for all their actions at once. Either way returns equal those of Gymnasium's single environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.control.classic import CLASSIC, Array, Batch, Step
from understudy.envs.control.register import limit_of, make

Floats = NDArray[np.float64]
Act = Callable[[Array], Array]
POOL = 32
"""Single environments that are open at a time."""


class Policies(Protocol):
    """P policies."""

    def __len__(self) -> int:
        """P."""
        ...

    def rows(self, policy: NDArray[np.intp]) -> Act:
        """From observations [N, ...] to actions [N, ...], where row i obeys policy[i]."""
        ...


class Seen(NamedTuple):
    """What happened in one step of N live episodes, for whoever watches."""

    policy: NDArray[np.intp]
    observations: Array
    actions: Array
    rewards: Floats
    next_observations: Array
    terminated: Array


class Played(NamedTuple):
    """What came of P policies' E episodes."""

    returns: Floats
    """[P, E]"""
    lengths: NDArray[np.int64]
    """[P, E], in steps."""


class Arena:
    """An environment to play in, opened once."""

    def __init__(self, env: str, options: Mapping[str, Any] | None = None) -> None:
        """See `make` for the arguments and errors."""
        self._name, self._options = env, dict(options or {})
        self._envs = [make(env, options)]
        single = self._envs[0]
        self.limit = limit_of(single)
        self.observation_space = flat_space(single.observation_space)
        self.action_space = single.action_space
        for space in (single.observation_space, single.action_space):
            if isinstance(space, spaces.Discrete) and space.start:
                raise EnvError(
                    f"env: {env} counts from {space.start}; Discrete spaces from 0 needed"
                )
        plain = not set(self._options) - {"max_episode_steps"}
        self._batch: Callable[[], Batch] | None = None
        if env in CLASSIC and plain:
            self._batch = CLASSIC[env]
        self.table = Table.of(single) if is_tabular(single) else None
        """The transition table, where there is one."""
        if self.table is not None:
            self._batch = partial(TableBatch, self.table)

    @property
    def single(self) -> gymnasium.Env[Any, Any]:
        """One of Gymnasium's own environments; leave it as it is."""
        return self._envs[0]

    @property
    def vectorised(self) -> bool:
        """Whether episodes are stepped as arrays."""
        return self._batch is not None

    def play(
        self, policies: Policies, seeds: Sequence[int], watch: Callable[[Seen], None] | None = None
    ) -> Played:
        """Every policy plays one episode from every seed.

        Args:
            policies: P of them.
            seeds: E seeds ≥ 0, shared by all policies (common random numbers).
            watch: is shown every step.
        """
        pairs = len(policies) * len(seeds)
        if self._batch is not None:
            whole = _run(self._batch(), self.limit, policies, seeds, np.arange(pairs), watch)
        else:
            parts = [
                _run(self._pool(), self.limit, policies, seeds, part, watch)
                for part in np.split(np.arange(pairs), range(POOL, pairs, POOL))
            ]
            whole = Played(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        shape = (len(policies), len(seeds))
        return Played(whole.returns.reshape(shape), whole.lengths.reshape(shape))

    def __enter__(self) -> Self:
        """Closes itself at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the single environments."""
        for env in self._envs:
            env.close()

    def _pool(self) -> Batch:
        return Pool(self._envs, lambda: make(self._name, self._options))


def play(
    env: str,
    policies: Policies,
    seeds: Sequence[int],
    *,
    options: Mapping[str, Any] | None = None,
    watch: Callable[[Seen], None] | None = None,
) -> Played:
    """`Arena.play` in an environment that is opened for this once."""
    with Arena(env, options) as arena:
        return arena.play(policies, seeds, watch)


def _run(
    batch: Batch,
    limit: int,
    policies: Policies,
    seeds: Sequence[int],
    pairs: NDArray[np.intp],
    watch: Callable[[Seen], None] | None,
) -> Played:
    """The pairs (policy × E + episode) in one batch; ended rows are dropped as half have ended."""
    returns, lengths = np.zeros(len(pairs)), np.zeros(len(pairs), np.int64)
    place = np.arange(len(pairs))
    policy, episode = np.divmod(pairs, max(1, len(seeds)))
    seen = batch.reset(seeds, episode)
    act = policies.rows(policy)
    alive = np.ones(len(pairs), bool)
    for _ in range(limit):
        if not len(place):
            break
        actions = act(seen)
        following, rewards, terminated = batch.step(actions)
        if watch is not None:
            now = (policy, seen, actions, rewards, following, terminated)
            watch(Seen(*(column[alive] for column in now)))
        returns[place] += np.where(alive, rewards, 0.0)
        lengths[place] += alive
        alive &= ~terminated
        seen = following
        if 2 * np.count_nonzero(alive) <= len(alive):
            batch.keep(alive)
            place, policy, seen = place[alive], policy[alive], seen[alive]
            act, alive = policies.rows(policy), alive[alive]
    return Played(returns, lengths)


# ---- transition tables --------------------------------------------------------------------------


def is_tabular(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether all an environment does is to draw from its table `P`."""
    table = getattr(env.unwrapped, "P", None)
    fickle = getattr(env.unwrapped, "fickle_passenger", False)
    return isinstance(table, dict) and not fickle


@dataclass(frozen=True)
class Table:
    """A transition table of S states, A actions and K outcomes of each pair, as arrays [S, A, K].

    An outcome that does not exist has probability 0 and stands behind those that do.
    """

    probabilities: Floats
    following: NDArray[np.int64]
    """The next state."""
    rewards: Floats
    ended: NDArray[np.bool_]
    """Whether the episode is over."""
    start: Floats
    """[S] distribution of the first state."""
    limit: int
    """Longest episode, in steps."""

    @classmethod
    def of(cls, env: gymnasium.Env[Any, Any]) -> Table:
        """From `env.unwrapped.P`, `P[state][action]` = [(probability, next, reward, ended), …]."""
        bare: Any = env.unwrapped
        table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = bare.P
        most = max(len(outcomes) for row in table.values() for outcomes in row.values())
        shape = (len(table), len(table[0]), most)
        probabilities, rewards = np.zeros(shape), np.zeros(shape)
        following, ended = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for state, row in table.items():
            for action, outcomes in row.items():
                for k, outcome in enumerate(outcomes):
                    at = (state, action, k)
                    probabilities[at], following[at], rewards[at], ended[at] = outcome
        start = np.asarray(bare.initial_state_distrib, float)
        return cls(probabilities, following, rewards, ended, start, limit_of(env))


class TableBatch:
    """Episodes in a table: one random number for the first state and one for every step."""

    def __init__(self, table: Table) -> None:
        """Episodes are at most `table.limit` steps long."""
        self.table = table
        exists = table.probabilities > 0
        self._cumulated = np.where(exists, np.cumsum(table.probabilities, axis=2), -1.0)
        self._time = 0

    def reset(self, seeds: Sequence[int], episode: Array) -> Array:
        """Draws all the random numbers an episode may need."""
        draws = np.array([np_random(seed)[0].random(self.table.limit + 1) for seed in seeds])
        self._draws, self._episode, self._time = draws, episode, 0
        first = np.argmax(np.cumsum(self.table.start) > draws[:, :1], axis=1)
        self.state = first[episode]
        return self.state

    def step(self, actions: Array) -> Step:
        """Actions [N]."""
        self._time += 1
        table, here = self.table, (self.state, actions)
        drawn = self._draws[self._episode, self._time]
        chosen = (*here, np.argmax(self._cumulated[here] > drawn[:, None], axis=1))
        self.state = table.following[chosen]
        return self.state, table.rewards[chosen], table.ended[chosen]

    def keep(self, rows: Array) -> None:
        """Drops all rows but these."""
        self.state, self._episode = self.state[rows], self._episode[rows]


# ---- anything else ------------------------------------------------------------------------------


def flat_space(space: spaces.Space[Any]) -> spaces.Box | spaces.Discrete:
    """How observations reach a policy: as a flat Box, or as one number.

    Raises:
        EnvError: neither a Box, nor a Discrete, nor a Tuple of Discretes.
    """
    if isinstance(space, spaces.Box):
        return space if len(space.shape) == 1 else spaces.flatten_space(space)  # pyright: ignore[reportReturnType]
    if isinstance(space, spaces.Discrete):
        return space
    if isinstance(space, spaces.Tuple) and all(isinstance(s, spaces.Discrete) for s in space):
        return spaces.Discrete(int(np.prod(_sizes(space))))
    raise EnvError(f"env: observations are a {type(space).__name__}; Box, Discrete or Tuple needed")


def _sizes(space: spaces.Tuple) -> list[int]:
    return [int(part.n) for part in space if isinstance(part, spaces.Discrete)]


def flatten(space: spaces.Space[Any], observation: Any) -> Array:
    """One observation as `flat_space` promises."""
    if isinstance(space, spaces.Tuple):
        return np.asarray(np.ravel_multi_index(observation, _sizes(space)))
    if isinstance(space, spaces.Box):
        return np.asarray(observation).ravel()
    return np.asarray(observation)


class Pool:
    """Single environments stepped one after the other; they are kept open for the next episodes."""

    def __init__(
        self,
        envs: list[gymnasium.Env[Any, Any]],
        more: Callable[[], gymnasium.Env[Any, Any]],
    ) -> None:
        """Uses `envs`, and adds to them what `more` opens."""
        self._envs, self._more = envs, more
        self._rows: list[int] = []
        self._over = np.zeros(0, bool)

    def reset(self, seeds: Sequence[int], episode: Array) -> Array:
        """Row i is played in environment i."""
        while len(self._envs) < len(episode):
            self._envs.append(self._more())
        self._rows = list(range(len(episode)))
        self._over = np.zeros(len(episode), bool)
        space = self._envs[0].observation_space
        firsts = [self._envs[i].reset(seed=seeds[e])[0] for i, e in enumerate(episode.tolist())]
        self._seen = np.stack([flatten(space, first) for first in firsts])
        return self._seen

    def step(self, actions: Array) -> Step:
        """Steps the rows that are not over."""
        rewards = np.zeros(len(self._rows))
        space = self._envs[0].observation_space
        self._seen = self._seen.copy()
        discrete = isinstance(self._envs[0].action_space, spaces.Discrete)
        for i, env in enumerate(self._rows):
            if not self._over[i]:
                action = int(actions[i]) if discrete else actions[i]
                seen, reward, terminated, _, _ = self._envs[env].step(action)
                self._seen[i], rewards[i] = flatten(space, seen), reward
                self._over[i] = terminated
        return self._seen, rewards, self._over.copy()

    def keep(self, rows: Array) -> None:
        """Drops all rows but these."""
        self._rows = [env for env, kept in zip(self._rows, rows.tolist(), strict=True) if kept]
        self._seen, self._over = self._seen[rows], self._over[rows]
