"""Does a language model keep its promises? Asked before a run, of any backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field

from understudy.lm.base import ChatLM, ChoiceLM, Choices, Codec, LMError, Request, Sampling, TokenLM
from understudy.lm.replay import CachedLM
from understudy.types import Message

_PROMPTS = ("Say something.", "Count from one to ten in words, please.", "Name a colour.", "x")
NOISE = 2e-4
"""Nats, of one token; 1e-5 on average. On the bundled model, which is sharp, each of the two single-
precision computations is up to 4e-5 from the one in double precision, and they are 8e-5 apart."""
_GREEDY = Sampling(max_tokens=24, temperature=0.0)
_DRAWN = Sampling(max_tokens=24, temperature=1.0, seed=7)


class Probe(BaseModel):
    """A form that an answer is asked for."""

    count: int = Field(ge=3, le=17)
    colour: Literal["red", "green"]
    marks: list[int] = Field(min_length=1, max_length=3)


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what was found."""

    checked: tuple[str, ...]
    """Promises, in the order they were tried."""
    problems: tuple[str, ...]
    """One line for each promise that was not kept; empty is good."""

    @property
    def ok(self) -> bool:
        """Whether no promise was broken."""
        return not self.problems


class _BrokenError(Exception):
    """A promise is not kept."""


def check_lm(lm: Any, *, forms: int = 8) -> Report:
    """Tries every promise of the protocols that `lm` has, with about 60 short answers.

    A model of one's own behind a cache is checked itself: its cache would hide what it does.

    Args:
        lm: A ChatLM, a TokenLM that is a Codec too, or both.
        forms: How many answers with a schema are drawn.

    Raises:
        LMError: `lm` is none of them.
    """
    if isinstance(lm, CachedLM):
        lm = lm.inner
    checks: list[tuple[str, Callable[[], None]]] = []
    if isinstance(lm, ChatLM):
        checks += [
            ("replies come in the order of requests", lambda: _order(lm)),
            ("greedy answers repeat", lambda: _greedy(lm)),
            ("a batch is answered as its requests alone", lambda: _alone(lm)),
            ("a stop string ends the answer", lambda: _stop(lm)),
            ("max_tokens ends the answer", lambda: _length(lm)),
            ("sampling follows the seed", lambda: _seeds(lm)),
            ("answers have the asked-for form", lambda: _forms(lm, forms)),
        ]
    if isinstance(lm, ChoiceLM):
        checks.append(("choice scores are a distribution", lambda: _choices(lm)))
    token = getattr(lm, "lm", lm)
    if isinstance(token, TokenLM) and isinstance(token, Codec):
        prompts = [token.prompt_ids(_messages(prompt)) for prompt in _PROMPTS]
        checks += [
            ("sampled log-probabilities are the rescored ones", lambda: _rescored(token, prompts)),
            ("a row's noise depends on its key alone", lambda: _keys(token, prompts)),
            ("copies of a prompt differ", lambda: _copies(token, prompts)),
            ("completions end at max_tokens", lambda: _ends(token, prompts)),
        ]
    if not checks:
        raise LMError(f"{type(lm).__name__} is neither a ChatLM nor a TokenLM with a Codec")
    found = [problem for name, check in checks if (problem := _try(name, check))]
    return Report(tuple(name for name, _ in checks), tuple(found))


def _try(name: str, check: Callable[[], None]) -> str | None:
    try:
        check()
    except (_BrokenError, LMError) as problem:
        return f"{name}: {problem}"
    return None


def _messages(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def _requests(sampling: Sampling, sample_index: int = 0) -> list[Request]:
    return [Request(_messages(p), sampling, sample_index=sample_index) for p in _PROMPTS]


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise _BrokenError(problem)


def _texts(lm: ChatLM, requests: Sequence[Request]) -> list[str]:
    replies = lm.chat(requests)
    _expect(len(replies) == len(requests), f"{len(replies)} replies to {len(requests)} requests")
    return [reply.text for reply in replies]


def _order(lm: ChatLM) -> None:
    options = ("alpha", "beta", "gamma", "delta", "epsilon")
    asked = [Request(_messages(f"Say {o}."), _DRAWN, Choices((o,))) for o in options]
    values = [reply.value for reply in lm.chat(asked)]
    _expect(values == list(options), f"asked for {list(options)}, got {values}")


def _greedy(lm: ChatLM) -> None:
    # another sample index, so that no cache answers
    first, second = (_texts(lm, _requests(_GREEDY, index)) for index in (0, 1))
    _expect(first == second, f"{_difference(first, second)} at temperature 0")


def _alone(lm: ChatLM) -> None:
    for sampling in (_GREEDY, _DRAWN):
        asked = _requests(sampling, 2)
        alone = [_texts(lm, [request])[0] for request in asked]
        together = list(reversed(_texts(lm, list(reversed(asked)))))
        _expect(alone == together, _difference(alone, together))


def _difference(first: Sequence[str], second: Sequence[str]) -> str:
    pair = next((pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]), ("", ""))
    return f"{pair[0][:40]!r} and {pair[1][:40]!r}"


