"""The optimizer's part of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from understudy.roles.optimizer.config import OptimizerConfig
from understudy.run.cell import Contender
from understudy.run.config import ConfigError, RunConfig

Method = Literal["random", "ars", "cma", "catcma", "plan", "lm", "hybrid", "hybrid+lm", "portfolio"]
WITH_LM = "hybrid+lm"
"""A hybrid whose first trials a language model proposes, in place of chance."""


@dataclass(frozen=True)
class OptimizerGrid:
    """Searches by several proposers."""

    envs: tuple[str, ...] = ()
    """Gymnasium ids; none leaves the role out."""
    methods: tuple[Method, ...] = ("hybrid+lm", "hybrid", "cma", "random")
    """Proposers; hybrid+lm is a hybrid that asks a model first, hybrid one that begins with chance."""
    lms: tuple[str, ...] = ("pocket",)
    """Language models, for the proposers that ask one."""
    seeds: tuple[int, ...] = ()
    """In place of the grid's seeds."""
    base: OptimizerConfig = field(default_factory=OptimizerConfig)
    """What all runs share."""

    def check(self) -> None:
        """A portfolio asks whom it has."""
        if "lm" in self.base.members and "portfolio" not in self.methods:
            raise ConfigError("optimizer.base.members: only the method portfolio has members")

    @property
    def contenders(self) -> Sequence[str]:
        """The proposers."""
        return self.methods

    def asks(self, method: str) -> bool:
        """Whether a language model is asked."""
        members = method == "portfolio" and "lm" in self.base.members
        return method in ("lm", WITH_LM) or members

    def config(self, env: str, method: str, lm: str, seed: int, run: RunConfig) -> OptimizerConfig:
        """One search."""
        name = "hybrid" if method == WITH_LM else method
        return replace(
            self.base, env=env, proposer=name, lm=lm, seed=seed, run=run,
            first="lm" if method == WITH_LM else "random",
            members=self.base.members if method == "portfolio" else (),
        )  # fmt: skip


def contender(config: OptimizerConfig) -> Contender:
    """Who searched under these settings."""
    method = WITH_LM if config.proposer == "hybrid" and config.first == "lm" else config.proposer
    return Contender(method, config.lm if config.asks else None)
