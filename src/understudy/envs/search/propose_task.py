"""Searching as a language environment: the trials so far in a few lines, the answer the next point.

`propose/random-control` and `propose/random-tables` are about worlds made at random;
`propose/ID` is about Gymnasium's environment ID, or, with a file of a run's trials, about that run.
The answer is played on the very episodes of the trials. It is right if it beats them all; the
reward grows with how much it does, and a little with how many it beats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces

from understudy.envs.base import EnvError, Grade, Problem
from understudy.envs.control.vector import Arena
from understudy.envs.diagnose import Diagnosis, Kind
from understudy.envs.gsm8k import read_rows
from understudy.envs.search.histories import Floats, Moment, Searched, Worlds, moment, search
from understudy.envs.search.lines import levels, question, read, write
from understudy.envs.search.policies import make_policy
from understudy.envs.search.random_control import RandomControl, Shape
from understudy.envs.search.random_tables import SIZES, RandomTables
from understudy.envs.search.space import Ints, Point, SpaceError
from understudy.envs.search.task import Task, measure

PREFIX = "propose/"
FIRST_SEED = {"train": 0, "test": 1_000_000}
PROBLEMS = {"train": 65_536, "test": 1024}
GYM_PROBLEMS = {"train": 1024, "test": 128}
BLOCK = {"train": 512, "test": 128}
"""Problems that are about the same worlds."""
WORLDS = {"random-control": 32, "random-tables": 12}
"""Made together; not all of them are worth searching."""
RANDOM = tuple(WORLDS)
LEAST = 4
"""That must be."""
EPISODES = 4
SCALING = 8
"""Episodes of random actions by which observations are scaled."""
BEATEN = 0.25
"""Share of the reward that is for the trials beaten; the rest is for beating the best."""


class Propose:
    """Moments of searches; see above."""

    def __init__(self, about: str, split: str = "train", *, file: str = "") -> None:
        """`about`: random-control, random-tables, or a Gymnasium id.

        Args:
            about: where is searched.
            split: train or test, of different worlds, or of different episodes.
            file: trials.jsonl of a run in the Gymnasium environment, whose policies had the usual
                weights (bias, ± 6 by 0.1) or tables. An answer is the run's own later, better
                point; other answers are played on this task's episodes and scale.

        Raises:
            EnvError: no such split or environment, or a file of something else.
        """
        self.name, self.split = PREFIX + about, split
        if split not in PROBLEMS:
            raise EnvError(f"{self.name}: no split {split!r}; there are {', '.join(PROBLEMS)}")
        self._about, self._file = about, file
        if about in RANDOM:
            if file:
                raise EnvError(f"{self.name}: a file of trials needs the environment they are of")
            self._size = PROBLEMS[split]
        else:
            self._size = GYM_PROBLEMS[split]
            gym_worlds(about, FIRST_SEED[split])
        if file:
            _block(about, FIRST_SEED[split], file)

    def __len__(self) -> int:
        return self._size

    def problem(self, index: int) -> Problem:
        """A moment of a search; `info` says of which."""
        block, row = divmod(index, BLOCK[self.split])
        seed = FIRST_SEED[self.split] + block
        worlds, searched, useful = _block(self._about, seed, self._file)
        task = int(useful[row % len(useful)])
        found = moment(searched, task, np.random.default_rng([seed, row, 22]))
        return _problem(f"{self.split}-{index}", worlds, task, found, seed)

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """The point that the search found later."""
        del rng
        return problem.answer

    def grade(self, problem: Problem, response: str) -> Grade:
        """Plays the answer; see above."""
        info = problem.info
        worlds, *_ = _block(self._about, info["seed"], self._file)
        try:
            point = read(response, worlds.space)
        except SpaceError as error:
            return Grade(None, None, str(error))
        everywhere = np.broadcast_to(point, (worlds.count, 1, len(point)))
        earned = float(worlds.score(everywhere)[info["task"], 0])
        before: Floats = np.array(info["returns"])
        text, best = write(point, worlds.space), float(before.max(initial=-np.inf))
        score = reward(earned, before, info["worth"])
        return Grade(earned > best or text == problem.answer, text, f"earns {earned:.4g}", score)

    def diagnose(self, problem: Problem, response: str) -> Diagnosis:
        """Better, not better (reasoning), or no point at all (format)."""
        verdict = self.grade(problem, response).correct
        kinds: dict[bool | None, Kind] = {True: "correct", False: "reasoning", None: "format"}
        return Diagnosis(kinds[verdict], 0, 0)


def reward(earned: float, before: Floats, worth: float) -> float:
    """From 0 for no better than the worst of `before` to 1 for as good as `worth`.

    Args:
        earned: the answer's return.
        before: [T] the trials' returns.
        worth: a good return, above all of them.
    """
    if not len(before):
        return 1.0 if earned >= worth else 0.0
    best = float(before.max())
    share = float((before < earned).mean())
    gain = min(1.0, max(0.0, (earned - best) / (worth - best))) if worth > best else 0.0
    return BEATEN * share + (1.0 - BEATEN) * gain


@dataclass(frozen=True)
class GymWorlds:
    """One world: an environment's episodes from a few seeds, and the usual policies in it."""

    task: Task
    seeds: tuple[int, ...]
    count: int = 1

    @property
    def space(self) -> Any:
        """Of the policies."""
        return self.task.space

    def score(self, points: Any) -> Floats:
        """Mean returns [1, P] of points [1, P, D]."""
        rows = [self.space.point(row) for row in np.asarray(points)[0]]
        return self.task.score(rows, self.seeds)[0].returns.mean(axis=1)[None]

    def experts(self, points: Ints) -> Ints:
        """Nobody knows better than a search."""
        return points[:, :0]


