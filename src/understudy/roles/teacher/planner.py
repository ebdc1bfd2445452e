"""Who is asked what to do next: distributions over answers to questions in words.

A question is a scene in words and the answers that mean something there: plans in a grid, goals in
a particle world. A planner is asked once for each distinct text: what it answers is kept in a book.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.lm.base import ChatLM, ChoiceLM, Request, Sampling, Schema, Unparsed
from understudy.roles.teacher.book import Book, Row
from understudy.run.errors import RunError
from understudy.types import Message

Options = tuple[tuple[str, float], ...]
"""Answers with their probabilities, which sum to 1."""

NEGLIGIBLE = 0.01
"""Answers less likely than this are left out."""
KEPT = 500
"""Characters of a model's own words that the book keeps."""


@dataclass(frozen=True)
class Question:
    """What a planner is asked."""

    text: str
    """What decides the answer: questions with equal texts get equal answers."""
    prompt: str
    """The same as it is put to a language model."""
    instructions: str
    """What a model that was not trained on these questions is told first."""
    options: tuple[str, ...]
    """The answers that probabilities are over, where a model gives probabilities."""
    schema: Schema
    """The form of an answer that is written."""
    read: Callable[[Any], str | None]
    """An answer in that form as one of the texts a teacher understands; None if it is none."""
    expert: Callable[[], str]
    """What the scripted expert answers."""
    fallback: str
    """What is done where no usable answer came."""


class Planner(Protocol):
    """Questions to distributions over answers."""

    def answers(self, questions: Sequence[Question]) -> list[Options]:
        """One distribution per question."""
        ...


class ExpertPlanner:
    """The scripted expert, with mistakes in a share of its advice."""

    def __init__(self, noise: float = 0.0) -> None:
        """`noise` is the share that goes to all options alike."""
        self.noise = noise

    def answers(self, questions: Sequence[Question]) -> list[Options]:
        """See `Planner`."""
        return [self._one(question) for question in questions]

    def _one(self, question: Question) -> Options:
        shares = {question.expert(): 1.0 - self.noise}
        if self.noise:
            for option in question.options:
                shares[option] = shares.get(option, 0.0) + self.noise / len(question.options)
        return tuple(shares.items())


class BookPlanner:
    """Recorded answers: an earlier run's book, or what a model is asked for as it goes."""

    def __init__(
        self, book: Book, ask: Callable[[Sequence[Question]], list[Row]] | None = None
    ) -> None:
        """`ask` answers questions that are not in the book; without it they are an error."""
        self.book, self.ask = book, ask

    def answers(self, questions: Sequence[Question]) -> list[Options]:
        """See `Planner`.

        Raises:
            RunError: a question is not in the book and there is no one to ask.
        """
        return [tuple(row.answers) for row in self.rows(questions)]

    def rows(self, questions: Sequence[Question]) -> list[Row]:
        """The book's rows, asked for where they are missing; what `ask` of another book may be."""
        unknown = {q.text: q for q in questions if q.text not in self.book.rows}
        if unknown and self.ask is None:
            text = " ".join(next(iter(unknown)).split())
            raise RunError(f"{self.book.path}: no answer is recorded for: {text}")
        if unknown and self.ask is not None:
            self.book.add(self.ask(list(unknown.values())))
        return [self.book.rows[question.text] for question in questions]

    def fell_back(self, text: str) -> bool:
        """Whether no usable answer came for a text."""
        return self.book.rows[text].fallback


class LanguageModel:
    """Asks a language model: exact probabilities of the options if it gives them, else answers."""

    def __init__(self, lm: ChatLM, *, samples: int, temperature: float, instructions: bool) -> None:
        """See `AdviceConfig`."""
        self.lm, self.samples, self.temperature = lm, samples, temperature
        self.instructions = instructions

    def key(self, instructions: str) -> dict[str, str]:
        """What the answers depend on besides the text."""
        told = instructions if self.instructions else ""
        scored = isinstance(self.lm, ChoiceLM)
        return {
            "model": self.lm.name,
            "instructions": hashlib.sha256(told.encode()).hexdigest()[:16],
            "answers": "scored" if scored else f"{self.samples} at {self.temperature:g}",
        }

    def __call__(self, questions: Sequence[Question]) -> list[Row]:
        """One row of a book per question."""
        if isinstance(self.lm, ChoiceLM):
            return [self._scored(self.lm, question) for question in questions]
        return self._written(questions)

    def _request(self, question: Question, schema: Schema | None, index: int = 0) -> Request:
        told = question.instructions if self.instructions else ""
        sampling = Sampling(max_tokens=200, temperature=self.temperature, seed=index)
        messages = (Message("user", told + question.prompt),)
        return Request(messages, sampling, schema, sample_index=index)

    def _scored(self, lm: ChoiceLM, question: Question) -> Row:
        logprobs = lm.score_choices(self._request(question, None), question.options)
        found = zip(question.options, map(math.exp, logprobs), strict=True)
        return _row(question, list(found), raw="")

    def _written(self, questions: Sequence[Question]) -> list[Row]:
        n = self.samples
        replies = self.lm.chat([self._request(q, q.schema, i) for q in questions for i in range(n)])
        rows: list[Row] = []
        for start, question in zip(range(0, len(replies), n), questions, strict=True):
            mine = replies[start : start + n]
            usable = [r.value for r in mine if not isinstance(r.value, Unparsed)]
            texts = [t for t in map(question.read, usable) if t is not None]
            found = [(text, texts.count(text) / len(texts)) for text in dict.fromkeys(texts)]
            rows.append(_row(question, found, raw=mine[0].text))
        return rows


def _row(question: Question, found: Sequence[tuple[str, float]], raw: str) -> Row:
    """A row of the book; it says so where no usable answer came."""
    kept = [(text, p) for text, p in found if p >= NEGLIGIBLE]
    total = sum(p for _, p in kept)
    answers = [(text, p / total) for text, p in kept] or [(question.fallback, 1.0)]
    return Row(question.text, tuple(answers), raw[:KEPT], fallback=not kept)
