"""The settings of `understudy demo`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from understudy.compare.config import ROLES
from understudy.run.config import NAME, ConfigError
from understudy.run.fields import NonNegativeInt


@dataclass(frozen=True)
class DemoConfig:
    """All five roles on the bundled model, small and offline; called again, it continues."""

    POSITIONAL: ClassVar = ("role",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"small": True}

    role: str = "all"
    """One of policy, teacher, optimizer, world_model and simulator, or all of them."""
    recipe: str | None = None
    """A grid's TOML file, in place of the one that comes with the package."""
    root: str = "runs"
    """The demo's directory is ROOT/NAME."""
    name: str = "demo"
    """See `root`."""
    jobs: NonNegativeInt = 0
    """Roles at the same time, with a thread each; 0 is one per processor."""
    small: bool = False
    """Seconds instead of minutes, to see that all works; the figures mean nothing."""
    progress: bool = True
    """Show progress."""

    def check(self) -> None:
        """Rejects a role that is none."""
        if self.role not in ("all", *ROLES):
            raise ConfigError(f"role must be one of {', '.join(ROLES)}, or all; not {self.role!r}")
        if not NAME.fullmatch(self.name):
            raise ConfigError("name must be letters, digits, '.', '_' or '-', at most 100")
