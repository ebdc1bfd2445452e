"""Who is asked what to do next: distributions over plans for scenes in words.

A planner sees a scene's text, never its coordinates, and is asked once for each distinct text:
what it answers is kept in a book, which is a file that ships with a run and serves later runs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field, create_model

from understudy.envs.grid import expert
from understudy.envs.grid.plan_task import question
from understudy.envs.grid.plans import (
    ALONE,
    EXPLORE,
    INSTRUCTIONS,
    MAX_STEPS,
    WITH_OBJECT,
    Plan,
    PlanError,
    Step,
    candidates,
    read,
    write,
)
from understudy.envs.grid.scene import Words
from understudy.lm.base import ChatLM, ChoiceLM, Request, Sampling, Unparsed
from understudy.run.errors import RunError
from understudy.types import Message

Options = tuple[tuple[Plan, float], ...]
"""Plans with their probabilities, which sum to 1."""

NEGLIGIBLE = 0.01
"""Plans less likely than this are left out."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a planner is asked about."""

    mission: str
    words: Words


class Planner(Protocol):
    """Scenes to distributions over plans."""

    def plans(self, scenes: Sequence[Scene]) -> list[Options]:
        """One distribution per scene."""
        ...


class ExpertPlanner:
    """The scripted expert, with mistakes in `noise` of its advice."""

    def __init__(self, noise: float = 0.0) -> None:
        """`noise` is the share that goes to all plans of one step alike."""
        self.noise = noise

    def plans(self, scenes: Sequence[Scene]) -> list[Options]:
        """See `Planner`."""
        return [self._one(scene) for scene in scenes]

    def _one(self, scene: Scene) -> Options:
        best = expert.plan(scene.mission, scene.words)
        if self.noise == 0:
            return ((best, 1.0),)
        others = candidates(scene.words.objects, scene.words.held)
        shares = {best: 1.0 - self.noise}
        for plan in others:
            shares[plan] = shares.get(plan, 0.0) + self.noise / len(others)
        return tuple(shares.items())


