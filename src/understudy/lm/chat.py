"""A model in this process that answers messages, under a grammar where a form is asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from understudy.lm import structured
from understudy.lm.base import Completion, Reply, Request, Sampling, Schema
from understudy.lm.grammar import Grammar, GrammarMasker
from understudy.lm.local import LocalLM
from understudy.types import Usage


class LocalChat:
    """A `LocalLM` as `ChatLM` and `ChoiceLM`.

    Requests with equal sampling are one batch. A request's noise depends on its seed and sample index
    alone. With a schema the form holds by construction; `max_tokens` is raised where a valid answer
    could not be finished within it.
    """

    def __init__(self, lm: LocalLM, *, name: str) -> None:
        """`name` is the model's in cache keys and reports."""
        self.lm, self._name = lm, name
        self._grammars: dict[Schema, Grammar] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in the order of `requests`."""
        replies: dict[int, Reply] = {}
        batches: dict[tuple[Sampling, bool], list[int]] = {}
        for i, request in enumerate(requests):
            batches.setdefault((request.sampling, request.schema is not None), []).append(i)
        for (sampling, _), places in batches.items():
            answered = self._answer([requests[i] for i in places], sampling)
            replies.update(zip(places, answered, strict=True))
        return [replies[i] for i in range(len(requests))]

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        """Log-probability of each option as the whole answer, normalised over the options."""
        end = min(self.lm.eos_ids)
        prompt = self.lm.prompt_ids(request.messages)
        answers = [[*self.lm.encode(option), end] for option in options]
        scores = self.lm.logprobs([prompt], [answers]).detach().double().sum(-1)
        return (scores - scores.logsumexp(0)).tolist()

    def _answer(self, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
        started = time.monotonic()
        prompts = [self.lm.prompt_ids(r.messages) for r in requests]
        masker = None
        if requests[0].schema is not None:
            grammars = [self._grammar(r.schema) for r in requests if r.schema is not None]
            masker = GrammarMasker(self.lm, grammars)
            longest = max(sampling.max_tokens, *(g.max_tokens for g in grammars))
            sampling = replace(sampling, max_tokens=longest, stop=())
        keys = [r.sample_index for r in requests]
        groups = self.lm.sample(prompts, sampling, row_keys=keys, masker=masker)
        seconds = (time.monotonic() - started) / len(requests)
        return [
            self._reply(r, p, g[0], seconds)
            for r, p, g in zip(requests, prompts, groups, strict=True)
        ]

    def _reply(
        self, request: Request, prompt: Sequence[int], found: Completion, seconds: float
    ) -> Reply:
        text = self.lm.decode(found.ids)
        for stop in request.sampling.stop if request.schema is None else ():
            text = text.split(stop, 1)[0]
        usage = Usage(
            calls=1, prompt_tokens=len(prompt), completion_tokens=len(found.ids), seconds=seconds
        )
        value = structured.parse(text, request.schema) if request.schema is not None else None
        return Reply(text, value, found.finish_reason, usage)

    def _grammar(self, schema: Schema) -> Grammar:
        if schema not in self._grammars:
            self._grammars[schema] = Grammar(self.lm, schema)
        return self._grammars[schema]
