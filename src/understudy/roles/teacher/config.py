"""The teacher role's settings. Every field's docstring is its `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

Who = Literal["lm", "expert", "noisy", "recorded", "paper"]
Method = Literal["teacher", "ppo", "ppo+teacher", "cloning"]


@dataclass(frozen=True)
class AdviceConfig:
    """Who advises, and how a language model is asked."""

    who: Who = "lm"
    """lm: the model of --lm; expert: scripted; noisy: the expert with mistakes; recorded: plans of
    an earlier run; paper: scripted as LLM4Teach's offline planner, which does not mind lava."""
    samples: PositiveInt = 1
    """Answers asked for per text, where the model gives no probabilities to score plans with."""
    temperature: NonNegativeFloat = 0.0
    """Of those answers; several need one above 0."""
    hard: bool = False
    """Follow the likeliest plan alone instead of the whole distribution over plans."""
    noise: Probability = 0.3
    """noisy: the share of its advice that is a plan at random."""
    plans: str | None = None
    """recorded: a run's plans.jsonl; a text that is not in it is an error."""
    trial: NonNegativeInt = 64
    """Episodes the teacher plays before training; one that is no better than random actions is sent
    away, and the run is PPO alone. 0 trusts it."""
    hear: bool = False
    """Several agents: ask again once every agent has heard what the others intend."""
    max_usd: PositiveFloat | None = None
    """Stop before more than this is spent."""

    def check(self) -> None:
        """Rejects several answers that would all be the same, and a recording without a file."""
        if self.samples > 1 and self.temperature <= 0:
            raise ConfigError("advice.temperature: several samples need a temperature above 0")
        if (self.who == "recorded") != (self.plans is not None):
            raise ConfigError("advice.plans: recorded plans and a file of them go together")


@dataclass(frozen=True)
class DistillConfig:
    """The term that pulls the student to the teacher, and how it fades."""

    loss: Literal["ce", "forward_kl", "reverse_kl"] = "ce"
    """Cross-entropy to the teacher's probabilities, or a KL divergence in either direction."""
    schedule: Literal["linear", "cosine", "constant", "adaptive", "paper"] = "linear"
    """How the weight falls to 0. adaptive: stop following where the student's own value is above
    what the teacher earns from like scenes, for good once that is nearly everywhere."""
    weight: NonNegativeFloat = 1.0
    """At the start; 0 is PPO alone."""
    steps: PositiveInt = 150_000
    """Environment steps after which the weight is 0 (linear, cosine)."""
    iteration_steps: PositiveInt = 256
    """paper: environment steps of one of its iterations."""


@dataclass(frozen=True)
class StudentConfig:
    """The student's network."""

    encoder: Literal["map", "paper"] = "map"
    """map: what is remembered, around and ahead of the agent; paper: raw codes seen from above."""
    width: PositiveInt = 128
    """Of the hidden layers."""
    recurrent: bool = False
    """A GRU after the encoder."""
    shared: bool = True
    """Several agents: one actor for all of them instead of one each."""
    central: bool = True
    """Several agents: the critic sees what all agents see (MAPPO) instead of one each (IPPO)."""


