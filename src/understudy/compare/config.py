"""The settings of `understudy compare`: a table for each role that takes part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from understudy.lm.spec import parse_spec
from understudy.roles.optimizer.grid import OptimizerGrid
from understudy.roles.policy.grid import PolicyGrid
from understudy.roles.simulator.grid import SimulatorGrid
from understudy.roles.teacher.grid import TeacherGrid
from understudy.roles.world_model.grid import WorldModelGrid
from understudy.run.cell import Cell, Part, cells
from understudy.run.config import NAME, ConfigError, RunConfig
from understudy.run.fields import NonNegativeInt, PositiveInt, build, debug_values, flatten

ROLES = ("policy", "teacher", "optimizer", "world_model", "simulator")
FEW = 2
"""Seeds under --debug."""


@dataclass(frozen=True)
class GridConfig:
    """Roles × environments × methods × language models × seeds in one call, and one table."""

    POSITIONAL: ClassVar = ("config",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"small": True}

    name: str = "grid"
    """Its directory is ROOT/NAME; calling it again continues it."""
    root: str = "runs/compare"
    """See `name`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every method is run with each."""
    small: bool = False
    """Give every run its role's --debug size, and take two seeds: to see that all works."""
    threads: PositiveInt = 1
    """Of torch, of every run."""
    workers: NonNegativeInt = 1
    """Runs made at the same time, each by a process; 1: one after the other. With `ray`, 0 leaves
    their number to the cluster."""
    ray: str | None = None
    """Let Ray make the runs: `local` starts it on this machine, HOST:PORT finds a cluster."""
    wait: bool = False
    """Where another process makes the same grid, wait for it instead of saying so."""
    progress: bool = True
    """Show progress."""
    policy: PolicyGrid = field(default_factory=PolicyGrid)
    teacher: TeacherGrid = field(default_factory=TeacherGrid)
    optimizer: OptimizerGrid = field(default_factory=OptimizerGrid)
    world_model: WorldModelGrid = field(default_factory=WorldModelGrid)
    simulator: SimulatorGrid = field(default_factory=SimulatorGrid)

    def check(self) -> None:
        """Rejects a grid of nothing, a seed below 0, and a method twice."""
        if not NAME.fullmatch(self.name):
            raise ConfigError("name must be letters, digits, '.', '_' or '-', at most 100")
        parts = dict(self.parts())
        if not parts:
            raise ConfigError(
                f"envs: no role has any; set envs in at least one of [{'], ['.join(ROLES)}]"
            )
        for role, part in parts.items():
            seeds = part.seeds or self.seeds
            if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
                raise ConfigError(f"{role}.seeds: at least one, none below 0 and none twice")
            for key, given in (("methods", part.contenders), ("lms", part.lms)):
                if not given or len(set(given)) < len(given):
                    raise ConfigError(f"{role}.{key}: at least one, and none twice")
            for lm in part.lms:
                parse_spec(lm)  # a typo costs nothing: no run has begun

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The roles that take part, with their tables."""
        for role in ROLES:
            part: Part = getattr(self, role)
            if part.envs:
                yield role, part

    def cells(self, folder: str) -> list[Cell]:
        """All runs; in a seed all methods, so that a grid that is stopped has whole seeds.

        Args:
            folder: the grid's directory.
        """
        found: list[Cell] = []
        for role, part in self.parts():
            base: Any = getattr(part, "base")  # noqa: B009 — every table has one, of its own type
            run = replace(base.run, root=folder, progress=False, resume=None)
            found += cells(role, part, self.seeds, run)
        return sorted(found, key=lambda cell: cell.seed)


def shrunk(config: GridConfig) -> GridConfig:
    """The grid at its roles' --debug sizes; the same where `small` is not set."""
    if not config.small:
        return config
    changed = {role: _shrunk(getattr(config, role)) for role in ROLES}
    return replace(config, seeds=config.seeds[:FEW], **changed)


def _shrunk(part: Any) -> Any:
    kind = type(part.base)
    base = build(kind, {**flatten(part.base), **debug_values(kind)})
    return replace(part, base=base, seeds=part.seeds[:FEW])


def only(config: GridConfig, role: str) -> GridConfig:
    """The grid with one role alone.

    Raises:
        ConfigError: it has no such role.
    """
    if role not in dict(config.parts()):
        raise ConfigError(f"role: {role!r} is not one of {', '.join(dict(config.parts()))}")
    others = {
        field.name: replace(getattr(config, field.name), envs=())
        for field in fields(config)
        if field.name in ROLES and field.name != role
    }
    return replace(config, **others)


def run_config(config: Any) -> RunConfig:
    """Where and how a cell's configuration says that it is run."""
    return config.run if hasattr(config, "run") else config.base.run


@dataclass(frozen=True)
class TableConfig:
    """Makes a grid's table again, from its run directories alone."""

    POSITIONAL: ClassVar = ("folder",)

    folder: str
    """The grid's directory, or any directory with finished runs below it."""
