"""The teacher's part of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from understudy.roles.teacher.config import EvalConfig, Method, TeacherConfig
from understudy.run.cell import Contender
from understudy.run.config import RunConfig


@dataclass(frozen=True)
class TeacherGrid:
    """Students with a teacher and without."""

    envs: tuple[str, ...] = ()
    """Door-key tasks, MiniGrid and BabyAI ids, MPE; none leaves the role out."""
    methods: tuple[Method, ...] = ("ppo+teacher", "cloning", "ppo")
    """teacher is the teacher itself, which learns nothing."""
    lms: tuple[str, ...] = ("pocket",)
    """Language models that teach."""
    seeds: tuple[int, ...] = ()
    """In place of the grid's seeds."""
    base: TeacherConfig = field(default_factory=TeacherConfig)
    """What all runs share."""

    @property
    def contenders(self) -> Sequence[str]:
        """The methods."""
        return self.methods

    def asks(self, method: str) -> bool:
        """Whether a language model is asked."""
        return _asks(method, self.base)

    def config(
        self, env: str, method: str, lm: str, seed: int, run: RunConfig
    ) -> TeacherConfig | EvalConfig:
        """One run; that of the teacher itself is an evaluation."""
        base = replace(self.base, env=env, lm=lm, seed=seed, run=run)
        if method == "teacher":
            return EvalConfig(who="teacher", episodes=base.eval_episodes, seed=seed, base=base)
        return replace(base, method=method)


def contender(config: TeacherConfig | EvalConfig) -> Contender:
    """Who acted, or learnt, under these settings."""
    if isinstance(config, EvalConfig):
        method = config.who
        return Contender(method, config.base.lm if _asks(method, config.base) else None)
    return Contender(config.method, config.lm if _asks(config.method, config) else None)


def _asks(method: str, base: TeacherConfig) -> bool:
    taught = method not in ("ppo", "student") and base.distill.weight > 0
    return taught and base.advice.who == "lm"
