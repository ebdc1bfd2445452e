"""The policy role's part of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from understudy.roles.policy.config import Compared, PolicyConfig
from understudy.run.config import RunConfig

SUPERVISED = "supervised"


@dataclass(frozen=True)
class PolicyGrid:
    """Language models trained by reinforcement learning; each run also shows what it began with."""

    envs: tuple[str, ...] = ()
    """Language environments; none leaves the role out."""
    methods: tuple[Compared, ...] = ("reinforce", "rloo", "grpo", "supervised")
    """supervised spends the same updates on worked answers instead of RL."""
    lms: tuple[str, ...] = ("pocket",)
    """Language models that are trained."""
    seeds: tuple[int, ...] = ()
    """In place of the grid's seeds."""
    base: PolicyConfig = field(default_factory=PolicyConfig)
    """What all runs share."""

    @property
    def contenders(self) -> Sequence[str]:
        """The algorithms."""
        return self.methods

    def asks(self, method: str) -> bool:
        """Always: it is what is trained."""
        del method
        return True

    def config(self, env: str, method: str, lm: str, seed: int, run: RunConfig) -> PolicyConfig:
        """One run; a supervised one is known by its warm start, which is all of it."""
        base = replace(self.base, env=env, lm=lm, seed=seed, run=run)
        if method == SUPERVISED:
            return replace(base, warm_start=base.iterations)
        return replace(base, algorithm=method)
