"""A model in this process as a ChatLM: batched, under grammars, with exact scores of choices."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from understudy.lm import structured
from understudy.lm.base import Completion, LMError, Piece, Reply, Request, Sampling
from understudy.lm.grammar import Grammar, GrammarMasker, Grammars
from understudy.lm.local import LocalLM
from understudy.lm.steer import SteeredMasker
from understudy.types import Usage


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer to draw."""

    place: int
    request: Request
    prompt: tuple[int, ...]
    sampling: Sampling
    grammar: Grammar | None
    key: int


class LocalChat:
    """A `ChatLM` and `ChoiceLM` over a local model.

    Requests with equal sampling run as one batch; equal prompts are encoded once. An answer's noise
    depends on its prompt, `sampling.seed` and `sample_index` only, so it is the same in any batch.
    An answer with a schema is drawn under its grammar and is always complete: `stop` is ignored, and
    where `max_tokens` is less than the schema's own bounds may need, it gets what they may need.

    Args:
        lm: The model.
        name: What it is called, in cache keys too.
        max_rows: The most answers drawn at once; bounds the memory.
    """

    def __init__(self, lm: LocalLM, name: str, *, max_rows: int = 256) -> None:
        if max_rows < 1:
            raise LMError(f"max_rows must be at least 1, got {max_rows}")
        self.lm = lm
        self._name = name
        self._max_rows = max_rows
        self._context: int | None = getattr(lm.model.config, "max_position_embeddings", None)
        self._made: Grammars | None = None

    @property
    def name(self) -> str:
        """Model and revision."""
        return self._name

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in the order of `requests`.

        Raises:
            LMError: A prompt or the form of an answer does not fit the model, or a schema has no
                grammar. Nothing was drawn then.
        """
        rows = [self._row(place, request) for place, request in enumerate(requests)]
        replies: dict[int, Reply] = {}
        for batch in self._batches(rows):
            start = time.monotonic()
            drawn = self._draw(batch)
            share = (time.monotonic() - start) / len(drawn)
            for row, completion, steered in drawn:
                replies[row.place] = self._reply(row, completion, steered, share)
        return [replies[place] for place in range(len(requests))]

    @torch.no_grad()
    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        """Natural-log probability of each option as the whole answer, normalised over options.

        That of the option's tokens followed by any end token, at temperature 1. An option is
        tokenised in the one way the tokenizer has for it.

        Raises:
            LMError: There is no option, two are equal, or prompt and option exceed the context.
        """
        if not options:
            raise LMError("there are no options to score")
        if len(set(options)) < len(options):
            twice = next(option for option in options if list(options).count(option) > 1)
            raise LMError(f"option {twice!r} is given twice")
        prompt = self.lm.prompt_ids(request.messages)
        ends = sorted(self.lm.eos_ids)
        answers = [[*self.lm.encode(option), end] for option in options for end in ends]
        longest = len(prompt) + max(map(len, answers))
        if self._context is not None and longest > self._context:
            raise LMError(
                f"prompt and option have {longest} tokens; the model's context is {self._context}"
            )
        scores = self.lm.logprobs([prompt], [answers]).double().sum(dim=1)
        return scores.view(len(options), len(ends)).logsumexp(dim=1).log_softmax(dim=0).tolist()

    def _row(self, place: int, request: Request) -> _Row:
        prompt = tuple(self.lm.prompt_ids(request.messages))
        digest = hashlib.blake2b(repr((prompt, request.sample_index)).encode(), digest_size=8)
        key = int.from_bytes(digest.digest(), "little")
        if request.schema is None:
            if request.steer is not None:
                raise LMError("only an answer with a schema can be steered")
            return _Row(place, request, prompt, request.sampling, None, key)
        left = None if self._context is None else self._context - len(prompt)
        wanted = request.sampling.max_tokens
        room = wanted if left is None else min(wanted, left)
        grammar = self._grammars.grammar(request.schema, room)
        if left is not None and grammar.max_tokens > left:
            raise LMError(
                f"an answer of this form can have {grammar.max_tokens} tokens, but the model's context"
                f" of {self._context} leaves {max(left, 0)} after the prompt"
            )
        free = replace(request.sampling, stop=(), max_tokens=0)
        return _Row(place, request, prompt, free, grammar, key)

    @property
    def _grammars(self) -> Grammars:
        if self._made is None:  # reading the vocabulary takes a moment; not all need it
            lm = self.lm
            n_vocab = lm.model.get_output_embeddings().weight.shape[0]
            self._made = Grammars(lm.tokenizer, n_vocab, lm.eos_ids)
        return self._made

    def _batches(self, rows: Sequence[_Row]) -> list[list[list[_Row]]]:
        """Rows that can be drawn together, as groups of equal length of rows of one prompt."""
        alike: dict[tuple[Sampling, bool], dict[tuple[int, ...], list[_Row]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row in rows:
            alike[row.sampling, row.grammar is None][row.prompt].append(row)
        most, batches = self._max_rows, list[list[list[_Row]]]()
        for by_prompt in alike.values():
            by_length: dict[int, list[list[_Row]]] = defaultdict(list)
            for group in by_prompt.values():
                for start in range(0, len(group), most):
                    part = group[start : start + most]
                    by_length[len(part)].append(part)
            for length, groups in by_length.items():
                step = most // length
                batches += [groups[i : i + step] for i in range(0, len(groups), step)]
        return batches

    def _draw(
        self, batch: Sequence[Sequence[_Row]]
    ) -> list[tuple[_Row, Completion, tuple[tuple[Piece, ...], ...]]]:
        rows = [row for group in batch for row in group]
        sampling, masker = rows[0].sampling, None
        grammars = [row.grammar for row in rows]
        if grammars[0] is not None:
            most = max(g.max_tokens for g in grammars if g is not None)
            sampling = replace(sampling, max_tokens=most)
            masker = SteeredMasker(
                GrammarMasker(grammars, self._grammars.n_vocab),
                [row.request.steer for row in rows],
                self.lm.encode,
                self.lm.decode,
                sampling.temperature,
            )
        drawn = self.lm.sample(
            [group[0].prompt for group in batch],
            sampling,
            copies=len(batch[0]),
            row_keys=[row.key for row in rows],
            masker=masker,
        )
        completions = [completion for group in drawn for completion in group]
        steered = [tuple(seen) for seen in masker.seen] if masker else [()] * len(rows)
        return list(zip(rows, completions, steered, strict=True))

    def _reply(
        self,
        row: _Row,
        completion: Completion,
        steered: tuple[tuple[Piece, ...], ...],
        seconds: float,
    ) -> Reply:
        text = self.lm.decode(completion.ids)
        cuts = [cut for stop in row.sampling.stop if (cut := text.find(stop)) >= 0]
        usage = Usage(
            calls=1,
            prompt_tokens=len(row.prompt),
            completion_tokens=len(completion.ids),
            seconds=seconds,
        )
        reply = Reply(
            text[: min(cuts, default=len(text))],
            finish_reason=completion.finish_reason,
            usage=usage,
            steered=steered,
        )
        return structured.settle(row.request, reply)
