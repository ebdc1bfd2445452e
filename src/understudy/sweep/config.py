"""The settings of `understudy sweep`: a table for each role that takes part."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar

from understudy.lm.spec import parse_spec
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.world_model.config import WorldModelConfig
from understudy.run.cell import Cell, Contender
from understudy.run.config import NAME, ConfigError
from understudy.run.fields import (
    Leaf,
    Mismatch,
    NonNegativeInt,
    PositiveInt,
    build,
    conform,
    debug_values,
    describe,
    flatten,
    leaves,
)

ROLES = ("policy", "teacher", "optimizer", "world_model", "simulator")
MODELS = ("lm", "distill", "reward.judge", "make.lm")
"""Settings that name a language model."""
SLURM_WORD = re.compile(r"[A-Za-z0-9._:@-]+")
Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Part:
    """One role's settings, and those of them that take several values."""

    grid: dict[str, tuple[Value, ...]] = field(default_factory=dict[str, tuple[Value, ...]])
    """Setting, dotted and in quotes, → the values it takes; every combination is run. None leaves
    the role out."""
    seeds: tuple[int, ...] = ()
    """In place of the sweep's seeds."""


@dataclass(frozen=True)
class PolicyPart(Part):
    """Language models trained by reinforcement learning."""

    base: PolicyConfig = field(default_factory=PolicyConfig)
    """What all runs share."""


@dataclass(frozen=True)
class TeacherPart(Part):
    """Students with a teacher or without."""

    base: TeacherConfig = field(default_factory=TeacherConfig)
    """What all runs share."""


@dataclass(frozen=True)
class OptimizerPart(Part):
    """Searches."""

    base: OptimizerConfig = field(default_factory=OptimizerConfig)
    """What all runs share."""


@dataclass(frozen=True)
class WorldModelPart(Part):
    """Agents that learn in what they have learnt of the world."""

    base: WorldModelConfig = field(default_factory=WorldModelConfig)
    """What all runs share."""


@dataclass(frozen=True)
class SimulatorPart(Part):
    """Studies with simulated people."""

    base: StudyConfig = field(default_factory=StudyConfig)
    """What all runs share."""


@dataclass(frozen=True)
class SweepConfig:
    """Settings × seeds of roles: every combination is a run, and a table tells what each came to."""

    POSITIONAL: ClassVar = ("config",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"small": True}

    name: str = "sweep"
    """Its directory is ROOT/NAME; calling it again continues it."""
    root: str = "runs/sweep"
    """See `name`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every setting is run with each."""
    small: bool = False
    """Give every run its role's --debug size: to see that all works."""
    threads: PositiveInt = 1
    """Of torch, of every run."""
    workers: NonNegativeInt = 1
    """Runs made at the same time, each by a process; 1: one after the other. With `ray`, 0 leaves
    their number to the cluster."""
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
        """Builds every run's configuration, so that whatever is wrong costs nothing."""
        if not NAME.fullmatch(self.name):
            raise ConfigError("name must be letters, digits, '.', '_' or '-', at most 100")
        if not any(True for _ in self.parts()):
            tables = ", ".join(f"[{role}.grid]" for role in ROLES)
            raise ConfigError(f"grid: no role has one; at least one setting in one of {tables}")
        if self.workers < 1 and self.ray is None:
            raise ConfigError("workers: at least 1; 0 leaves it to Ray, and needs --ray")
        for role, part in self.parts():
            seeds = part.seeds or self.seeds
            if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
                raise ConfigError(f"{role}.seeds: at least one, none below 0 and none twice")
        self.cells(".")

    def parts(self) -> Iterator[tuple[str, Any]]:
        """The roles that take part, with their tables."""
        for role in ROLES:
            part = getattr(self, role)
            if part.grid:
                yield role, part

    def cells(self, folder: str) -> list[Cell]:
        """All runs; in a seed all settings, so that a sweep that is stopped has whole seeds.

        Args:
            folder: the sweep's directory.

        Raises:
            ConfigError: a setting does not exist, or a value of it cannot be.
        """
        found = [
            cell
            for role, part in self.parts()
            for cell in _cells(role, part, part.seeds or self.seeds, folder)
        ]
        return sorted(found, key=lambda cell: cell.seed)


