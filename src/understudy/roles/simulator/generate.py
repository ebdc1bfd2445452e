"""A cohort of people played by a language model: aggregates in, pilot cohorts, the cohort out.

Everything is a function of the configuration and of the model's answers, and every answer is on
disk before the next is asked for. A run that was stopped is played again from its recording up to
where it was, without asking anything twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.data.cohort import write_cohort
from understudy.data.profile import write_profile
from understudy.envs.study.declare import Study
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import parameters
from understudy.lm.base import ChatLM, Reply
from understudy.lm.open import can_steer
from understudy.lm.spec import parse_spec
from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import Profile
from understudy.roles.simulator.canaries import CANARIES, plant
from understudy.roles.simulator.cohorts import generate_truth, layout, profile, read
from understudy.roles.simulator.config import GenerateConfig, SourceConfig
from understudy.roles.simulator.matching import Matching
from understudy.roles.simulator.people import LanguagePeople, Tally
from understudy.roles.simulator.prompt import Asked, Prompts, Short, Worded
from understudy.run.files import write_json
from understudy.run.progress import Progress
from understudy.run.run import Run
from understudy.run.seed import Seeds

COHORT, REFERENCE, PROFILE = "cohort.csv", "reference.csv", "profile.json"
WEIGHTS, CARD = "weights.json", "generate.json"


Heard = list[tuple[Asked, Reply]]


class _Enough(Exception):
    """A signal asked the cohort to stop."""


def people_of(source: SourceConfig, study: Study, seeds: Seeds) -> Cohort:
    """The real people, or those of known truth who stand in for them.

    Raises:
        DataError: a file that cannot be read, or is no cohort of this study.
    """
    if source.data is not None:
        return read(Path(source.data), study)
    given = parameters(source.truth)
    return generate_truth(study, given, source.people, uniform(study), seeds.integer("truth"))


def told_of(
    people: Cohort, source: SourceConfig, study: Study, seeds: Seeds
) -> tuple[Profile, Cohort | None]:
    """The aggregates of some people, protected as the settings say, and the canaries among them."""
    canaries = None
    if source.canaries:
        people, canaries = plant(study, people, source.canaries, seeds.generator("canaries"))
    told = profile(
        people, study, hidden_below=source.hidden_below, epsilon=source.epsilon or None,
        rng=seeds.generator("privacy"),
    )  # fmt: skip
    return told, canaries


def write_told(run: Run, study: Study, told: Profile, canaries: Cohort | None) -> None:
    """What is told, and who was planted in it."""
    write_profile(run.path / PROFILE, told)
    if canaries is not None:
        write_cohort(run.path / CANARIES, canaries, layout(study))


def is_short(config: GenerateConfig) -> bool:
    """Whether the model is asked in the short form."""
    if config.ask.style == "auto":
        return parse_spec(config.lm).kind == "pocket"
    return config.ask.style == "short"


def generate(
    config: GenerateConfig, study: Study, told: Profile, lm: ChatLM, run: Run
) -> Cohort | None:
    """Plays the cohort and writes it; None if a signal came first.

    Args:
        config: the settings.
        study: what they take part in.
        told: the aggregates; nothing else is known of real people here.
        lm: who plays.
        run: where everything is written; one line of metrics per moment of all people.
    """
    matching = None
    if is_short(config) and config.ask.match and can_steer(lm):
        matching = Matching(study, told)
    prompts: Prompts = Short(study, told, matching) if is_short(config) else Worded(study, told)
    rounds = config.ask.pilot_rounds if matching is not None else 0
    total = study.steps * (rounds * config.ask.pilot_people + config.people)
    with Progress(total, f"{config.lm} plays {study.name}", enabled=run.config.progress) as bar:
        cohorts = _Cohorts(config, study, told, lm, prompts, run, bar)
        try:
            for number in range(rounds):
                assert matching is not None
                heard: Heard = []
                cohorts.play(f"pilot {number}", config.ask.pilot_people, heard)
                matching.learn(heard)
            made, tally = cohorts.play("person", config.people)
        except _Enough:
            return None
    _write(run, study, made, matching, tally)
    return made


@dataclass
class _Cohorts:
    """Plays cohorts one after the other, and counts their moments."""

    config: GenerateConfig
    study: Study
    told: Profile
    lm: ChatLM
    prompts: Prompts
    run: Run
    bar: Progress
    moments: int = 0
    asked: int = 0

    def play(self, name: str, n: int, heard: Heard | None = None) -> tuple[Cohort, Tally]:
        """N people under random actions; every question and reply goes to `heard`."""
        seeds = self.run.seeds
        people = LanguagePeople(
            self.study, self.lm, self.prompts, self.told, n, seeds.generator("people", name),
            seeds.integer("answers", name) % 2**31, self.config.ask.temperature,
            heard=heard, watch=self._watch,
        )  # fmt: skip
        rng = seeds.generator("actions", name)
        made = play(self.study, people, uniform(self.study), n, rng, f"{name.split()[0]}-")
        self.asked += people.tally.asked
        return made, people.tally

    def _watch(self, tally: Tally) -> None:
        if self.run.stop_requested:
            raise _Enough
        self.moments += 1
        asked = self.asked + tally.asked
        self.run.log(self.moments, {"asked": asked, "unusable": tally.unusable})
        self.bar.update(asked, unusable=tally.unusable)


def finish(run: Run, step: int, numbers: Mapping[str, float]) -> None:
    """The last line of metrics and a checkpoint: the run is done, resuming it changes nothing."""
    run.log(step, numbers)
    run.checkpoint(step, {}, {})


def last_step(study: Study, config: GenerateConfig) -> int:
    """A step behind all that `generate` logs."""
    return study.steps * (config.ask.pilot_rounds + 1) + 1


def _write(run: Run, study: Study, made: Cohort, matching: Matching | None, tally: Tally) -> None:
    write_cohort(run.path / COHORT, made, layout(study))
    card = {
        "people": len(made),
        "decisions": made.rows,
        "asked": tally.asked,
        "unusable": tally.unusable,
        "first_unusable": tally.first_unusable,
        "matched": matching is not None,
        "reward": float(np.mean(made[study.names.reward])),
    }
    if matching is not None:
        write_json(run.path / WEIGHTS, matching.state())
    write_json(run.path / CARD, card)
