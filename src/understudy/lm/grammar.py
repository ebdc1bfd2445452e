"""Decoding under a grammar: an answer has the asked-for form, whatever the model's weights.

Grammars are llguidance's. What an answer may have as a form is a pydantic model (as JSON on one
line, its properties in order), a regular expression, or a list of choices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch
from pydantic import BaseModel, PydanticUserError
from torch import Tensor

from understudy.lm import structured
from understudy.lm.base import Choices, LMError, Regex
from understudy.lm.bounded import LADDER, OPTIONS, Caps, bound, lengths, reason

AnySchema = type[BaseModel] | Regex | Choices

_SAMPLE = '{"a": [1, -2.5, "x y"], "b": null}'
_SEEN = 4096


@dataclass(frozen=True, slots=True)
class Grammar:
    """A compiled grammar and the most tokens an answer under it has, its end included."""

    matcher: llguidance.LLMatcher
    """In its first state; to be copied."""
    max_tokens: int


class Grammars:
    """Grammars over one tokenizer, compiled once for each schema.

    Args:
        tokenizer: A transformers tokenizer.
        n_vocab: How many logits the model has.
        eos_ids: The tokens that end an answer.

    Raises:
        LMError: The tokenizer's tokens have no certain text.
    """

    def __init__(self, tokenizer: Any, n_vocab: int, eos_ids: frozenset[int]) -> None:
        if not eos_ids:
            raise LMError("a model without an end token cannot answer under a grammar")
        self.n_vocab = n_vocab
        self._ll = _vocabulary(tokenizer, n_vocab, sorted(eos_ids))
        self._char_tokens = _char_tokens(tokenizer)
        self._compiled = lru_cache(maxsize=256)(self._compile)

    def grammar(self, schema: AnySchema, room: int) -> Grammar:
        """The roomiest grammar whose answers have at most `room` tokens, end included.

        What the schema bounds itself is never cut: if nothing fits, `max_tokens` of the result is
        larger than `room`.

        Raises:
            LMError: The schema cannot be a grammar.
        """
        found = None
        for caps in LADDER:
            found = self._compiled(schema, caps)
            if found.max_tokens <= room:
                break
        assert found is not None
        return found

    def _compile(self, schema: AnySchema, caps: Caps) -> Grammar:
        if isinstance(schema, Choices):
            text, width = _choices(schema)
        elif isinstance(schema, Regex):
            text, width = _regex(schema, caps, self._char_tokens)
        else:
            form, width = bound(_json_schema(schema), caps, self._char_tokens)
            text = llguidance.LLMatcher.grammar_from_json_schema(form, overrides=OPTIONS)
        matcher = llguidance.LLMatcher(self._ll, text, log_level=0)
        if matcher.is_error():
            raise LMError(f"no grammar for {_name(schema)}: {reason(matcher.get_error())}")
        return Grammar(matcher, width + 1)


class GrammarMasker:
    """A sampler's `TokenMasker`: row r's answer follows the grammar `rows[r]`.

    An end token is allowed only where the grammar accepts. Rows without a grammar are free.
    """

    def __init__(self, rows: Sequence[Grammar | None], n_vocab: int) -> None:
        self._matchers = [None if g is None else g.matcher.deep_copy() for g in rows]
        self._n_vocab = n_vocab

    def apply(self, rows: Sequence[int], logits: Tensor) -> Tensor:
        """Logits [len(rows), V] with −∞ where the grammar does not go."""
        return logits.masked_fill(~self.mask(rows).to(logits.device), -torch.inf)

    def mask(self, rows: Sequence[int]) -> Tensor:
        """Bool [len(rows), V], True where allowed.

        Raises:
            LMError: The grammar gave up on a row, or no token can go on.
        """
        allowed = np.ones((len(rows), self._n_vocab), np.bool_)
        for place, row in enumerate(rows):
            matcher = self._matchers[row]
            if matcher is not None:
                # By hand: llguidance's own torch helper starts a compiler on its first call.
                words = np.frombuffer(_bits(matcher), np.uint8)
                allowed[place] = np.unpackbits(words, bitorder="little")[: self._n_vocab]
        return torch.from_numpy(allowed)

    def accept(self, row: int, token: int) -> None:
        """`row` has drawn `token`.

        Raises:
            LMError: The grammar does not allow it.
        """
        matcher = self._matchers[row]
        if matcher is not None and not matcher.consume_token(token):
            raise LMError(f"token {token} breaks the grammar: {reason(matcher.get_error())}")


def _bits(matcher: llguidance.LLMatcher) -> bytes:
    bits = matcher.compute_bitmask()
    if matcher.is_error():
        raise LMError(f"no token can go on under the grammar: {reason(matcher.get_error())}")
    return bits


def _json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    try:
        return structured.json_schema(schema)
    except PydanticUserError as error:
        said = error.message.splitlines()[0]
        raise LMError(f"no grammar for {schema.__name__}: {said}") from error


def _name(schema: AnySchema) -> str:
    return schema.__name__ if isinstance(schema, type) else repr(schema)[:80]


def _choices(schema: Choices) -> tuple[str, int]:
    if not schema.options:
        raise LMError("a choice needs at least one option")
    options = " | ".join(json.dumps(option, ensure_ascii=False) for option in schema.options)
    return f"start: CHOICE\nCHOICE: {options}", max(len(o.encode()) for o in schema.options)


def _regex(schema: Regex, caps: Caps, char_tokens: int) -> tuple[str, int]:
    pattern = llguidance.regex_to_lark(schema.pattern, use_ascii="")
    shortest, longest = lengths(f"^(?:{schema.pattern})$")
    most = max(shortest, caps.string) if longest is None else longest
    cut = f" & /(?s:.{{0,{most}}})/" if longest is None else ""
    return f"start: TEXT\nTEXT: /{pattern}/{cut}", most * char_tokens


def _char_tokens(tokenizer: Any) -> int:
    """The most tokens one character takes: four where tokens may be bytes, else one."""
    partial = any("\ufffd" in tokenizer.decode([i]) for i in range(len(tokenizer)))
    return 4 if partial else 1


def _vocabulary(tokenizer: Any, n_vocab: int, ends: list[int]) -> llguidance.LLTokenizer:
    """The tokenizer as llguidance sees it: the bytes of each token."""
    size = max(n_vocab, len(tokenizer))
    if getattr(tokenizer, "is_fast", False):
        try:
            return llguidance.hf.from_tokenizer(tokenizer, n_vocab=size, eos_token=ends)
        except ValueError as error:
            if "decoder" not in str(error):
                raise LMError(f"no grammars with this tokenizer: {error}") from error
    return llguidance.LLTokenizer(
        llguidance.TokenizerWrapper(_Pieces(tokenizer, ends[0])), n_vocab=size, eos_token=ends
    )


class _Pieces:
    """A tokenizer of whole characters, whose tokens' texts add up to the text."""

    bos_token_id = None

    def __init__(self, tokenizer: Any, end: int) -> None:
        self.eos_token_id = end
        self._tokenizer = tokenizer
        self._seen: dict[bytes, list[int]] = {}
        added = tokenizer.added_tokens_decoder
        self.special_token_ids = [i for i, token in added.items() if token.special]
        special = {*self.special_token_ids, end}
        pieces = ["" if i in special else tokenizer.decode([i]) for i in range(len(tokenizer))]
        self.tokens = [b"" if "\ufffd" in piece else piece.encode() for piece in pieces]
        known = self(_SAMPLE.encode())
        if tokenizer.decode(known) != b"".join(self.tokens[i] for i in known).decode():
            raise LMError("no grammars with this tokenizer: its tokens' texts do not add up")

    def __call__(self, text: bytes) -> list[int]:
        """Tokens of `text`; what has no token of its own is left out, not made unknown."""
        if text not in self._seen:
            # asked again and again for the same keys and brackets
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[text] = self._tokenizer.encode(
                text.decode("utf-8", "replace"), add_special_tokens=False, split_special_tokens=True
            )
        return [i for i in self._seen[text] if self.tokens[i]]
