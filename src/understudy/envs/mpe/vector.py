"""Many copies of one MPE task, stepped together on the CPU."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.mpe.speaker_listener import SpeakerListener
from understudy.envs.mpe.spread import Spread
from understudy.envs.mpe.tag import Tag
from understudy.envs.mpe.world import Floats, Ints, Observations, Task, World

TASKS: dict[str, type[Spread] | type[Tag] | type[SpeakerListener]] = {
    task.name: task for task in (Spread, Tag, SpeakerListener)
}
OPTIONS: dict[str, tuple[str, ...]] = {
    Spread.name: ("N", "local_ratio"),
    Tag.name: ("num_good", "num_adversaries", "num_obstacles"),
    SpeakerListener.name: (),
}
WORD = (1 << 64) - 1

State = dict[str, NDArray[Any]]
Step = tuple[Observations, dict[str, Floats], NDArray[np.bool_], Observations | None]


class MpeVector:
    """N copies of one MPE task, stepped together.

    World i draws from `default_rng(seed + i)`, each episode of it as mpe2 would from the same seed, so
    its stream does not depend on N.

    Args:
        task: "simple_spread", "simple_tag" or "simple_speaker_listener".
        num_envs: N, at least 1.
        max_cycles: steps after which an episode is truncated.
        options: `N`, `local_ratio` (spread); `num_good`, `num_adversaries`, `num_obstacles` (tag).

    Raises:
        EnvError: unknown task or option, or a value out of range.
    """

    def __init__(
        self, task: str, num_envs: int, /, *, max_cycles: int = 25, **options: Any
    ) -> None:
        counts: dict[str, Any] = {"num_envs": num_envs, "max_cycles": max_cycles}
        for option, value in counts.items():
            if not isinstance(value, int) or value < 1:
                raise EnvError(f"{task}: {option} is {value!r}; it must be at least 1")
        self.task: Task = make_task(task, **options)
        self.num_envs = num_envs
        self.max_cycles = max_cycles
        self.agents = self.task.agents
        self.observation_sizes: dict[str, int] = dict(self.task.observation_sizes)
        self.action_sizes: dict[str, int] = dict(self.task.action_sizes)
        self.terminated = np.zeros(num_envs, bool)
        """Which episodes ended for good in the last step: never any, they are only cut off."""
        self._rngs: list[np.random.Generator] = []
        self._world = World.empty(self.task.bodies, num_envs)
        self._cycles = np.zeros(num_envs, np.int64)

    @property
    def state_size(self) -> int:
        """Length of a central critic's input: all agents' observations, one after the other."""
        return sum(self.observation_sizes.values())

    def reset(self, seed: int | None = None) -> Observations:
        """Begins an episode in every world; the first observations, agent → float32 [N, D].

        World i is seeded with `seed` + i. Without a seed the worlds go on with the generators they have
        (fresh entropy the first time).

        Raises:
            EnvError: a negative seed.
        """
        if seed is not None and seed < 0:
            raise EnvError(f"{self.task.name}: the seed is {seed}; it must be at least 0")
        if seed is not None or not self._rngs:
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
            self._rngs = [np.random.default_rng(s) for s in seeds]
        self._begin(np.arange(self.num_envs))
        return self.observe()

    def observe(self) -> Observations:
        """What every agent sees now, agent → float32 [N, D]."""
        self._require_reset("observe")
        return self.task.observe(self._world)

    def step(self, actions: Mapping[str, NDArray[Any]]) -> Step:
        """One step of every world, which begins the next episode where one ends.

        Args:
            actions: agent → int [N].

        Returns:
            observations (agent → float32 [N, D]; the first of the next episode where one ended), rewards
            (agent → float64 [N]), truncated (bool [N]), and None or, when any episode ended, the
            observations before the new episodes began, of every world.

        Raises:
            EnvError: no reset yet; a missing or unknown agent; an action of the wrong shape or range.
        """
        self._require_reset("step")
        table = action_table(self.task.name, self.action_sizes, actions, self.num_envs)
        self.task.act(self._world, table)
        self._cycles += 1
        rewards = self.task.rewards(self._world)
        truncated = self._cycles >= self.max_cycles
        seen = self.observe()
        if not truncated.any():
            return seen, rewards, truncated, None
        self._begin(np.flatnonzero(truncated))
        return self.observe(), rewards, truncated, seen

    def get_state(self) -> State:
        """Everything that decides the future, as arrays; `set_state` of a twin goes on bit for bit."""
        self._require_reset("get_state")
        world = self._world
        return {
            "positions": world.positions.copy(),
            "velocities": world.velocities.copy(),
            "goals": world.goals.copy(),
            "words": world.words.copy(),
            "cycles": self._cycles.copy(),
            "rngs": np.stack([_rng_words(rng) for rng in self._rngs]),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes back to what `get_state` gave.

        Raises:
            EnvError: an array is missing or of another shape: the state of another task or N.
        """
        world = self._world
        targets: State = {
            "positions": world.positions,
            "velocities": world.velocities,
            "goals": world.goals,
            "words": world.words,
            "cycles": self._cycles,
            "rngs": np.zeros((self.num_envs, 6), np.uint64),
        }
        check_state(self.task.name, state, targets)
        for name, target in targets.items():
            target[...] = state[name]
        self._rngs = [_rng_from(words) for words in targets["rngs"]]

    def _begin(self, rows: Ints) -> None:
        for row in rows.tolist():
            self.task.begin(self._world, row, self._rngs[row])
        self._cycles[rows] = 0

    def _require_reset(self, what: str) -> None:
        if not self._rngs:
            raise EnvError(f"{self.task.name}: {what} before reset or set_state")


