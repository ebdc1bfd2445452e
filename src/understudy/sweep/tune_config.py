"""The settings of `understudy tune`: one role's search space, and how it is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.world_model.config import WorldModelConfig
from understudy.run.config import NAME, ConfigError
from understudy.run.fields import (
    Leaf,
    NonNegativeInt,
    PositiveInt,
    build,
    debug_values,
    flatten,
    leaves,
)
from understudy.sweep.config import ROLES, Value, check_models, leaf_of, value_of, values_of

Among = tuple[Value, ...]
Between = dict[str, bool | float]
FEW = 3
"""Trials under --debug."""


@dataclass(frozen=True)
class Span:
    """Numbers between two, both included."""

    low: float
    high: float
    log: bool
    step: float | None
    """Between values; None: of any size, or 1 where they are integers."""
    whole: bool
    """Whether they are integers."""


@dataclass(frozen=True)
class Part:
    """What of a role is searched."""

    search: dict[str, Among | Between] = field(default_factory=dict[str, Among | Between])
    """Setting (dotted: in quotes) → its values, or {low = …, high = …}, in which log = true
    or step = … may stand."""


@dataclass(frozen=True)
class PolicyPart(Part):
    """Language models trained by reinforcement learning."""

    base: PolicyConfig = field(default_factory=PolicyConfig)
    """What all trials share."""


@dataclass(frozen=True)
class TeacherPart(Part):
    """Students with a teacher or without."""

    base: TeacherConfig = field(default_factory=TeacherConfig)
    """What all trials share."""


@dataclass(frozen=True)
class OptimizerPart(Part):
    """Searches."""

    base: OptimizerConfig = field(default_factory=OptimizerConfig)
    """What all trials share."""


@dataclass(frozen=True)
class WorldModelPart(Part):
    """Agents that learn in what they have learnt of the world."""

    base: WorldModelConfig = field(default_factory=WorldModelConfig)
    """What all trials share."""


@dataclass(frozen=True)
class SimulatorPart(Part):
    """Studies with simulated people."""

    base: StudyConfig = field(default_factory=StudyConfig)
    """What all trials share."""


@dataclass(frozen=True)
class TuneConfig:
    """Searches a role's settings by its held-out figure; every trial is a run for each seed."""

    POSITIONAL: ClassVar = ("config",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"small": True}

    name: str = "tune"
    """Its directory is ROOT/NAME; calling it again continues it."""
    root: str = "runs/tune"
    """See `name`."""
    seeds: tuple[int, ...] = (0,)
    """Every trial is run with each; what counts is the mean."""
    trials: PositiveInt = 20
    """In all, those of earlier calls and of others who share the storage included."""
    sampler: Literal["tpe", "random"] = "tpe"
    """What proposes settings: the tree-structured Parzen estimator, or chance."""
    startup: PositiveInt = 10
    """tpe: trials at random before it begins."""
    seed: NonNegativeInt = 0
    """Of the proposals."""
    storage: str | None = None
    """Where trials are kept: a database's URL or the path of a journal, in which several searches
    of this name join; by default a SQLite file in the directory."""
    small: bool = False
    """Give every run its role's --debug size, and do three trials of one seed: to see that all
    works."""
    threads: PositiveInt = 1
    """Of torch, of every run."""
    workers: PositiveInt = 1
    """Runs made at the same time. So many trials are proposed together, and do not know of each
    other: what is found depends on it."""
    ray: str | None = None
    """Let Ray make the runs: `local` starts it on this machine, HOST:PORT finds a cluster."""
    progress: bool = True
    """Show progress."""
    policy: PolicyPart = field(default_factory=PolicyPart)
    teacher: TeacherPart = field(default_factory=TeacherPart)
    optimizer: OptimizerPart = field(default_factory=OptimizerPart)
    world_model: WorldModelPart = field(default_factory=WorldModelPart)
    simulator: SimulatorPart = field(default_factory=SimulatorPart)

    def check(self) -> None:
        """Rejects a search of no role or of several, and what a setting cannot be."""
        if not NAME.fullmatch(self.name):
            raise ConfigError("name must be letters, digits, '.', '_' or '-', at most 100")
        roles = [role for role in ROLES if getattr(self, role).search]
        if len(roles) != 1:
            tables = ", ".join(f"[{role}.search]" for role in roles or ROLES)
            what = "only one role can be searched" if roles else "nothing is searched"
            raise ConfigError(f"search: {what}; one of {tables}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds: at least one, none below 0 and none twice")
        self.space()

    @property
    def role(self) -> str:
        """Who is searched."""
        return next(role for role in ROLES if getattr(self, role).search)

    @property
    def base(self) -> Any:
        """What all trials share."""
        return getattr(self, self.role).base

    def space(self) -> dict[str, list[Any] | Span]:
        """The values that each setting may take.

        Raises:
            ConfigError: a setting does not exist, or cannot be what is asked of it.
        """
        role, schema = self.role, leaves(type(self.base))
        where, found = f"{role}.search", dict[str, list[Any] | Span]()
        for key, given in getattr(self, role).search.items():
            if isinstance(given, dict):
                found[key] = _span(where, key, given, leaf_of(where, role, key, schema))
            else:
                values = values_of(where, role, key, given, schema)
                for value in values:
                    check_models({key: value})
                found[key] = values
        return found


def _span(where: str, key: str, given: Between, leaf: Leaf) -> Span:
    place, log, step = f"{where}: '{key}'", given.get("log", False), given.get("step")
    if set(given) - {"log", "step"} != {"low", "high"} or not isinstance(log, bool):
        raise ConfigError(f"{place}: a table {{low = …, high = …}}, perhaps log = true or step = …")
    if leaf.bare not in (int, float):
        raise ConfigError(f"{place} is no number; give a list of its values")
    low, high = (_end(where, key, given[end], leaf) for end in ("low", "high"))
    if not low < high or (log and low <= 0):
        raise ConfigError(f"{place}: low must be less than high, and above 0 where log = true")
    if step is not None:
        step = _end(where, key, step, leaf)
        if log or not 0 < step <= high - low:
            raise ConfigError(f"{place}: step must be between 0 and high - low, without log")
    return Span(low, high, log, step, leaf.bare is int)


def _end(where: str, key: str, given: bool | float, leaf: Leaf) -> Any:
    if leaf.bare is int and isinstance(given, float) and given.is_integer():
        given = int(given)
    return value_of(where, key, given, leaf)


def shrunk(config: TuneConfig) -> TuneConfig:
    """The search at its role's --debug size; the same where `small` is not set."""
    if not config.small:
        return config
    part, kind = getattr(config, config.role), type(config.base)
    base = build(kind, {**flatten(config.base), **debug_values(kind)})
    changed: dict[str, Any] = {config.role: replace(part, base=base)}
    return replace(
        config, trials=min(config.trials, FEW), seeds=config.seeds[:1], **changed
    )  # fmt: skip