@lru_cache(maxsize=64)
def gym_worlds(env: str, seed: int) -> GymWorlds:
    """The world of a Gymnasium id.

    Raises:
        EnvError: no such environment, or no policy for it whose parameters have digits.
    """
    arena = Arena(env)
    rng = np.random.default_rng([seed, 23])
    observations, scale = arena.observation_space, None
    linear = isinstance(observations, spaces.Box)
    if linear:
        scale = measure(arena, rng.integers(2**31, size=SCALING).tolist(), rng).scale()
    kind = "linear" if linear else "table"
    task = Task(arena, make_policy(kind, observations, arena.action_space, scale))
    try:
        question(task.space, [])
    except SpaceError as error:
        raise EnvError(f"{PREFIX}{env}: {error}") from error
    return GymWorlds(task, tuple(rng.integers(2**31, size=EPISODES).tolist()))


def random_worlds(about: str, seed: int) -> Worlds:
    """Worlds of one shape; about: random-control or random-tables."""
    rng = np.random.default_rng([seed, 24])
    if about == "random-tables":
        return RandomTables(SIZES[rng.integers(len(SIZES))], WORLDS[about], seed)
    return RandomControl(Shape.draw(rng), WORLDS[about], seed)


@lru_cache(maxsize=1024)
def _block(about: str, seed: int, file: str) -> tuple[Worlds, Searched, Ints]:
    """Worlds, a search of them, and those of them that are worth asking about."""
    if about not in RANDOM:
        worlds = gym_worlds(about, seed)
        searched = _recorded(worlds, file) if file else search(worlds, np.random.default_rng(seed))
        return worlds, searched, np.zeros(1, np.int64)
    for attempt in range(1000):
        # Far beyond the seeds of all blocks: another block never makes the same worlds.
        salt = seed + attempt * 10_000_000
        worlds = random_worlds(about, salt)
        searched = search(worlds, np.random.default_rng([salt, 25]))
        if len(searched.useful) >= LEAST:
            return worlds, searched, searched.useful
    raise EnvError(f"{PREFIX}{about}: no worlds worth searching from seed {seed}")


def _recorded(worlds: Worlds, file: str) -> Searched:
    """What a run saw, each point as it is written and with its own mean.

    Raises:
        EnvError: a line that is no trial in this space, or too few trials to learn from.
    """
    points, returns, born = list[Point](), list[float](), list[int]()
    for where, row in read_rows(file, "train", ()):
        try:
            points.append(worlds.space.point(row["point"]))
            returns.append(float(np.mean(row["returns"])))
            born.append(int(row["generation"]))
        except (KeyError, TypeError, ValueError) as error:
            raise EnvError(f"{where}: not a trial ({error})") from error
        except SpaceError as error:
            raise EnvError(f"{where}: {error}") from error
    if len(set(points)) < 2:
        raise EnvError(f"{file}: a search is learnt from two trials or more")
    table = levels(worlds.space)
    digits = np.abs(table[None] - np.array(points)[:, :, None]).argmin(axis=2)
    return Searched(
        worlds.space, digits[None].astype(np.int8), np.array(returns)[None], np.array(born)
    )


def _problem(name: str, worlds: Worlds, task: int, found: Moment, seed: int) -> Problem:
    returns = tuple(mean for _, mean, _ in found.rows)
    return Problem(
        id=name,
        question=question(worlds.space, found.rows),
        answer=write(found.better, worlds.space),
        level=len(worlds.space),
        info={
            "situation": f"world {seed}/{task}",
            "seed": seed,
            "task": task,
            "returns": returns,
            "worth": found.worth,
        },
    )