@dataclass
class Book:
    """Answers by text: one JSON line each, appended as they come.

    A line is {text, plans: [[plan in words, probability], …], raw, fallback}; the first line names
    the model and the prompt, and a book of others is refused.
    """

    path: Path
    key: dict[str, str]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @classmethod
    def open(cls, path: Path, key: dict[str, str] | None) -> Book:
        """Reads a book; begins it, if `key` says what it is of and there is none.

        Raises:
            RunError: it cannot be read, or is of another model or prompt.
        """
        try:
            if not path.exists() and key is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(key) + "\n", encoding="utf-8")
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise RunError(f"{path}: {error.strerror or error}") from error
        book = cls(path, {})
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if number == 1:
                    book.key = {str(k): str(v) for k, v in row.items()}
                else:
                    book.entries[row["text"]] = row
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number == len(lines):
                    break  # the last line of a writer that was killed
                raise RunError(f"{path}:{number}: not a line of a plan book") from error
        if key is not None and book.key != key:
            raise RunError(f"{path}: holds the plans of {book.key}, not of {key}")
        return book

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Writes answers down."""
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
                self.entries[row["text"]] = row


class BookPlanner:
    """Recorded plans: an earlier run's book, or the plans that a model is asked for as it goes."""

    def __init__(self, book: Book, ask: Callable[[Sequence[Scene]], list[dict[str, Any]]] | None) -> None:
        """`ask` answers scenes that are not in the book; without it they are an error."""
        self.book = book
        self.ask = ask

    def plans(self, scenes: Sequence[Scene]) -> list[Options]:
        """See `Planner`.

        Raises:
            RunError: a scene is not in the book and there is no one to ask.
        """
        pairs = zip(scenes, self.rows(scenes), strict=True)
        return [self._options(scene, row) for scene, row in pairs]

    def rows(self, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
        """The book's lines, asked for where they are missing; what `ask` of another book may be."""
        unknown = {s.words.text: s for s in scenes if s.words.text not in self.book.entries}
        if unknown and self.ask is None:
            text = " ".join(next(iter(unknown)).split())
            raise RunError(f"{self.book.path}: no plan is recorded for: {text}")
        if unknown and self.ask is not None:
            self.book.add(self.ask(list(unknown.values())))
        return [self.book.entries[scene.words.text] for scene in scenes]

    def _options(self, scene: Scene, row: dict[str, Any]) -> Options:
        try:
            found = [(read(str(text), scene.words.objects), float(p)) for text, p in row["plans"]]
        except (PlanError, ValueError, TypeError) as error:
            raise RunError(f"{self.book.path}: a plan that cannot be read: {error}") from error
        return tuple(found)

    def is_fallback(self, text: str) -> bool:
        """Whether no usable answer came for a text."""
        return bool(self.book.entries[text].get("fallback"))


class LanguageModel:
    """Asks a language model: exact probabilities of plans where it gives them, else answers."""

    def __init__(self, lm: ChatLM, *, samples: int, temperature: float, instructions: bool) -> None:
        """See `AdviceConfig`."""
        self.lm, self.samples, self.temperature = lm, samples, temperature
        self.instructions = instructions

    @property
    def key(self) -> dict[str, str]:
        """What the answers depend on besides the scene."""
        prompt = hashlib.sha256(INSTRUCTIONS.encode()).hexdigest()[:12] if self.instructions else ""
        how = "scored" if isinstance(self.lm, ChoiceLM) else f"{self.samples} at {self.temperature}"
        return {"model": self.lm.name, "prompt": prompt, "answers": how}

    def __call__(self, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
        """One row of a book per scene."""
        if isinstance(self.lm, ChoiceLM):
            return [self._scored(self.lm, scene) for scene in scenes]
        return self._sampled(scenes)

    def _request(self, scene: Scene, index: int = 0) -> Request:
        text = question(scene.words, instructions=self.instructions)
        sampling = Sampling(max_tokens=200, temperature=self.temperature, seed=index)
        schema = _schema(scene.words) if not isinstance(self.lm, ChoiceLM) else None
        return Request((Message("user", text),), sampling, schema, sample_index=index)

    def _scored(self, lm: ChoiceLM, scene: Scene) -> dict[str, Any]:
        options = [write(plan) for plan in candidates(scene.words.objects, scene.words.held)]
        logprobs = lm.score_choices(self._request(scene), options)
        found = [(o, math.exp(lp)) for o, lp in zip(options, logprobs, strict=True)]
        return _row(scene, found, raw="")

    def _sampled(self, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
        requests = [self._request(s, i) for s in scenes for i in range(self.samples)]
        replies = self.lm.chat(requests)
        rows: list[dict[str, Any]] = []
        for n, scene in enumerate(scenes):
            mine = replies[n * self.samples : (n + 1) * self.samples]
            plans = [write(p) for p in (_plan(r.value, scene.words) for r in mine) if p is not None]
            found = [(text, plans.count(text) / len(plans)) for text in dict.fromkeys(plans)]
            rows.append(_row(scene, found, raw=mine[0].text))
        return rows


def _row(scene: Scene, found: Sequence[tuple[str, float]], raw: str) -> dict[str, Any]:
    """A line of the book; without a usable answer the plan is to explore, and the line says so."""
    kept = [(text, p) for text, p in found if p >= NEGLIGIBLE]
    total = sum(p for _, p in kept)
    plans = [[text, p / total] for text, p in kept] if kept else [[write(EXPLORE), 1.0]]
    return {"text": scene.words.text, "plans": plans, "raw": raw[:500], "fallback": not kept}


def _schema(words: Words) -> type[BaseModel]:
    """A list of steps, each a verb and, where it needs one, an object that is there."""
    verbs = ALONE + (WITH_OBJECT if words.objects else ())
    step = create_model(
        "Step",
        verb=(StrEnum("Verb", {v: v for v in verbs}), ...),
        object=(StrEnum("Object", {o or "none": o for o in ("", *words.objects)}), ...),
    )
    return create_model(
        "PlanReply", steps=(list[step], Field(min_length=1, max_length=MAX_STEPS))
    )


def _plan(value: Any, words: Words) -> Plan | None:
    """What an answer means, or None where it means nothing here."""
    if value is None or isinstance(value, Unparsed):
        return None
    steps = [Step(s.verb, "" if s.verb in ALONE else s.object) for s in value.steps]
    try:
        return read(write(tuple(steps)), words.objects)
    except PlanError:
        return None