def make_task(name: str, /, **options: Any) -> Task:
    """The MPE task of that name.

    Raises:
        EnvError: unknown name or option, or a value out of range.
    """
    if name not in TASKS:
        raise EnvError(
            f"unknown MPE task {name!r}{nearest(name, TASKS)}; there are {', '.join(TASKS)}"
        )
    known = OPTIONS[name]
    for option in options:
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise EnvError(f"{name}: unknown option {option!r}{nearest(option, known)}; {has}")
    try:
        return TASKS[name](**options)
    except TypeError as error:
        raise EnvError(f"{name} cannot be made with {options}: {error}") from error


def nearest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """A question naming the known word most like `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""


def action_table(
    name: str, sizes: Mapping[str, int], actions: Mapping[str, NDArray[Any]], count: int
) -> Ints:
    """The agents' actions as one array int64 [N, agents].

    Raises:
        EnvError: a missing or unknown agent; an action of the wrong shape, kind or range.
    """
    if actions.keys() != sizes.keys():
        given, wanted = ", ".join(actions), ", ".join(sizes)
        raise EnvError(f"{name}: actions for {given or 'nobody'}; they are needed for {wanted}")
    table = np.empty((count, len(sizes)), np.int64)
    for column, agent in enumerate(sizes):
        chosen = np.asarray(actions[agent])
        if chosen.shape != (count,) or chosen.dtype.kind not in "iu":
            raise EnvError(
                f"{name}: the actions of {agent} are {chosen.dtype} {list(chosen.shape)}; "
                f"they must be integers [{count}]"
            )
        table[:, column] = chosen
    wrong = (table < 0) | (table >= np.array(list(sizes.values())))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        agent, size = list(sizes.items())[column]
        raise EnvError(
            f"{name}: action {table[row, column]} of {agent} in world {row}; "
            f"it must lie in 0 … {size - 1}"
        )
    return table


def check_state(
    name: str, state: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]]
) -> None:
    """Refuses a state whose arrays are not those of `like`.

    Raises:
        EnvError: an array is missing or has another shape.
    """
    for key, target in like.items():
        if key not in state:
            raise EnvError(f"{name}: the state has no {key!r}; it holds {', '.join(state)}")
        if state[key].shape != target.shape:
            raise EnvError(
                f"{name}: {key!r} of the state is {list(state[key].shape)}, not "
                f"{list(target.shape)}: the state of another task or number of worlds"
            )


def _rng_words(rng: np.random.Generator) -> NDArray[np.uint64]:
    """The state of a PCG64 generator as 6 words: state, increment (high, low), the half word kept back."""
    whole = rng.bit_generator.state
    state, inc = whole["state"]["state"], whole["state"]["inc"]
    words = [
        state >> 64,
        state & WORD,
        inc >> 64,
        inc & WORD,
        whole["has_uint32"],
        whole["uinteger"],
    ]
    return np.array(words, np.uint64)


def _rng_from(words: NDArray[np.uint64]) -> np.random.Generator:
    """The generator `_rng_words` came from."""
    high, low, inc_high, inc_low, has, kept = (int(w) for w in words)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has,
        "uinteger": kept,
    }
    return np.random.Generator(bits)
