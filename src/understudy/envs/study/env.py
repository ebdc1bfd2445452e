"""A study as a Gymnasium environment: an episode is one person, a step is one decision.

An observation is what is known before the decision. An episode terminates when the person leaves
or the study ends: nothing can be earned after either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from understudy.envs.study.course import Course, Outcome
from understudy.envs.study.declare import Study
from understudy.envs.study.load import load
from understudy.envs.study.play import People
from understudy.envs.study.truth import Parameters, Truth, parameters as parameters_of
from understudy.ops.cohort import Bools, Floats, Ints

Recruit = Callable[[int, np.random.Generator], People]
"""From a number and a generator (theirs from now on) to so many people."""


def recruit_truth(study: Study, given: Parameters) -> Recruit:
    """People of known truth for the environments below."""
    return lambda n, rng: Truth(study, given, n, rng)


def make_truth(study: str = "low-mood", parameters: str = "responsive") -> StudyEnv:
    """One person of known truth, by names; what `gymnasium.register` wants as an entry point.

    Raises:
        StudyError: no such study or parameters.
    """
    declared = load(study)
    return StudyEnv(declared, recruit_truth(declared, parameters_of(parameters)))


class StudyVectorEnv(VectorEnv[Any, Any, Any]):
    """N people at once; whoever has finished is replaced in the same step."""

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, study: Study, recruit: Recruit, n: int) -> None:
        self.study, self._recruit, self.num_envs = study, recruit, n
        single, choice = observation_space(study), spaces.Discrete(len(study.actions))
        self.single_observation_space, self.single_action_space = single, choice
        self.observation_space, self.action_space = batch_space(single, n), batch_space(choice, n)
        self.course: Course | None = None
        self._people: People | None = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Everybody is replaced.

        Args:
            seed: one for all of them; a list is taken as one seed too.
            options: may hold reset_mask ([N], bool), for Gymnasium: who is replaced.
        """
        if seed is not None:
            self._np_random = np.random.default_rng(seed)  # pyright: ignore[reportArgumentType]
        mask = (options or {}).get("reset_mask")
        if mask is not None and self.course is not None:
            self._replace(np.asarray(mask, dtype=bool))
        else:
            self.course = Course(self.study, self.num_envs)
            self._people = self._recruit(self.num_envs, self.np_random)
        return self._observations(), {}

    def step(
        self, actions: Ints
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], Bools, Bools, dict[str, Any]]:
        """One decision about each; `infos` has their last observation where they have finished."""
        if self.course is None or self._people is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        chosen = np.asarray(actions, dtype=np.int64)
        outcome, reports = advance(self.course, self._people, chosen)
        infos: dict[str, Any] = {"reports": reports, "left": outcome.left}
        seen = self._observations()
        if outcome.done.any():
            infos["final_obs"], infos["_final_obs"] = seen, outcome.done
            self._replace(outcome.done)
            seen = self._observations()
        never = np.zeros(self.num_envs, dtype=np.bool_)
        return seen, outcome.rewards.astype(np.float32), outcome.done, never, infos

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on: arrays by name, and where the randomness stands."""
        assert self.course is not None
        assert self._people is not None, "there is no state before reset"
        copies = {f"course.{k}": v.copy() for k, v in self.course.arrays().items()}
        copies |= {f"people.{k}": v.copy() for k, v in self._people.arrays().items()}
        return {"arrays": copies, "rng": self.np_random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave, in this or another copy of the environment."""
        self._np_random = np.random.default_rng()
        self.course = Course(self.study, self.num_envs)
        self._people = self._recruit(self.num_envs, self._np_random)
        self.course.restore(_below("course.", state["arrays"]))
        self._people.restore(_below("people.", state["arrays"]))
        self._np_random.bit_generator.state = state["rng"]

    def _replace(self, rows: Bools) -> None:
        assert self.course is not None
        assert self._people is not None
        self.course.reset(rows)
        self._people.replace(rows)

    def _observations(self) -> NDArray[np.float32]:
        assert self.course is not None
        return self.course.memory.state().astype(np.float32)


class StudyEnv(gymnasium.Env[Any, Any]):
    """One person: a `StudyVectorEnv` of one that is not replaced before `reset`."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, study: Study, recruit: Recruit) -> None:
        self.study, self._recruit = study, recruit
        self.observation_space = observation_space(study)
        self.action_space = spaces.Discrete(len(study.actions))
        self.course: Course | None = None
        self._people: People | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Another person, at the start of the study."""
        super().reset(seed=seed, options=options)
        self.course = Course(self.study, 1)
        self._people = self._recruit(1, self.np_random)
        return self._observation(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One decision."""
        if self.course is None or self._people is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        outcome, reports = advance(self.course, self._people, np.array([int(action)]))
        said = {k: _said(v[0]) for k, v in reports.items()}
        infos = {"reports": said, "left": bool(outcome.left[0])}
        done = bool(outcome.done[0])
        return self._observation(), float(outcome.rewards[0]), done, False, infos

    def _observation(self) -> NDArray[np.float32]:
        assert self.course is not None
        return self.course.memory.state()[0].astype(np.float32)


def observation_space(study: Study) -> spaces.Box:
    """[D] the declared state, between its least and greatest values."""
    features = study.features()
    low = np.array([low for _, low, _ in features], dtype=np.float32)
    return spaces.Box(low, np.array([high for _, _, high in features], dtype=np.float32))


def advance(course: Course, people: People, actions: Ints) -> tuple[Outcome, dict[str, Floats]]:
    """One decision about everybody in a course; the outcome and what they reported."""
    reports, leaving = people.respond(course, actions)
    return course.step(actions, reports, leaving), dict(reports)


def _said(report: Floats) -> Any:
    """A number, or a list of ratings as long as it is."""
    return float(report) if np.ndim(report) == 0 else report[~np.isnan(report)].tolist()


def _below(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
