"""Grammars for local models: an answer has its form by construction, whatever the model's size.

A pydantic model, a regex or a list of choices becomes an llguidance grammar that says, token by token,
what may come next. Everything without a bound gets one (strings 64 characters, arrays 16 items,
integers ± 10⁹, numbers 3 decimals), so that an answer can always be finished within `max_tokens`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from understudy.lm.base import Choices, LMError, Regex, Schema
from understudy.lm.local import LocalLM
from understudy.lm.structured import json_schema

MAX_STRING, MAX_ITEMS, MAX_INTEGER, DECIMALS = 64, 16, 10**9, 3
REGEX_TOKENS = 256
"""Most tokens of an answer under a regex, whose length is not computed."""
_CHARACTER = r'[^"\\\x00-\x1f]'


class Grammar:
    """A schema compiled for one model's tokenizer.

    Raises:
        LMError: the grammar engine cannot express the schema; it says which part.
    """

    def __init__(self, lm: LocalLM, schema: Schema) -> None:
        """Compiles `schema`."""
        self.tokenizer: LLTokenizer = _tokenizer(lm)
        if isinstance(schema, Regex):
            source = LLMatcher.grammar_from_regex(schema.pattern)
            self.max_tokens = REGEX_TOKENS
        elif isinstance(schema, Choices):
            source = LLMatcher.grammar_from_regex("|".join(re.escape(o) for o in schema.options))
            self.max_tokens = 1 + max(len(o.encode()) for o in schema.options)
        else:
            document = json_schema(schema)
            bounded, longest = _bound(document, document.get("$defs", {}), 0)
            self.max_tokens = longest + 1
            source = LLMatcher.grammar_from_json_schema(
                json.dumps(bounded), overrides={"whitespace_flexible": False}
            )
        self._matcher = LLMatcher(self.tokenizer, source)
        if error := self._matcher.get_error():
            raise LMError(f"schema {schema!r} cannot be decoded under: {error.splitlines()[0]}")

    def start(self) -> LLMatcher:
        """A matcher at the beginning of an answer."""
        return self._matcher.deep_copy()


class GrammarMasker:
    """The sampler's hook: each row under its own grammar."""

    def __init__(self, lm: LocalLM, grammars: Sequence[Grammar]) -> None:
        """One grammar per row."""
        self._matchers = [grammar.start() for grammar in grammars]
        self._size = lm.vocabulary_size
        self._bits = allocate_token_bitmask(len(grammars), self._size)
        self._ends = sorted(lm.eos_ids)

    def mask(self, rows: Sequence[int]) -> torch.Tensor:
        """Bool [len(rows), V], True where the grammar allows the token."""
        bits = self._bits[: len(rows)]
        for place, row in enumerate(rows):
            fill_next_token_bitmask(self._matchers[row], bits, place)
        # Unpacked by hand: the library's torch kernel compiles at its first call, for minutes.
        flags = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, : self._size]
        return torch.from_numpy(flags.astype(bool))

    def accept(self, row: int, token: int) -> None:
        """Moves a row's grammar on; an end token leaves it."""
        if token not in self._ends and not self._matchers[row].consume_token(token):
            raise LMError(
                f"grammar refused a token it had allowed: {self._matchers[row].get_error()}"
            )


class _Pieces:
    """A tokenizer whose tokens are whole characters, as llguidance wants to see it."""

    def __init__(self, lm: LocalLM) -> None:
        self._lm = lm
        self.eos_token_id, self.bos_token_id = min(lm.eos_ids), None
        pieces = [lm.decode([i]) for i in range(lm.vocabulary_size)]
        self.special_token_ids = [i for i, piece in enumerate(pieces) if not piece]
        self.tokens = [p.encode() or f"<|{i}|>".encode() for i, p in enumerate(pieces)]

    def __call__(self, text: str) -> list[int]:
        return self._lm.encode(text)


