"""Simulators without a language model, which one has to beat.

`resampled_days` needs the people's data themselves. `Markov` and `Copula` know only a profile, as
a language model does, answer one decision at a time and can be acted upon:

- Markov: each measure moves from its last value by the counted moves after the action taken;
  measures do not know of each other, nor people of themselves.
- Copula: each decision's measures come jointly from a Gaussian copula with the rank correlations
  of the profile and its marginals by action and part of the day; decisions do not know each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from understudy.envs.study.course import Caps, Course, Reports, Values
from understudy.envs.study.declare import Reported, Study, StudyError
from understudy.envs.study.play import Policy, play
from understudy.ops.cohort import Bools, Cohort, Floats, Ints
from understudy.ops.cohort_statistics import Profile
from understudy.ops.cohort_summary import correlations, hazard


def resampled_days(
    study: Study, cohort: Cohort, people: int, rng: np.random.Generator, prefix: str = "days-"
) -> Cohort:
    """People made of days of people, drawn with replacement; each as long as a drawn person was.

    Args:
        study: the declaration.
        cohort: whose days.
        people: how many to make.
        rng: of the draws.
        prefix: of their ids.
    """
    day = cohort[study.names.day].astype(np.int64)
    new = cohort.first.copy()
    new[1:] |= day[1:] != day[:-1]
    begins = np.flatnonzero(new)
    sizes: Ints = np.diff(np.append(begins, cohort.rows))
    days = np.bincount(cohort.person[begins], minlength=len(cohort))
    taken: list[Ints] = []
    dates: list[Ints] = []
    lengths = np.zeros(people, dtype=np.int64)
    for person in range(people):
        chosen = rng.integers(len(begins), size=int(days[rng.integers(len(cohort))]))
        for date, index in enumerate(chosen.tolist()):
            taken.append(np.arange(int(sizes[index])) + begins[index])
            dates.append(np.full(sizes[index], date))
        lengths[person] = sizes[chosen].sum()
    rows = np.concatenate(taken)
    found = {name: column[rows] for name, column in cohort.columns.items()}
    found[study.names.day] = np.concatenate(dates).astype(np.float64)
    return Cohort(tuple(f"{prefix}{i}" for i in range(people)), lengths, found)


def simulate(
    study: Study, whole: Profile, how: str, policy: Policy, people: int, rng: np.random.Generator
) -> Cohort:
    """A cohort of `how` ("markov" or "copula") from a profile.

    Raises:
        StudyError: no such baseline, or a profile that lacks what it needs.
    """
    kinds = {"markov": Markov, "copula": Copula}
    if how not in kinds:
        raise StudyError(f"baseline {how!r} is unknown; there are {', '.join(kinds)}")
    players = ProfilePeople(study, whole, kinds[how](whole, people), rng)
    return play(study, players, policy, people, rng, prefix=f"{how}-")


class Drawing(Protocol):
    """How measures are drawn: what differs between the baselines."""

    last: dict[str, Ints]
    """[N] by measure, the index of the last level; -1 at the start."""

    def draw(self, part: Ints, actions: Ints, rng: np.random.Generator) -> Values:
        """[N] each measure after these actions in these parts of the day."""
        ...


class ProfilePeople:
    """N people who answer by measures drawn from a profile; see `envs.study.play.People`."""

    def __init__(
        self, study: Study, whole: Profile, drawing: Drawing, rng: np.random.Generator
    ) -> None:
        self._study, self._drawing, self._rng = study, drawing, rng
        self._hazard = hazard(whole.last_days)
        self._feeds = {r.name: _feeds(study, whole, r) for r in study.reported}

    def respond(self, course: Course, actions: Ints) -> tuple[Reports, Bools]:
        """Reports that fit the drawn measures as far as the caps allow, and who would leave."""
        memory = course.memory
        drawn = self._drawing.draw(memory.part, actions, self._rng)
        caps = course.caps(actions)
        reports: Values = {}
        for report in self._study.reported:
            value, count = self._feeds[report.name]
            cap = caps[report.name]
            if report.kind == "ratings":
                reports[report.name] = _ratings(report, drawn[value], drawn[count], cap)
            else:
                number = drawn[value] if report.kind == "number" else np.rint(drawn[value])
                reports[report.name] = np.clip(number, cap.low, cap.high)
        day = np.minimum(memory.day, len(self._hazard) - 1)
        return reports, self._rng.random(len(actions)) < self._hazard[day]

    def replace(self, rows: Bools) -> None:
        """Others come."""
        for last in self._drawing.last.values():
            last[rows] = -1

    def arrays(self) -> Mapping[str, Floats]:
        """What they were last."""
        return {name: last.astype(np.float64) for name, last in self._drawing.last.items()}

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Puts back what `arrays` gave."""
        for name, last in self._drawing.last.items():
            last[...] = arrays[name].astype(np.int64)


