"""A role's configuration, as the tests of this room need one."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import NonNegativeInt, PositiveFloat, PositiveInt, Probability, Range


@dataclass(frozen=True)
class ToyConfig:
    """Trains a toy."""

    DEBUG: ClassVar = {"steps": 2, "run.checkpoint_every": 1}
    MAY_CHANGE: ClassVar = ("steps",)

    env: str = "toy"
    """The environment."""
    steps: PositiveInt = 100
    """Training steps, 100 % of them."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the optimizer."""
    clip: Probability = 0.2
    """Ratio clip."""
    seed: NonNegativeInt = 0
    """Root of all randomness."""
    algorithm: Literal["ppo", "grpo"] = "ppo"
    """Where advantages come from."""
    layers: tuple[PositiveInt, ...] = (32, 32)
    """Widths."""
    span: tuple[float, float] = (0.0, 1.0)
    """From, to."""
    prices: dict[str, float] = field(default_factory=dict)
    """Price of a token by model."""
    amp: bool = False
    """Half precision."""
    note: str | None = None
    """A remark."""
    max_usd: Annotated[float, Range(low=0)] | None = None
    """Most to spend."""
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        if self.algorithm == "grpo" and self.clip == 0:
            raise ConfigError("clip must be > 0 with algorithm 'grpo'")


@dataclass(frozen=True)
class FileConfig:
    """Reads files."""

    POSITIONAL: ClassVar = ("task", "files")

    task: str
    """The task."""
    files: tuple[str, ...] = ()
    """The files."""
    out: str = "out.jsonl"
    """Where to."""


@dataclass(frozen=True)
class OuterConfig:
    """Holds another configuration, with other defaults than its own."""

    DEBUG: ClassVar = {"seeds": (0,), "inner.seed": 9}

    seeds: tuple[int, ...] = (0, 1)
    """Seeds."""
    inner: ToyConfig = field(default_factory=lambda: ToyConfig(clip=0.5, run=RunConfig(keep=4)))
