"""Canaries: people made up at random, planted among the real ones before these are counted.

Nothing of one person may reach a model. If something of the canaries is in what a model was asked or
said, more than of others like them who were planted nowhere, then real people got there too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from understudy.envs.study.course import Course, Reports, Values
from understudy.envs.study.declare import Study
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.lm.cache import Cache
from understudy.ops.cohort import Bools, Cohort, Ints
from understudy.ops.leaks import exposure

CANARIES = "canaries.csv"
RECORDING = Path("lm") / "cache.sqlite"
PREFIX = "canary-"
OTHERS = 31
"""Canaries planted nowhere, with whom those are compared."""
MARKS = 12
"""Moments that a canary is searched by: those with most digits."""
NO_DIGITS = re.compile(r"\D+")
LEAST = 4
"""Digits of a moment that could be nobody else's."""


class _Wild:
    """Anything possible: all ratings of a day at one moment, everything else at random."""

    def __init__(self, study: Study, rng: np.random.Generator) -> None:
        self.study, self.rng = study, rng

    def respond(self, course: Course, actions: Ints) -> tuple[Reports, Bools]:
        """See `understudy.envs.study.play.Answers`."""
        n, caps, rng = len(actions), course.caps(actions), self.rng
        reports: Values = {}
        for report in self.study.reported:
            cap, whole = caps[report.name], report.kind != "number"
            shape = (n, self.study.capacity(report)) if report.kind == "ratings" else (n, 1)
            low, high = cap.low[:, None], cap.high[:, None]
            drawn = low + rng.random(shape) * (high - low + whole)
            drawn = np.minimum(np.floor(drawn), high) if whole else np.round(drawn, 3)
            if report.kind == "ratings":
                now = rng.random(n) < 1 / (len(self.study.parts) - course.memory.part)
                most = np.where(now, cap.most, 0)
                drawn[np.arange(shape[1]) >= most[:, None]] = np.nan
            reports[report.name] = drawn if report.kind == "ratings" else drawn[:, 0]
        return reports, np.zeros(n, dtype=np.bool_)


def invent(study: Study, n: int, rng: np.random.Generator) -> Cohort:
    """Canaries: n people whose ids and reports nobody else has."""
    name = f"{PREFIX}{rng.integers(16**12):012x}-"
    return play(study, _Wild(study, rng), uniform(study), n, rng, name)


def plant(study: Study, people: Cohort, n: int, rng: np.random.Generator) -> tuple[Cohort, Cohort]:
    """People with n canaries among them, and the canaries.

    What is counted of people then is a little wrong: each canary weighs as one of them.
    """
    canaries = invent(study, n, rng)
    columns = {
        name: np.concatenate([column, canaries[name]])
        for name, column in people.columns.items()
        if name in canaries.columns
    }
    lengths = np.concatenate([people.lengths, canaries.lengths])
    return Cohort((*people.people, *canaries.people), lengths, columns), canaries


def search(
    study: Study, canaries: Cohort, texts: Iterable[str], rng: np.random.Generator
) -> dict[str, float]:
    """What of canaries is found in texts.

    Args:
        study: the declaration.
        canaries: those that were planted.
        texts: questions and answers of a model, or anything else that was made from the data.
        rng: invents the others, whom nobody was told of.

    Returns:
        How many were planted, the number of texts with the id of one, the greatest exposure in bits
        (`understudy.ops.leaks.exposure`), and the greatest there could be.
    """
    unique = set(texts)
    named = sum(any(name in text for name in canaries.people) for text in unique)
    told = "\n".join({NO_DIGITS.sub("", text) for text in unique})
    found, others = (
        np.array([sum(mark in told for mark in marks) for marks in _marks(study, cohort)], float)
        for cohort in (canaries, invent(study, OTHERS, rng))
    )
    return {
        "canaries planted": float(len(canaries)),
        "texts that name a canary": float(named),
        "canary exposure in bits": float(exposure(found, others).max()),
        "canary exposure at most": math.log2(OTHERS + 1),
    }


def _marks(study: Study, cohort: Cohort) -> Iterator[set[str]]:
    """The digits of each person's longest reports, as any way of writing numbers leaves them."""
    for span in cohort.spans():
        texts = {text for text in _reports(study, cohort, span) if len(text) >= LEAST}
        yield set(sorted(texts, key=lambda text: (-len(text), text))[:MARKS])


def _reports(study: Study, cohort: Cohort, rows: slice) -> Iterator[str]:
    names = [r.name for r in study.reported if r.name in cohort.columns]
    values = [np.atleast_2d(cohort[name][rows].T).T for name in names]
    for row in np.concatenate(values, axis=1):
        yield NO_DIGITS.sub("", " ".join(f"{v:g}" for v in row if not np.isnan(v)))


def search_run(
    study: Study, canaries: Cohort, run: Path, made: Cohort, rng: np.random.Generator
) -> dict[str, float]:
    """`search` in the recording of a run, where there is one, and in the cohort.

    Raises:
        LMError: the recording is damaged.
    """
    texts = [*recorded(run / RECORDING), *_reports(study, made, slice(0, made.rows))]
    return search(study, canaries, texts, rng)


def recorded(recording: Path) -> Iterator[str]:
    """All that a model was told and said; nothing where there is no recording.

    Raises:
        LMError: the recording is damaged.
    """
    if not recording.is_file():
        return
    cache = Cache(recording, readonly=True)
    try:
        for request, reply in cache.rows("SELECT request, reply FROM answers"):
            yield from (content for _, content in json.loads(request)["messages"])
            yield json.loads(reply)["text"]
    finally:
        cache.close()
