"""Drawing tokens for many rows at once, with forced tokens, stop strings and grammars.

Works over any `Decoder`. One uniform number per row and position decides a token by inversion of
the cumulative distribution; it comes from a counter-based generator keyed by the seed and the
row's key, so a row's noise is the same in whatever batch it is drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from understudy.lm.base import Completion, FinishReason, LMError, React, Reaction, Sampling


class Decoder(Protocol):
    """Logits for rows fed token by token."""

    def prefill(self, prompts: Sequence[Sequence[int]], copies: int, max_tokens: int) -> Tensor:
        """Logits [U·G, V] of the first token after each prompt, copies fastest."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Logits [U·G, V] after one more token [U·G] per row."""
        ...

    def keep(self, prompts: Sequence[int]) -> None:
        """Forgets all prompts but these (ascending places among those it has), with their rows."""
        ...


class TokenMasker(Protocol):
    """Says which tokens a row may draw next, e.g. under a grammar."""

    def apply(self, rows: Sequence[int], logits: Tensor) -> Tensor:
        """Logits [len(rows), V] with −∞ where a token is not allowed; one of every row must be."""
        ...

    def accept(self, row: int, token: int) -> None:
        """`row` has drawn `token`."""
        ...


class Texts(Protocol):
    """What the sampler must know of a tokenizer."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`."""
        ...

    def pieces(self) -> Sequence[str]:
        """The text of each token of the vocabulary by itself."""
        ...


@dataclass(slots=True)
class Row:
    """A completion under way."""

    index: int
    limit: int
    """Most tokens it may have."""
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    sampled: list[bool] = field(default_factory=list[bool])
    forced: deque[int] = field(default_factory=deque[int])
    own_start: int = 0
    """Where the model's own text since the last forced token begins."""
    finish: FinishReason | None = None

    def add(self, token: int, logprob: float, *, sampled: bool) -> None:
        """One more token."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        self.sampled.append(sampled)
        if not sampled:
            self.own_start = len(self.ids)

    def completion(self) -> Completion:
        """As it is now."""
        return Completion(
            tuple(self.ids), tuple(self.logprobs), tuple(self.sampled), self.finish or "length"
        )


@dataclass(frozen=True, slots=True)
class Job:
    """All that `generate` needs besides a decoder; `limits` [U] are tokens per completion.

    Raises:
        LMError: the options make no sense.
    """

    prompts: Sequence[Sequence[int]]
    copies: int
    limits: Sequence[int]
    sampling: Sampling
    texts: Texts
    triggers: tuple[str, ...] = ()
    react: React | None = None
    row_keys: Sequence[int] | None = None
    masker: TokenMasker | None = None

    def __post_init__(self) -> None:
        own, rows = self.sampling, len(self.prompts) * self.copies
        problems = {
            f"copies must be at least 1, got {self.copies}": self.copies < 1,
            f"max_tokens must not be negative, got {own.max_tokens}": own.max_tokens < 0,
            f"temperature must not be negative, got {own.temperature}": own.temperature < 0,
            f"top_p must be in (0, 1], got {own.top_p}": not 0 < own.top_p <= 1,
            f"top_k must not be negative, got {own.top_k}": own.top_k < 0,
            "an empty string cannot be a stop string or trigger": "" in (*own.stop, *self.triggers),
        }
        for problem, holds in problems.items():
            if holds:
                raise LMError(problem)
        if self.row_keys is not None and len(self.row_keys) != rows:
            raise LMError(f"{len(self.row_keys)} row keys for {rows} rows")

    def rows(self) -> list[Row]:
        """All completions [U·G], copies fastest, with nothing in them."""
        limits = [limit for limit in self.limits for _ in range(self.copies)]
        return [Row(index, limit) for index, limit in enumerate(limits)]

    def completions(self, rows: Sequence[Row]) -> list[list[Completion]]:
        """What `rows` have become [U][G]."""
        found = [row.completion() for row in rows]
        return [found[start : start + self.copies] for start in range(0, len(rows), self.copies)]


def generate(decoder: Decoder, job: Job) -> list[list[Completion]]:
    """Completions [U][G] of the prompts of `job`.

    Only sampled tokens fire triggers, stop strings and ends; forced ones do not. When a reaction
    ends a row, the text it appends is recorded but not fed. An end token, and the tokens of a stop
    string, stay in `ids`; the text given to `react` stops before the stop string.
    """
    rows = job.rows()
    longest = max(job.limits, default=0)
    noise = uniforms(job.sampling.seed, job.row_keys or range(len(rows)), longest)
    watch, held = Watch(job), rows
    logits = decoder.prefill(job.prompts, job.copies, longest - 1) if longest else torch.empty(0)
    for time in range(longest):
        drawn, logprobs = _draw_held(held, logits, noise[:, time], job)
        for row, token, logprob in zip(held, drawn, logprobs, strict=True):
            if row.finish is None:
                advance(row, token, logprob, watch)
        places = _unfinished(held, job.copies)
        if not places:
            break
        if 2 * len(places) <= len(held) // job.copies:
            decoder.keep(places)
            held = [held[p * job.copies + g] for p in places for g in range(job.copies)]
        fed = torch.tensor([row.ids[-1] for row in held], device=logits.device)
        logits = decoder.step(fed)
    return job.completions(rows)


def advance(row: Row, token: int, logprob: float, watch: Watch) -> None:
    """Adds the forced token that waits, else the drawn one."""
    if row.forced:
        row.add(row.forced.popleft(), 0.0, sampled=False)
    else:
        row.add(token, logprob, sampled=True)
        watch(row)
    if row.finish is None and len(row.ids) >= row.limit:
        row.finish = "length"


def _unfinished(held: Sequence[Row], copies: int) -> list[int]:
    """Places of the prompts that have a row still going."""
    going = {place // copies for place, row in enumerate(held) if row.finish is None}
    return sorted(going)


def uniforms(seed: int, keys: Sequence[int], length: int) -> np.ndarray:
    """Noise in [0, 1), float64 [len(keys), length]: Philox 4x64 keyed by (seed, row key)."""
    words = np.array([[seed % 2**64, key % 2**64] for key in keys], dtype=np.uint64)
    return np.stack([np.random.Generator(np.random.Philox(key=k)).random(length) for k in words])


@torch.inference_mode()
def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """One token [B] per row of `logits` [B, V], and its log-probability [B].

    The log-probability is that of the distribution drawn from: temperature, top-k and top-p in this
    order, renormalised. Greedy draws have log-probability 0.

    Raises:
        LMError: the logits are not finite, or nothing is allowed.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        best, token = logits.max(dim=-1)
        _check_finite(best)
        return token, torch.zeros_like(best)
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if 0 < sampling.top_k < logits.shape[-1] or sampling.top_p < 1:
        probabilities = _truncate(probabilities, sampling)
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[:, -1:]
    _check_finite(total)
    # Strictly below the total, else a row whose uniform rounds up to 1 would fall off the end.
    level = (uniform[:, None].to(total) * total).minimum(total.nextafter(torch.zeros_like(total)))
    token = torch.searchsorted(cumulative, level, right=True)
    return token[:, 0], (probabilities.gather(1, token) / total).log()[:, 0]


