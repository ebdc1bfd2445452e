"""The parts of a study that know nothing of each other: what workers do, and any order will do.

A part has its data and the study's seeds; what is random in it goes by its own name. So its answer is
the same in whatever process it is done, and whatever was done before. The people whom a model plays
are no parts: each of their moments follows from the one before, and a moment is one batch, which the
model answers in other bits if it is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from understudy.data.transitions import Offline
from understudy.envs.study.declare import Study
from understudy.envs.study.policies import true_value, uniform
from understudy.envs.study.truth import Parameters
from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import Profile
from understudy.roles.simulator.assess import Fidelity, assess
from understudy.roles.simulator.baselines import resampled_days, simulate
from understudy.roles.simulator.offline.config import LearnConfig
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.offline.policies import Learned, Policy
from understudy.run.executors import Executor, gathered
from understudy.run.seed import Seeds

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Part(Protocol[R_co]):
    """Something to do."""

    def do(self) -> R_co:
        """Does it, in whatever process this is."""
        ...


@dataclass(frozen=True)
class Lesson:
    """A policy to be learnt; the answer is its file, as tensors are not sent between processes."""

    data: Offline
    how: LearnConfig
    name: str
    seeds: Seeds
    path: Path

    def do(self) -> Path:
        """Learns and writes it."""
        rng = self.seeds.generator("learn", self.name)
        learn(self.data, self.how, rng, name=self.name).save(self.path)
        return self.path


@dataclass(frozen=True)
class Baseline:
    """People to be made without a language model."""

    study: Study
    real: Cohort
    told: Profile
    how: str
    """A kind of `baselines.simulate`; "days": resampled ones."""
    people: int
    seeds: Seeds

    def do(self) -> Cohort:
        """Makes them."""
        rng = self.seeds.generator("baseline", self.how)
        if self.how == "days":
            return resampled_days(self.study, self.real, self.people, rng)
        return simulate(self.study, self.told, self.how, uniform(self.study), self.people, rng)


@dataclass(frozen=True)
class Likeness:
    """The report on a cohort."""

    study: Study
    real: Cohort
    made: Cohort | Baseline
    """Or how it is made."""
    name: str
    seeds: Seeds
    margin: float
    resamples: int

    def do(self) -> Fidelity:
        """Compares it with the real people."""
        made = self.made if isinstance(self.made, Cohort) else self.made.do()
        rng = self.seeds.generator("assess", self.name)
        return assess(self.real, made, self.study, rng, margin=self.margin, n=self.resamples)


@dataclass(frozen=True)
class Worth:
    """A policy to be played where the truth is known; all meet people of the same seed."""

    study: Study
    given: Parameters
    policy: Policy | Path
    """Or its file."""
    people: int
    gamma: float
    seeds: Seeds

    def do(self) -> tuple[float, float]:
        """Its value and the standard error."""
        policy = Learned.load(self.policy) if isinstance(self.policy, Path) else self.policy
        rng = np.random.default_rng(self.seeds.integer("true value"))
        chosen = policy.probabilities
        return true_value(self.study, self.given, chosen, self.people, rng, self.gamma)


@dataclass(frozen=True)
class _Sent(Generic[R]):
    part: Part[R]
    threads: int


def _do(sent: _Sent[R]) -> R:
    # A sum by another number of threads may be another in its last bit.
    if torch.get_num_threads() != sent.threads:
        torch.set_num_threads(sent.threads)
    return sent.part.do()


def done(executor: Executor, parts: Sequence[Part[Any]]) -> list[Any]:
    """The answers of all parts, in their order.

    Raises:
        RunError: a worker died again and again.
    """
    threads = torch.get_num_threads()
    return gathered(executor, _do, [_Sent(part, threads) for part in parts], "a part of the study")
