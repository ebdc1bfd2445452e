"""The world-model role's settings. Every field's docstring is its `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from understudy.roles.world_model.cores.spec import parse_core
from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

T = TypeVar("T")
OUTCOME = 10.0
"""Default weight of the next reward as foretold, where it is: much, because few steps bring any."""
SizeName = Literal["cpu-tiny", "1m", "12m", "25m", "50m", "100m", "200m"]


@dataclass(frozen=True, slots=True)
class Size:
    """Widths of all networks."""

    width: int
    """Of the core's output h."""
    units: int
    """Of hidden layers."""
    latents: int
    """Categoricals in z."""
    classes: int
    """Of each categorical."""
    layers: int
    """Of encoder, decoder, actor and critic."""
    depth: int
    """Channels of images, times (2, 3, 4, 4)."""
    learning_rate: float
    warmup: int
    """Optimizer steps over which the learning rate rises."""
    bins: int = 255
    """Of the distributions of reward and value."""


SIZES: dict[str, Size] = {
    "cpu-tiny": Size(128, 64, 16, 8, 1, 4, 1e-3, 100, bins=127),
    "1m": Size(512, 64, 32, 4, 3, 4, 1e-4, 1000),
    "12m": Size(2048, 256, 32, 16, 3, 16, 4e-5, 1000),
    "25m": Size(3072, 384, 32, 24, 3, 24, 4e-5, 1000),
    "50m": Size(4096, 512, 32, 32, 3, 32, 4e-5, 1000),
    "100m": Size(6144, 768, 32, 48, 3, 48, 4e-5, 1000),
    "200m": Size(8192, 1024, 32, 64, 3, 64, 4e-5, 1000),
}
"""By the number of parameters with the block GRU; the paper's table but for `cpu-tiny`."""


@dataclass(frozen=True)
class BodyConfig:
    """The language model's body inside a core; recurrent cores have none."""

    layers: PositiveInt = 2
    """Of a fresh body."""
    heads: PositiveInt = 4
    """Of a fresh body."""
    window: PositiveInt = 32
    """Tokens that attention sees; steps from which a state is rebuilt."""
    state_size: PositiveInt = 16
    """Of a fresh Mamba, per channel."""
    slots: PositiveInt = 3
    """Of the slots core, beside the one that is read."""
    lora_rank: PositiveInt = 8
    """Of an adapter (`+lora`)."""


@dataclass(frozen=True)
class LossConfig:
    """The world model's loss, a sum of these."""

    decoder: NonNegativeFloat = 1.0
    """Weight of the reconstructions."""
    dynamics: NonNegativeFloat | None = None
    """Weight of the prior's loss; by default 1 (version 2023: 0.5)."""
    representation: NonNegativeFloat = 0.1
    """Weight of the posterior's loss."""
    free_nats: NonNegativeFloat = 1.0
    """Divergence that costs nothing."""
    unimix: Probability = 0.01
    """Share of the uniform distribution in latents and in discrete policies."""
    token: NonNegativeFloat = 1.0
    """Weight of the next words' cross-entropy."""
    outcome: NonNegativeFloat | None = None
    """Weight of the next reward as foretold from what the actor sees and does; by default 10 for
    attention and Mamba, whose output need not tell the actor what they remember, and 0 for cores whose
    output is all that they remember."""


@dataclass(frozen=True)
class BehaviourConfig:
    """Actor and critic, which learn in imagination."""

    horizon: PositiveInt = 15
    """Imagined steps."""
    starts: PositiveInt = 256
    """States of the batch that imagination starts from; at most all of them."""
    gamma: Probability = 0.997
    """Discount."""
    lam: Probability = 0.95
    """λ of the returns."""
    entropy: NonNegativeFloat = 3e-4
    """Weight of the actor's entropy."""
    scale_rate: Probability = 0.01
    """How fast the returns' range is followed."""
    slow_rate: Probability = 0.02
    """How fast the slow critic, which holds the critic back, follows it."""
    replay_value: NonNegativeFloat | None = None
    """Weight of the critic's loss on what really happened; by default 0.3 (version 2023: 0)."""


@dataclass(frozen=True)
class ReplayConfig:
    """What is remembered, and what is drawn from it."""

    capacity: PositiveInt = 200_000
    """Steps kept, over all environments; the oldest go first."""
    batch: PositiveInt = 16
    """Sequences per update."""
    length: PositiveInt = 16
    """Steps of each."""
    ratio: PositiveFloat = 128.0
    """Replayed steps per environment step: batch times length times updates per environment step."""
    prefill: PositiveInt = 256
    """Steps before the first update."""
    context: bool | None = None
    """Start sequences from what came before them instead of from nothing; by default yes (version
    2023: no)."""
    online: bool | None = None
    """Let every new sequence be drawn once at first; by default yes (version 2023: no)."""


