"""Answers from a recording, and the recording of a model that is not an endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from understudy.lm import structured
from understudy.lm.base import ChatLM, ChoiceLM, LMError, Reply, Request
from understudy.lm.cache import Cache, key_of, request_json
from understudy.lm.ledger import Answer, Ask, Ledger
from understudy.types import Usage


class ReplayLM:
    """A ChatLM that says again what another said; it never asks anyone.

    Args:
        path: The cache file of an earlier run (`lm/cache.sqlite`).
        model: Whose answers, where the file holds those of several models.

    Raises:
        LMError: There is no such recording.
    """

    def __init__(self, path: Path, model: str | None = None):
        if not path.is_file():
            raise LMError(f"{path}: no such recording")
        self._cache = Cache(path, readonly=True)
        models = self._cache.models()
        if model is None and len(models) == 1:
            model = models[0]
        if model not in models:
            self._cache.close()
            held = ", ".join(models) or "no answers"
            raise LMError(f"{path}: which model? asked for {model}, the recording holds {held}")
        self._path = path
        self._name: str = model

    @property
    def name(self) -> str:
        """The model that was recorded."""
        return self._name

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """The recorded answers.

        Raises:
            LMError: A request was never answered in the recording.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply:
        raw = self._find(request)
        if raw is None:
            raise self._miss("answer", request)
        reply = structured.settle(request, raw)
        again = structured.repair(request, reply)
        # a model that decodes under a grammar is never asked again, so its recording has no repair
        second = None if again is None else self._find(again)
        if again is None or second is None:
            return reply
        settled = structured.settle(again, second)
        return replace(settled, usage=Usage(cached_calls=2), first=reply.cost + second.cost)

    def _miss(self, what: str, request: Request) -> LMError:
        start = " ".join(request.messages[-1].content.split())[:80] if request.messages else ""
        return LMError(f"{self._path}: no recorded {what} to {start!r} (model {self._name})")

    def _find(self, request: Request) -> Reply | None:
        return self._cache.get(key_of(request_json(self._name, request)))

    def has_scores(self) -> bool:
        """Whether the model was asked to score answers, not only to give them."""
        return self._asked_for("score")

    def has_steered(self) -> bool:
        """Whether answers were steered."""
        return self._asked_for("steer")

    def _asked_for(self, key: str) -> bool:
        # quotes inside JSON strings are escaped, so this is a key of the request
        query = "SELECT 1 FROM answers WHERE model = ? AND request LIKE ? LIMIT 1"
        return bool(self._cache.rows(query, (self._name, f'%,"{key}":[%')))

    def close(self) -> None:
        """Closes the recording."""
        self._cache.close()


class ReplayChoiceLM(ReplayLM):
    """A recording of a model that could also score answers."""

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        """The recorded scores.

        Raises:
            LMError: These options were never scored in the recording.
        """
        found = self._cache.get(key_of(_score_json(self._name, request, options)))
        if found is None:
            raise self._miss("scores of answers", request)
        return json.loads(found.text)


def open_replay(path: Path, model: str | None = None) -> ReplayLM:
    """A recording as what it can stand in for: a ChoiceLM if it holds scores, else a ChatLM.

    Raises:
        LMError: There is no such recording.
    """
    replay = ReplayLM(path, model)
    if not replay.has_scores():
        return replay
    replay.close()
    return ReplayChoiceLM(path, replay.name)


def _score_json(model: str, request: Request, options: Sequence[str]) -> str:
    asked = json.loads(request_json(model, request)) | {"score": list(options)}
    return json.dumps(asked, sort_keys=True, separators=(",", ":"))


class CachedLM:
    """A model of one's own behind the cache and the ledger; money aside, like an endpoint.

    Args:
        inner: The model. Its sampling must depend on the request alone.
        cache: Where answers are recorded.
        ledger: Where calls and tokens are counted; of the same file.
    """

    def __init__(self, inner: ChatLM, cache: Cache, ledger: Ledger):
        if ledger.cache is not cache:
            raise LMError("a ledger and the cache given with it must be of one file")
        self.inner = inner
        self.cache = cache
        self.ledger = ledger

    @property
    def name(self) -> str:
        """That of the model."""
        return self.inner.name

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Recorded answers where there are any; the rest in one call of the model.

        Raises:
            BudgetExceeded: The rest could pass a cap; none of it was asked.
        """
        documents = [request_json(self.name, request) for request in requests]
        keys = [key_of(document) for document in documents]
        found = {key: reply for key in set(keys) if (reply := self.cache.get(key)) is not None}
        fresh = {key: i for i, key in reversed(list(enumerate(keys))) if key not in found}
        places = sorted(fresh.values())
        answers = self._ask(
            [requests[i] for i in places], [documents[i] for i in places], [keys[i] for i in places]
        )
        new = dict(zip(places, answers, strict=True))
        self.ledger.hits(self.name, len(requests) - len(new))
        self.ledger.export_soon()
        given = {keys[i]: reply for i, reply in new.items()}
        return [
            new[i] if i in new else self._again(request, found.get(key) or given[key])
            for i, (request, key) in enumerate(zip(requests, keys, strict=True))
        ]

    def _again(self, request: Request, reply: Reply) -> Reply:
        again = replace(reply, usage=Usage(cached_calls=1), first=reply.cost)
        return structured.settle(request, again)

    def _ask(self, requests: list[Request], documents: list[str], keys: list[str]) -> list[Reply]:
        if not requests:
            return []
        tickets = self.ledger.reserve(
            [
                Ask(key, self.name, _most_tokens(request), request.sampling.max_tokens, free=True)
                for request, key in zip(requests, keys, strict=True)
            ]
        )
        start = time.monotonic()
        try:
            replies = self.inner.chat(requests)
        except BaseException:
            for ticket in tickets:
                self.ledger.settle(ticket, "refused")  # one's own model bills nobody
            raise
        share = (time.monotonic() - start) / len(requests)

        def record(_: object) -> None:
            for ticket, document, reply in zip(tickets, documents, replies, strict=True):
                self.ledger.settle(
                    ticket,
                    "done",
                    tokens=(reply.usage.prompt_tokens, reply.usage.completion_tokens),
                    seconds=share,
                    answer=Answer(document, reply),
                )

        self.cache.transact(record)  # one trip to the disk for the whole batch
        return replies


class CachedChoiceLM(CachedLM):
    """A CachedLM whose model can also score answers."""

    def __init__(self, inner: ChoiceLM, cache: Cache, ledger: Ledger):
        super().__init__(inner, cache, ledger)
        self._scorer = inner

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        """Natural-log probability of each option, recorded like any answer."""
        document = _score_json(self.name, request, options)
        key = key_of(document)
        found = self.cache.get(key)
        if found is not None:
            self.ledger.hits(self.name, 1)
            return json.loads(found.text)
        size = _most_tokens(request) + sum(len(option.encode()) for option in options)
        ticket = self.ledger.reserve([Ask(key, self.name, size, 0, free=True)])[0]
        start = time.monotonic()
        try:
            scores = self._scorer.score_choices(request, options)
        except BaseException:
            self.ledger.settle(ticket, "refused")
            raise
        self.ledger.settle(
            ticket,
            "done",
            seconds=time.monotonic() - start,
            estimated=True,  # nobody says how many tokens were read: the upper bound counts
            answer=Answer(document, Reply(json.dumps(scores))),
        )
        return scores


def _most_tokens(request: Request) -> int:
    """No fewer tokens than the prompt can have: one per byte, and what a chat template may add."""
    words = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    return words + 16 * len(request.messages) + 64