def _stop(lm: ChatLM) -> None:
    for request, text in zip(_requests(_GREEDY), _texts(lm, _requests(_GREEDY)), strict=True):
        if len(text) < 2:
            continue
        stop = text[len(text) // 2]
        sampling = Sampling(max_tokens=24, temperature=0.0, stop=(stop,))
        (reply,) = lm.chat([Request(request.messages, sampling)])
        _expect(stop not in reply.text, f"{stop!r} is in {reply.text[:40]!r}")
        _expect(reply.finish_reason == "stop", f"finish_reason is {reply.finish_reason!r}")
        _expect(text.startswith(reply.text), _difference([text], [reply.text]))


def _length(lm: ChatLM) -> None:
    for most in (1, 5):
        asked = _requests(Sampling(max_tokens=most, temperature=0.0), most)
        for reply in lm.chat(asked):
            used = reply.usage.completion_tokens
            _expect(used <= most, f"{used} tokens where {most} were allowed")
            _expect(reply.usage.cached_calls > 0 or used > 0, "tokens are not counted")


def _seeds(lm: ChatLM) -> None:
    question = _messages(_PROMPTS[0])
    other = Sampling(max_tokens=24, temperature=1.0, seed=8)
    asked = [Request(question, s, sample_index=i) for s in (_DRAWN, other) for i in range(4)]
    first, again = _texts(lm, asked), _texts(lm, asked)
    _expect(first == again, f"{_difference(first, again)} with one seed and sample index")
    _expect(len(set(first)) > 1, f"eight samples are all {first[0][:40]!r}")
    _expect(first[:4] != first[4:], "another seed changes nothing")


def _forms(lm: ChatLM, count: int) -> None:
    question = _messages("Give a count from 3 to 17, a colour and one to three marks.")
    replies = lm.chat([Request(question, _DRAWN, Probe, sample_index=i) for i in range(count)])
    bad = [reply.value for reply in replies if not isinstance(reply.value, Probe)]
    _expect(not bad, f"{len(bad)} of {count} are not, such as {str(bad[:1])[:160]}")


def _choices(lm: ChoiceLM) -> None:
    request, options = Request(_messages(_PROMPTS[2])), ("red", "green", "greenish")
    scores = lm.score_choices(request, options)
    total = math.fsum(math.exp(score) for score in scores)
    _expect(abs(total - 1) < 1e-6, f"probabilities sum to {total:.6f}")
    turned = lm.score_choices(request, options[::-1])[::-1]
    apart = max(abs(a - b) for a, b in zip(scores, turned, strict=True))
    _expect(apart < 1e-4, f"another order of options moves a score by {apart:.2g}")


def _rescored(lm: TokenLM, prompts: Sequence[Sequence[int]]) -> None:
    for temperature in (1.0, 0.7):
        sampling = Sampling(max_tokens=24, temperature=temperature, seed=3)
        groups = lm.sample(prompts, sampling, copies=2)
        with torch.no_grad():
            scores = lm.logprobs(
                prompts, [[c.ids for c in group] for group in groups], temperature=temperature
            )
        for row, completion in zip(scores.tolist(), chain.from_iterable(groups), strict=True):
            pairs = zip(row, completion.logprobs, strict=False)  # rows are padded
            apart = [abs(a - b) for a, b in pairs] or [0.0]
            said = f"{max(apart):.2g} apart at temperature {temperature}"
            _expect(max(apart) <= NOISE and sum(apart) / len(apart) <= 1e-5, said)


def _keys(lm: TokenLM, prompts: Sequence[Sequence[int]]) -> None:
    keys = [11 + 5 * row for row in range(len(prompts))]
    together = [group[0].ids for group in lm.sample(prompts, _DRAWN, row_keys=keys)]
    alone = [
        lm.sample([prompt], _DRAWN, row_keys=[key])[0][0].ids
        for prompt, key in zip(prompts, keys, strict=True)
    ]
    _expect(together == alone, "a row alone and in a batch gets other tokens")


def _copies(lm: TokenLM, prompts: Sequence[Sequence[int]]) -> None:
    groups = lm.sample(prompts, _DRAWN, copies=4)
    shape = [len(group) for group in groups]
    _expect(shape == [4] * len(prompts), f"{shape} completions where 4 of each were asked for")
    _expect(any(len({c.ids for c in group}) > 1 for group in groups), "they are all alike")


def _ends(lm: TokenLM, prompts: Sequence[Sequence[int]]) -> None:
    for (completion,) in lm.sample(prompts, Sampling(max_tokens=3, seed=1)):
        ids = completion.ids
        _expect(1 <= len(ids) <= 3, f"{len(ids)} tokens where 3 were allowed")
        aligned = len(ids) == len(completion.logprobs) == len(completion.sampled)
        _expect(aligned, "tokens and log-probabilities differ in number")