@dataclass(frozen=True)
class WorldModelConfig:
    """Learns a latent world model and, inside it, to act (DreamerV3)."""

    DEBUG: ClassVar[Mapping[str, Any]] = {
        "steps": 200, "log_every": 50, "eval_episodes": 2, "replay.prefill": 64,
        "replay.batch": 4, "replay.length": 8, "replay.ratio": 8.0, "behaviour.horizon": 4,
        "behaviour.starts": 16, "bins": 41,
    }  # fmt: skip
    MAY_CHANGE: ClassVar = ("steps", "eval_episodes", "workers")

    env: str = "CartPole-v1"
    """Any Gymnasium id (MODULE:ID imports a module first), or dmc/DOMAIN_TASK of the DeepMind
    Control Suite."""
    core: str = "gru"
    """The sequence core: gru, block_gru, llama, gpt2, gpt_neox, mamba, mamba2, slots, pocket or
    hf:NAME; the last two with +lora, +frozen or +random behind them."""
    size: SizeName = "cpu-tiny"
    """Widths of all networks."""
    version: Literal["nature", "2023"] = "nature"
    """Of DreamerV3: 2023 has evenly spaced bins on symlog, a lighter prior loss, no loss of the critic
    on replayed steps, no replay context, no queue of new sequences, and three Adams."""
    posterior: Literal["auto", "coupled", "decoupled"] = "auto"
    """Whether z is inferred from h too, one step at a time; auto: as suits the core."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    steps: PositiveInt = 10_000
    """Environment steps in all."""
    envs: PositiveInt = 1
    """Environments side by side."""
    learning_rate: PositiveFloat | None = None
    """By default the size's."""
    threads: PositiveInt = 1
    """Of torch; networks as small as `cpu-tiny` get slower with more."""
    workers: PositiveInt = 1
    """Processes among which an update's sequences are divided; what is learnt is the same."""
    bins: PositiveInt | None = None
    """Of the distributions of reward and value, odd; by default the size's."""
    reward_scale: PositiveFloat = 1.0
    """What is learnt from are rewards times this; returns are told without it. For rewards far below
    1, which lie between two bins and do not weigh against the actor's entropy."""
    blank_tokens: bool = False
    """Replace every word the environment says by the first of its vocabulary (an ablation)."""
    log_every: PositiveInt = 500
    """Environment steps between lines of the log."""
    eval_episodes: NonNegativeInt = 20
    """Greedy held-out episodes after training."""
    env_options: dict[str, bool | int | float | str] = field(
        default_factory=dict[str, bool | int | float | str]
    )
    """What the environment is made with."""
    body: BodyConfig = field(default_factory=BodyConfig)
    """Of cores with a language model's body."""
    losses: LossConfig = field(default_factory=LossConfig)
    """The world model's loss."""
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    """Actor and critic."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """What is remembered."""
    run: RunConfig = field(default_factory=lambda: RunConfig(checkpoint_every=4))
    """Where it is kept; checkpoint_every counts lines of the log."""

    def check(self) -> None:
        """Rejects what cannot work, before anything heavy is made."""
        parse_core(self.core)
        self.run.check_workers(self.workers)
        if self.bins is not None and (self.bins < 3 or self.bins % 2 == 0):
            raise ConfigError(f"bins must be odd and at least 3, not {self.bins}")
        if self.replay.length < 2:
            raise ConfigError("replay.length: a sequence has at least 2 steps")
        if self.workers > self.replay.batch:
            raise ConfigError(
                f"workers: {self.workers} processes cannot share {self.replay.batch} sequences "
                "(replay.batch); each needs one"
            )
        if self.replay.capacity < self.envs * (self.replay.length + 1):
            raise ConfigError(
                f"replay.capacity: {self.replay.capacity} steps hold no sequence of "
                f"{self.replay.length} for each of {self.envs} environments"
            )

    @property
    def nature(self) -> bool:
        """Whether unset settings are those of the Nature version."""
        return self.version == "nature"


def chosen(value: T | None, default: T) -> T:
    """`value`, or `default` where it is not set."""
    return default if value is None else value


@dataclass(frozen=True)
class EvalConfig:
    """Plays greedy episodes with a trained agent, and draws what its model dreams."""

    POSITIONAL: ClassVar = ("agent",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"episodes": 2}

    agent: str
    """A run directory of `understudy world_model train`."""
    episodes: PositiveInt = 100
    """Held-out episodes, others than those of training's end."""
    greedy: bool = True
    """Take the likeliest actions instead of drawing them."""
    dream: PositiveInt = 5
    """Steps the model is shown before it dreams on."""
    seed: NonNegativeInt = 0
    """Of the episodes."""
    run: RunConfig = field(default_factory=RunConfig)
    """Where it is kept."""


@dataclass(frozen=True)
class CompareConfig:
    """Sequence cores side by side under one budget, with intervals."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"seeds": (0,)}

    cores: tuple[str, ...] = ("gru", "llama", "mamba2")
    """Which."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every core is trained with each."""
    threshold: float = 400.0
    """Mean return of the last 20 training episodes; the table says after how many steps it was
    reached."""
    base: WorldModelConfig = field(default_factory=WorldModelConfig)
    """Settings of every run."""

    def check(self) -> None:
        """Rejects a comparison of nothing."""
        if not self.cores or not self.seeds:
            raise ConfigError("cores, seeds: at least one of each is needed")
