"""The simulator role's settings. Every field's docstring is its `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from understudy.roles.simulator.offline.config import JudgeConfig, LearnConfig, TuneConfig
from understudy.run.config import ConfigError, RunConfig
from understudy.run.fields import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
)

Parameters = Literal["responsive", "indifferent", "habituating", "fragile", "diverse"]


@dataclass(frozen=True)
class AskConfig:
    """How the model is asked to play a person."""

    style: Literal["auto", "short", "words"] = "auto"
    """short: a few characters, for models trained on them (pocket and what is made of it); words:
    four layers and JSON, for any other; auto: by the model."""
    temperature: PositiveFloat = 1.0
    """At which answers are drawn."""
    match: bool = True
    """Weigh what the model says so that the cohort agrees with the aggregates (in-process models
    asked in the short form; others cannot be weighed)."""
    pilot_people: PositiveInt = 24
    """People of a pilot cohort, on which the weights are found."""
    pilot_rounds: PositiveInt = 3
    """Pilot cohorts, each under the weights found on the one before."""
    max_usd: PositiveFloat | None = None
    """Most to spend on calls; by default no cap."""


@dataclass(frozen=True)
class SourceConfig:
    """Where the aggregates come from: real data, a profile of it, or people of known truth."""

    data: str | None = None
    """CSV of a study's people."""
    profile: str | None = None
    """JSON of `understudy simulator profile`, in place of data."""
    truth: Parameters = "responsive"
    """Without either: how the people of a known-truth simulator are, who stand in for real ones."""
    people: PositiveInt = 100
    """How many of them."""
    hidden_below: NonNegativeInt = 0
    """Hide aggregates of fewer people than this."""
    epsilon: NonNegativeFloat = 0.0
    """Differential privacy of the aggregates; 0 for exact ones."""
    canaries: NonNegativeInt = 0
    """People made up at random, counted among the others and written to canaries.csv: `simulator
    assess` looks for them in all that the model was told and said. Each weighs as one person."""

    def check(self) -> None:
        """One source."""
        if self.data is not None and self.profile is not None:
            raise ConfigError("source.profile: give data or a profile of it, not both")
        if self.canaries and self.profile is not None:
            raise ConfigError("source.canaries: a profile is counted already; give data")
        if self.hidden_below and self.epsilon:
            raise ConfigError("source.epsilon: hide small cells or add noise, not both")


@dataclass(frozen=True)
class GenerateConfig:
    """A cohort of people played by a language model, from aggregates alone."""

    DEBUG: ClassVar[Mapping[str, Any]] = {
        "people": 3, "ask.pilot_people": 3, "ask.pilot_rounds": 1, "source.people": 12,
    }  # fmt: skip

    study: str = "low-mood"
    """A shipped study, or the TOML file of another."""
    lm: str = "pocket"
    """Any language model: pocket, hf:…, openai:…, http://host:port/v1#MODEL, replay:FILE."""
    people: PositiveInt = 100
    """How many to make."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""
    ask: AskConfig = AskConfig()
    source: SourceConfig = SourceConfig()
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True)
class ProfileConfig:
    """Aggregates of a study's data: all that is ever told of it."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("data",)

    data: str = ""
    """CSV of a study's people."""
    study: str = "low-mood"
    """A shipped study, or the TOML file of another."""
    out: str = "profile.json"
    """Where they go."""
    hidden_below: NonNegativeInt = 0
    """Hide aggregates of fewer people than this."""
    epsilon: NonNegativeFloat = 0.0
    """Differential privacy of whole people; 0 for exact ones."""
    delta: NonNegativeFloat = 0.0
    """Of the privacy; above 0 the noise is Gaussian."""
    only: tuple[str, ...] = ()
    """Measures to keep; by default all."""
    seed: NonNegativeInt = 0
    """Of the noise."""

    def check(self) -> None:
        """There must be data, and one kind of protection."""
        if not self.data:
            raise ConfigError("data: profile needs a CSV file")
        if self.hidden_below and self.epsilon:
            raise ConfigError("epsilon: hide small cells or add noise, not both")