@dataclass(frozen=True)
class TeacherConfig:
    """A language model advises, a small PPO student learns."""

    MAY_CHANGE: ClassVar = ("workers",)
    DEBUG: ClassVar[Mapping[str, Any]] = {
        "steps": 512, "envs": 4, "horizon": 32, "minibatch": 64, "eval_episodes": 8,
        "eval_every": 256, "advice.trial": 8,
    }  # fmt: skip

    env: str = "SimpleDoorKey"
    """SimpleDoorKey, LavaDoorKey, ColoredDoorKey, TwoDoor, any MiniGrid or BabyAI id, or
    mpe/simple_spread, mpe/simple_tag, mpe/simple_speaker_listener."""
    lm: str = "pocket"
    """Any language model: pocket, hf:…, openai:…, http://host:port/v1#MODEL, replay:FILE."""
    method: Literal["ppo+teacher", "ppo", "cloning"] = "ppo+teacher"
    """ppo asks no teacher; cloning learns from the teacher alone, without rewards."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    steps: PositiveInt = 60_000
    """Environment steps in all."""
    envs: PositiveInt = 32
    """Environments side by side."""
    horizon: PositiveInt = 64
    """Steps of each environment per update."""
    epochs: PositiveInt = 4
    """Passes over the collected steps."""
    minibatch: PositiveInt = 512
    """Steps per optimizer step."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's."""
    gamma: Probability = 0.99
    """Discount."""
    gae_lambda: Probability = 0.95
    """λ of the advantages."""
    clip: PositiveFloat = 0.2
    """Of the probability ratio."""
    value_clip: PositiveFloat | None = None
    """Of the value's change; by default none."""
    value_coef: NonNegativeFloat = 0.5
    """Weight of the value loss."""
    entropy_coef: NonNegativeFloat = 0.01
    """Weight of the entropy bonus."""
    max_grad_norm: PositiveFloat = 0.5
    """Gradients are clipped to this norm."""
    anneal: bool = False
    """Let the learning rate fall to 0 over the run."""
    eval_every: PositiveInt = 10_000
    """Environment steps between evaluations; there is one at the start and at the end."""
    eval_episodes: PositiveInt = 200
    """Held-out episodes per evaluation, the same every time."""
    stop_at: Probability | None = None
    """Stop once an evaluation's success (mean return in mpe) is at least this."""
    workers: PositiveInt = 1
    """Processes among which an update's gradients are divided; what is learnt is the same."""
    options: dict[str, bool | int | float | str] = field(
        default_factory=dict[str, bool | int | float | str]
    )
    """Options of the environment, e.g. `N = 3` of mpe/simple_spread."""
    advice: AdviceConfig = AdviceConfig()
    distill: DistillConfig = DistillConfig()
    student: StudentConfig = StudentConfig()
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Rejects combinations that cannot mean anything."""
        if self.method == "cloning" and self.distill.weight == 0:
            raise ConfigError(
                "distill.weight: cloning learns from nothing else; it must be above 0"
            )
        if self.distill.schedule == "adaptive" and not self.advice.trial:
            raise ConfigError(
                "advice.trial: the adaptive schedule compares with what it earned there"
            )
        if self.student.recurrent and self.envs * self.horizon % self.minibatch:
            raise ConfigError("minibatch: with a memory it must divide envs × horizon")
        self.run.check_workers(self.workers)


@dataclass(frozen=True)
class EvalConfig:
    """Play held-out episodes with a teacher, before anything is trained, or with a student."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"episodes": 8}

    who: Literal["teacher", "student"] = "teacher"
    """Whom to try; which teacher is `base.advice.who`."""
    student: str = ""
    """The run directory of a trained student."""
    episodes: PositiveInt = 200
    """Held-out episodes."""
    seed: NonNegativeInt = 0
    """Of the sampled actions; the episodes are always the same."""
    video: bool = False
    """Write the first episode to media/episode.gif."""
    base: TeacherConfig = TeacherConfig()
    """The environment, the model and the teacher."""

    def check(self) -> None:
        """A student is a run; a teacher is none."""
        if (self.who == "student") != bool(self.student):
            raise ConfigError("student: --who student and --student RUN go together")


@dataclass(frozen=True)
class CompareConfig:
    """Teacher, PPO, PPO with the teacher, and cloning side by side: same budget, same seeds."""

    DEBUG: ClassVar[Mapping[str, Any]] = {"seeds": (0,)}

    methods: tuple[Method, ...] = ("teacher", "ppo+teacher", "cloning", "ppo")
    """What is compared."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One run per method and seed."""
    threshold: Probability = 0.95
    """The table says after how many steps this success was reached."""
    ppo_steps: NonNegativeInt = 0
    """Steps PPO alone may take, where it is to show how many it needs; 0 is the others' budget."""
    base: TeacherConfig = TeacherConfig()
    """The settings all runs share."""
