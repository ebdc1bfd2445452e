"""The world model's part of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from understudy.roles.world_model.config import BodyConfig, WorldModelConfig
from understudy.roles.world_model.cores.spec import RECURRENT, parse_core
from understudy.run.config import ConfigError, RunConfig


@dataclass(frozen=True)
class WorldModelGrid:
    """Agents whose world models have different sequence cores."""

    envs: tuple[str, ...] = ()
    """Gymnasium ids; none leaves the role out."""
    cores: tuple[str, ...] = ("gru", "llama", "mamba2")
    """Sequence cores. CORE@N has a window of N steps; with @1 it remembers nothing."""
    lms: tuple[str, ...] = ("pocket",)
    """Not used: a core is its own model."""
    seeds: tuple[int, ...] = ()
    """In place of the grid's seeds."""
    base: WorldModelConfig = field(default_factory=WorldModelConfig)
    """What all runs share."""

    def check(self) -> None:
        """Rejects what is no core, or no window, and a window that its core's name does not tell."""
        if self.base.body.window != BodyConfig().window:
            raise ConfigError("world_model.base.body.window: write CORE@N among the cores instead")
        for core in self.cores:
            name, _, window = core.partition("@") if not core.startswith("hf:") else (core, "", "")
            parse_core(name)
            if window and (not window.isdecimal() or int(window) < 1 or name in RECURRENT):
                raise ConfigError(
                    f"world_model.cores: {core}: a window is an integer ≥ 1, and GRUs have none"
                )

    @property
    def contenders(self) -> Sequence[str]:
        """The cores."""
        return self.cores

    def asks(self, method: str) -> bool:
        """Never: the model's body is used, and nobody is asked."""
        del method
        return False

    def config(self, env: str, method: str, lm: str, seed: int, run: RunConfig) -> WorldModelConfig:
        """One agent."""
        del lm
        core, body = method, self.base.body
        if "@" in method and not method.startswith("hf:"):
            core, _, window = method.partition("@")
            body = replace(body, window=int(window))
        return replace(self.base, env=env, core=core, body=body, seed=seed, run=run)