@dataclass(frozen=True)
class AssessConfig:
    """How faithful a cohort is to a reference, against the noise between two halves of that."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("cohort",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"resamples": 20}

    cohort: str = ""
    """CSV of synthetic people, or the directory of a `simulator generate` run."""
    data: str | None = None
    """CSV of the reference; by default the reference of the run."""
    canaries: str | None = None
    """CSV of people planted in the source; by default those of the run, if there are any."""
    study: str = "low-mood"
    """A shipped study, or the TOML file of another."""
    margin: PositiveFloat = 0.25
    """Of equivalence, in standard deviations of the real variable."""
    resamples: PositiveInt = 400
    """Resamples, splits and permutations of each kind."""
    out: str | None = None
    """JSON file of the report; by default fidelity.json beside the cohort."""
    seed: NonNegativeInt = 0
    """Of the resamples."""

    def check(self) -> None:
        """There must be a cohort."""
        if not self.cohort:
            raise ConfigError("cohort: assess needs a CSV file, or a run of `simulator generate`")


@dataclass(frozen=True)
class LearnPolicyConfig:
    """A policy from cohorts, offline."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("data",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"how.steps": 500, "how.target_rate": 0.02}

    data: tuple[str, ...] = ()
    """CSV files of cohorts, or directories of `simulator generate` runs; several are merged."""
    study: str = "low-mood"
    """A shipped study, or the TOML file of another."""
    how: LearnConfig = field(default_factory=LearnConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    """A search for settings."""
    validation: Annotated[float, Range(low=0.05, below=1)] = 0.25
    """tune: share of the people on whom settings are chosen."""
    out: str = "policy.safetensors"
    """Where the policy goes."""
    seed: NonNegativeInt = 0
    """Everything random follows from it."""

    def check(self) -> None:
        """There must be data."""
        if not self.data:
            raise ConfigError("data: learn needs CSV files, or runs of `simulator generate`")


@dataclass(frozen=True)
class JudgePoliciesConfig:
    """Judge policies off-policy, by people that none of them was learnt from."""

    POSITIONAL: ClassVar[tuple[str, ...]] = ("policies",)
    DEBUG: ClassVar[Mapping[str, Any]] = {"how.resamples": 100}

    policies: tuple[str, ...] = ()
    """Files of `simulator learn`; random, the behaviour itself and every fixed action are added."""
    data: str = ""
    """CSV of those people."""
    study: str = "low-mood"
    """A shipped study, or the TOML file of another."""
    how: JudgeConfig = field(default_factory=JudgeConfig)
    out: str = "verdict.json"
    """Where the verdict goes."""
    seed: NonNegativeInt = 0
    """Of folds and resamples."""

    def check(self) -> None:
        """There must be data."""
        if not self.data:
            raise ConfigError("data: evaluate needs --data, a CSV of people to judge by")


@dataclass(frozen=True)
class StudyConfig:
    """All of it: aggregates, a cohort, its fidelity beside baselines, policies, the verdict."""

    DEBUG: ClassVar[Mapping[str, Any]] = {
        "make.people": 3, "make.ask.pilot_people": 3, "make.ask.pilot_rounds": 1,
        "make.source.people": 24, "resamples": 20, "learn.steps": 500, "learn.target_rate": 0.02,
        "judge.resamples": 100, "judge.min_people": 4, "true_people": 50,
    }  # fmt: skip
    MAY_CHANGE: ClassVar = ("workers", "ray")

    make: GenerateConfig = GenerateConfig()
    """Its run is this one's."""
    seed: NonNegativeInt = 0
    """Everything random follows from it; that of `make` is not used."""
    test: Annotated[float, Range(low=0.05, below=1)] = 0.25
    """Share of the reference people who are kept to judge policies by."""
    learn: LearnConfig = field(default_factory=LearnConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    margin: PositiveFloat = 0.25
    """Of equivalence, in standard deviations of the real variable."""
    resamples: PositiveInt = 400
    """Resamples, splits and permutations of each kind in the fidelity reports."""
    true_people: PositiveInt = 2000
    """Where the truth is known: people that the policies are played with."""
    workers: PositiveInt = 1
    """Processes that do what is divided (reports, policies, judging, true values); what is found
    does not depend on their number."""
    ray: str | None = None
    """Let Ray do it on so many cores: `local` starts it on this machine, HOST:PORT finds a
    cluster."""
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """A profile alone has no people to learn from or to judge by."""
        if self.make.source.profile is not None:
            raise ConfigError("make.source.profile: `simulator run` needs data, not only a profile")
