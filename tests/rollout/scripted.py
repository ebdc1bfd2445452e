"""Models that say what they are told to, and a task to say it to."""

from collections.abc import Callable, Sequence

from understudy.envs.base import Grade, Problem
from understudy.envs.gsm8k import grade_number
from understudy.lm.base import Completion, React, Reply, Request, Sampling
from understudy.lm.fake import char_tokenizer
from understudy.types import Message

LOGPROB = -0.5
"""Of every scripted token."""


class Sums:
    """Problem i asks for i + i."""

    name, split = "sums", "test"

    def __len__(self) -> int:
        return 10

    def problem(self, index: int) -> Problem:
        return Problem(str(index), f"{index}+{index}?", str(2 * index))

    def grade(self, problem: Problem, response: str) -> Grade:
        return grade_number(problem, response)


class ScriptedTokens:
    """A TokenLM that writes `say(prompt, row)` one character at a time, then the end token."""

    def __init__(self, say: Callable[[str, int], str]) -> None:
        self.say = say
        self._tokenizer = char_tokenizer()
        self.eos_ids = frozenset([self._tokenizer.eos_token_id])
        self.keys: list[Sequence[int] | None] = []

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        return self.encode("".join(m.content for m in messages))

    def logprobs(self, *_: object, **__: object):
        raise AssertionError("acting needs no scoring")

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        copies: int = 1,
        triggers: tuple[str, ...] = (),
        react: React | None = None,
        row_keys: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        self.keys.append(row_keys)
        return [
            [
                self._row(self.decode(p), u * copies + g, sampling, triggers, react)
                for g in range(copies)
            ]
            for u, p in enumerate(prompts)
        ]

    def _row(
        self,
        prompt: str,
        row: int,
        sampling: Sampling,
        triggers: tuple[str, ...],
        react: React | None,
    ) -> Completion:
        assert react is not None
        text, sampled, script = "", list[bool](), self.say(prompt, row)
        reason = "length"
        for letter in script:
            if len(sampled) == sampling.max_tokens:
                break
            text, sampled = text + letter, [*sampled, True]
            reaction = react(row, text, ended=False) if text.endswith(triggers) else None
            if reaction is not None:
                text += reaction.append
                sampled += [False] * len(reaction.append)
                if reaction.done:
                    reason = "environment"
                    break
        ids = self.encode(text)
        if reason == "length" and len(sampled) < sampling.max_tokens:
            ids, sampled, reason = [*ids, min(self.eos_ids)], [*sampled, True], "stop"
            react(row, text, ended=True)
        logprobs = tuple(LOGPROB if s else 0.0 for s in sampled)
        return Completion(tuple(ids), logprobs, tuple(sampled), reason)


class ScriptedChat:
    """A ChatLM that answers from a function and keeps what it was asked."""

    name = "scripted"

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.answer = answer
        self.batches: list[list[Request]] = []

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        self.batches.append(list(requests))
        return [self.answer(request) for request in requests]
