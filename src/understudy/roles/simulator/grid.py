"""The simulator's part of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from understudy.roles.simulator.config import StudyConfig
from understudy.run.config import RunConfig

METHOD = "cohort"


@dataclass(frozen=True)
class SimulatorGrid:
    """Cohorts played by language models; each run also makes those of the baselines."""

    envs: tuple[str, ...] = ()
    """Studies: shipped ones, or TOML files; none leaves the role out."""
    lms: tuple[str, ...] = ("pocket",)
    """Language models that play people."""
    seeds: tuple[int, ...] = ()
    """In place of the grid's seeds."""
    base: StudyConfig = field(default_factory=StudyConfig)
    """What all runs share."""

    @property
    def contenders(self) -> Sequence[str]:
        """There is one way to do it."""
        return (METHOD,)

    def asks(self, method: str) -> bool:
        """Always."""
        del method
        return True

    def config(self, env: str, method: str, lm: str, seed: int, run: RunConfig) -> StudyConfig:
        """One study."""
        del method
        make = replace(self.base.make, study=env, lm=lm)
        return replace(self.base, make=make, seed=seed, run=run)