def _truncate(probabilities: Tensor, sampling: Sampling) -> Tensor:
    """Zero outside the `top_k` likeliest tokens and the smallest set of mass `top_p`."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    if 0 < sampling.top_k < ordered.shape[-1]:
        ordered[:, sampling.top_k :] = 0
        ordered /= ordered.sum(dim=-1, keepdim=True)
    if sampling.top_p < 1:
        before = ordered.cumsum(dim=-1) - ordered
        ordered[before >= sampling.top_p] = 0
    return torch.zeros_like(probabilities).scatter_(1, order, ordered)


def _check_finite(values: Tensor) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row = int((~finite).flatten().nonzero()[0])
        raise LMError(f"row {row}: no finite logit to draw from (diverged, or nothing is allowed)")


def _draw_held(
    held: Sequence[Row], logits: Tensor, uniform: np.ndarray, job: Job
) -> tuple[list[int], list[float]]:
    """A token and its log-probability for each row; of no meaning for rows that do not draw."""
    drawing = [place for place, row in enumerate(held) if row.finish is None and not row.forced]
    if not drawing:
        return [0] * len(held), [0.0] * len(held)
    indices = [row.index for row in held]
    if job.masker is not None:
        logits = logits.float().clone()
        logits[drawing] = job.masker.apply([indices[p] for p in drawing], logits[drawing])
    noise = torch.from_numpy(uniform[indices]).to(logits.device)
    tokens, logprobs = draw(logits, noise, job.sampling)
    return tokens.tolist(), logprobs.tolist()


class Watch:
    """What happens to a row after a sampled token: ends, stop strings, triggers, the grammar."""

    def __init__(self, job: Job) -> None:
        self._texts, self._masker, self._react = job.texts, job.masker, job.react
        self._ends, self._stops = job.texts.eos_ids, job.sampling.stop
        self._triggers = job.triggers if job.react is not None else ()
        self._characters = {text[-1] for text in (*self._stops, *self._triggers)}
        self._suspects = _ending_tokens(job.texts, self._characters)

    def pauses(self) -> list[int]:
        """Tokens after which something may happen; all of them, but for parts of characters."""
        pieces = self._texts.pieces() if self._suspects else ()
        whole = {i for i in self._suspects if not self._characters.isdisjoint(pieces[i])}
        return sorted(self._ends | whole)

    def __call__(self, row: Row) -> None:
        """`row` has drawn its last token."""
        token = row.ids[-1]
        if self._masker is not None:
            self._masker.accept(row.index, token)
        if token in self._ends:
            self._end(row, len(self._texts.decode(row.ids)))
        elif token in self._suspects:
            own, text = self._texts.decode(row.ids[row.own_start :]), self._texts.decode(row.ids)
            cuts = [cut for stop in self._stops if (cut := own.find(stop)) >= 0]
            if cuts:
                self._end(row, len(text) - len(own) + min(cuts))
            elif self._react is not None and text.endswith(self._triggers):
                self._respond(row, self._react(row.index, text, ended=False))

    def _end(self, row: Row, length: int) -> None:
        row.finish = "stop"
        if self._react is not None:
            self._react(row.index, self._texts.decode(row.ids)[:length], ended=True)

    def _respond(self, row: Row, reaction: Reaction | None) -> None:
        if reaction is None:
            return
        row.forced.extend(self._texts.encode(reaction.append))
        if reaction.done:
            while row.forced and len(row.ids) < row.limit:
                row.add(row.forced.popleft(), 0.0, sampled=False)
            row.finish = "environment"


def _ending_tokens(texts: Texts, characters: set[str]) -> frozenset[int]:
    """Tokens whose text holds one of `characters`, or part of a character."""
    if not characters:
        return frozenset()
    wanted = characters | {"\ufffd"}
    return frozenset(i for i, piece in enumerate(texts.pieces()) if not wanted.isdisjoint(piece))