class Markov:
    """Each measure by its own chain."""

    def __init__(self, whole: Profile, n: int, smooth: float = 1.0) -> None:
        """`smooth` rows of the marginal are added to each counted row of moves."""
        self._whole, self._smooth = whole, smooth
        self.last = {name: np.full(n, -1, dtype=np.int64) for name in whole.measures}

    def draw(self, part: Ints, actions: Ints, rng: np.random.Generator) -> Values:
        """See `Drawing`."""
        found: Values = {}
        for name, counts in self._whole.measures.items():
            last = self.last[name]
            usual = _normal(counts.table[part, actions])
            moves = counts.moves[actions, np.maximum(last, 0)]
            chance = usual * self._smooth + np.where(last[:, None] >= 0, moves, 0.0)
            at = _choose(_normal(chance), rng.random(len(part)))
            last[...] = at
            found[name] = counts.levels[at]
        return found


class Copula:
    """The measures of a decision jointly, each decision anew."""

    def __init__(self, whole: Profile, n: int) -> None:
        self._whole, self._n = whole, n
        self.last: dict[str, Ints] = {}
        pearson = 2 * np.sin(np.pi * correlations(whole) / 6)
        values, vectors = np.linalg.eigh(pearson)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        self._root = root / np.sqrt((root**2).sum(axis=1, keepdims=True))

    def draw(self, part: Ints, actions: Ints, rng: np.random.Generator) -> Values:
        """See `Drawing`."""
        normal = rng.standard_normal((len(part), len(self._root))) @ self._root.T
        below = np.vectorize(math.erf)(normal / math.sqrt(2)) / 2 + 0.5
        return {
            name: counts.levels[_choose(_normal(counts.table[part, actions]), below[:, index])]
            for index, (name, counts) in enumerate(self._whole.measures.items())
        }


def _normal(counts: Floats) -> Floats:
    """[N, L] probabilities; even where nothing was counted."""
    total = counts.sum(axis=1, keepdims=True)
    even = np.full_like(counts, 1 / counts.shape[1])
    return np.divide(counts, total, out=even, where=total > 0)


def _choose(probabilities: Floats, below: Floats) -> Ints:
    """[N] the index at which each row's cumulative probability passes `below`."""
    at = (probabilities.cumsum(axis=1) < below[:, None] - 1e-12).sum(axis=1)
    return np.minimum(at, probabilities.shape[1] - 1)


def _ratings(report: Reported, mean: Floats, count: Floats, cap: Caps) -> Floats:
    """[N, K] so many ratings, as equal as whole numbers of about that mean can be."""
    n = np.minimum(np.rint(count).astype(np.int64), cap.most)
    total = np.rint(np.clip(mean, report.low, report.high) * n).astype(np.int64)
    least, more = np.divmod(total, np.maximum(n, 1))
    slot = np.arange(max(int(n.max(initial=0)), 1))
    ratings = least[:, None] + (slot < more[:, None])
    return np.where(slot < n[:, None], ratings.astype(np.float64), np.nan)


def _feeds(study: Study, whole: Profile, report: Reported) -> tuple[str, str]:
    """The measures that give a report its values and, for ratings, their number."""
    of = {d.rule: d.name for d in study.derived if d.of == report.name}
    if report.kind != "ratings":
        values, counts = [report.name, f"{of.get('sum')}.new"], []
    else:
        values = [f"{report.name}.mean", *(of[r] for r in ("median", "mean") if r in of)]
        counts = [f"{of.get('count')}.new"]
    value = next((name for name in values if name in whole.measures), None)
    count = next((name for name in counts if name in whole.measures), None)
    if value is None or (counts and count is None):
        raise StudyError(f"the profile says nothing from which {report.name} could be drawn")
    return value, count or ""