def _tokenizer(lm: LocalLM) -> LLTokenizer:
    try:
        return from_tokenizer(
            lm.tokenizer, n_vocab=lm.vocabulary_size, eos_token=sorted(lm.eos_ids), slices=[]
        )
    except ValueError:  # a decoder it has no rule for: show it the tokens one by one
        return LLTokenizer(TokenizerWrapper(_Pieces(lm)), n_vocab=lm.vocabulary_size, slices=[])


def _bound(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    """The schema with every length bounded, and the most bytes an answer can have."""
    if depth > 16:
        raise LMError("schema: nested deeper than 16, or recursive; answers could not be bounded")
    if "$ref" in node:
        return _bound(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions, depth + 1)
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        return {"enum": values}, max(
            len(json.dumps(v, ensure_ascii=False).encode()) for v in values
        )
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            parts = [_bound(part, definitions, depth + 1) for part in node[key]]
            return {"anyOf" if key == "oneOf" else key: [p for p, _ in parts]}, max(
                n for _, n in parts
            )
    bound = _BOUNDS.get(node.get("type", ""))
    if bound is None:
        raise LMError(f"schema: no type a grammar can bound in {json.dumps(node)[:120]}")
    return bound(node, definitions, depth)


def _object(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    if not isinstance(node.get("properties"), dict):
        raise LMError("schema: an object needs named fields; a free mapping cannot be bounded")
    found = {k: _bound(v, definitions, depth + 1) for k, v in node["properties"].items()}
    size = 2 + sum(
        len(json.dumps(k, ensure_ascii=False).encode()) + 3 + n for k, (_, n) in found.items()
    )
    bounded = {"type": "object", "properties": {k: v for k, (v, _) in found.items()}}
    return bounded | {"required": list(found), "additionalProperties": False}, size


def _array(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    most = node.get("maxItems", max(MAX_ITEMS, node.get("minItems", 0)))
    kept: dict[str, Any] = {"type": "array", "minItems": node.get("minItems", 0), "maxItems": most}
    if "prefixItems" in node:
        parts = [_bound(part, definitions, depth + 1) for part in node["prefixItems"]]
        size = 2 + sum(n + 2 for _, n in parts)
        return kept | {"prefixItems": [p for p, _ in parts], "items": False}, size
    item, size = _bound(node.get("items", {}), definitions, depth + 1)
    return kept | {"items": item}, 2 + most * (size + 2)


def _string(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    del definitions, depth
    if "pattern" in node or "format" in node:
        return node, REGEX_TOKENS
    low = node.get("minLength", 0)
    high = node.get("maxLength", max(MAX_STRING, low))
    return {"type": "string", "pattern": f"^{_CHARACTER}{{{low},{high}}}$"}, 2 + 4 * high


def _integer(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    del definitions, depth
    low = node.get("minimum", node.get("exclusiveMinimum", -MAX_INTEGER - 1) + 1)
    high = node.get("maximum", node.get("exclusiveMaximum", MAX_INTEGER + 1) - 1)
    kept = {"type": "integer", "minimum": int(low), "maximum": int(high)}
    if "multipleOf" in node:
        kept["multipleOf"] = node["multipleOf"]
    return kept, max(len(str(int(low))), len(str(int(high))))


def _number(
    node: dict[str, Any], definitions: dict[str, Any], depth: int
) -> tuple[dict[str, Any], int]:
    del definitions, depth
    kept = {
        "type": "number",
        "minimum": -MAX_INTEGER,
        "maximum": MAX_INTEGER,
        "multipleOf": 10**-DECIMALS,
    }
    kept |= {
        k: v
        for k, v in node.items()
        if k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    }
    return kept, 16 + DECIMALS


def _plain(size: int) -> Any:
    return lambda node, definitions, depth: ({"type": node["type"]}, size)  # noqa: ARG005


_BOUNDS: dict[str, Any] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _plain(5),
    "null": _plain(4),
}