@dataclass(frozen=True)
class SlurmConfig:
    """Prints a Slurm job that starts Ray on the nodes it is given and makes a sweep on them."""

    POSITIONAL: ClassVar = ("recipe",)

    recipe: str = ""
    """The sweep's TOML file; read when the job runs, in the directory it is submitted from."""
    name: str = "understudy"
    """Of the job."""
    nodes: PositiveInt = 2
    """Machines."""
    cpus: PositiveInt = 4
    """Cores of each; a run takes one."""
    time: str = "04:00:00"
    """Most that the job may take."""
    grace: PositiveInt = 120
    """Seconds before its end at which runs are asked for a checkpoint."""
    partition: str | None = None
    """Of the cluster."""
    account: str | None = None
    """Who pays."""
    setup: str = ""
    """A line of shell before anything else, such as `source .venv/bin/activate`."""

    def check(self) -> None:
        """There must be a recipe, and nothing that would end its line."""
        if not self.recipe:
            raise ConfigError("recipe: slurm needs a sweep's TOML file")
        for key in ("name", "time", "partition", "account"):
            value = getattr(self, key)
            if value is not None and not SLURM_WORD.fullmatch(value):
                raise ConfigError(f"{key}: letters, digits and ._:@- only, not {value!r}")


def shrunk(config: SweepConfig) -> SweepConfig:
    """The sweep at its roles' --debug sizes; the same where `small` is not set."""
    if not config.small:
        return config
    changed: dict[str, Any] = {}
    for role, part in config.parts():
        kind = type(part.base)
        base = build(kind, {**flatten(part.base), **debug_values(kind)})
        changed[role] = replace(part, base=base)
    return replace(config, **changed)


def _cells(role: str, part: Any, seeds: tuple[int, ...], folder: str) -> Iterator[Cell]:
    """Every combination of a role's settings with every seed."""
    schema = leaves(type(part.base))
    values = {
        key: values_of(f"{role}.grid", role, key, given, schema) for key, given in part.grid.items()
    }
    for combination in product(*values.values()):
        setting = dict(zip(values, combination, strict=True))
        who = label({key: value for key, value in setting.items() if key != env_key(role)})
        for seed in seeds:
            try:
                yield cell_of(role, part.base, setting, who, seed, folder)
            except ConfigError as error:
                raise ConfigError(f"{role}.grid: {label(setting)}: {error}") from None


def env_key(role: str) -> str:
    """The setting of a role that says where."""
    return "make.study" if role == "simulator" else "env"


def cell_of(
    role: str, base: Any, setting: Mapping[str, Any], who: str, seed: int, folder: str
) -> Cell:
    """One run.

    Args:
        role: whose.
        base: its configuration but for the setting.
        setting: values by dotted name.
        who: what the run is named by, besides the seed.
        seed: of the run.
        folder: under which its directory is made.

    Raises:
        ConfigError: the values do not go together.
        LMError: a language model's name has none of the known forms.
    """
    run = {"run.root": folder, "run.progress": False, "run.resume": None}
    given: dict[str, Any] = {**flatten(base), **setting, "seed": seed, **run}
    cell = Cell(role, given[env_key(role)], Contender(who), seed, None)
    config = build(type(base), {**given, "run.name": cell.name})
    check_models(given)
    return replace(cell, config=config)


def label(setting: Mapping[str, Any]) -> str:
    """A combination of values, in words."""
    texts = (f"{key}={value_text(value)}" for key, value in setting.items())
    return " ".join(texts) or "base"


def value_text(value: Any) -> str:
    """A setting's value, in words."""
    if isinstance(value, tuple):
        return "+".join(value_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def leaf_of(where: str, role: str, key: str, schema: Mapping[str, Leaf]) -> Leaf:
    """The field of a setting that takes several values.

    Args:
        where: the table that names it, for errors.
        role: whose setting.
        key: dotted.
        schema: the role's.

    Raises:
        ConfigError: there is none, or it is not one to be varied.
    """
    if key == "seed" or key.startswith("run."):
        raise ConfigError(f"{where}: '{key}': a sweep sets it itself; seeds = […] names the seeds")
    if key not in schema:
        close = [name for name in schema if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
        close = close or difflib.get_close_matches(key, list(schema), 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"{where}: '{key}': {role} has no such setting{hint}")
    return schema[key]


def value_of(where: str, key: str, given: Any, leaf: Leaf) -> Any:
    """A value as its setting's type has it; `where` is the table that has it, for errors."""
    try:
        return conform(given, leaf.hint)
    except Mismatch:
        kind = describe(leaf.hint)
        raise ConfigError(f"{where}: '{key}' must be {kind}, not {given!r}") from None


def values_of(
    where: str, role: str, key: str, given: tuple[Any, ...], schema: Mapping[str, Leaf]
) -> list[Any]:
    """A setting's values; see `leaf_of` and `value_of`."""
    leaf = leaf_of(where, role, key, schema)
    found = [value_of(where, key, value, leaf) for value in given]
    if not found or any(value in found[:i] for i, value in enumerate(found)):
        raise ConfigError(f"{where}: '{key}': at least one value, and none twice")
    return found


def check_models(given: Mapping[str, Any]) -> None:
    """Raises LMError where a setting that names a language model has none of the known forms."""
    for key in MODELS:
        if given.get(key) is not None:
            parse_spec(given[key])  # a typo costs nothing: no run has begun
