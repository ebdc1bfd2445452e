"""JSON schemas whose every answer is short: the length of the longest one is known.

A grammar guarantees the form of an answer only if the answer is not cut. So whatever a schema
leaves open (the length of a string or an array, the size of an integer, the digits of a number)
is bounded here, and the most tokens an answer can have comes out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import llguidance

from understudy.lm.base import LMError

Node = dict[str, Any]

OPTIONS: Any = {"whitespace_flexible": False, "json_allowed_escapes": 'bfnrt"\\'}
"""How the grammar writes JSON: on one line, and no six-byte escapes."""

_LARGEST = 10**9
_EXACT = 2**53
_LONGEST = 4096
_NOTES = ("title", "description", "default", "examples", "discriminator", "deprecated")
_DATE = r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ"
_HEX = "[0-9a-f]"
# A validator accepts all of these; the grammar's own formats know no calendar.
_FORMATS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "uuid": f"^{_HEX}{{8}}-{_HEX}{{4}}-4{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}$",
}


@dataclass(frozen=True, slots=True)
class Caps:
    """What is put on strings and arrays without a bound of their own."""

    string: int
    array: int


LADDER = (Caps(64, 16), Caps(32, 8), Caps(16, 4), Caps(8, 2))
"""From roomy to tight; the first that fits is taken."""


def bound(schema: Node, caps: Caps, char_tokens: int) -> tuple[Node, int]:
    """The schema without references, everything bounded, and the most tokens of an answer.

    Args:
        schema: A closed JSON schema (all properties required).
        caps: For what has no bound.
        char_tokens: The most tokens that one character of a string can take.

    Raises:
        LMError: A part of the schema has no bounded form; the message says which.
    """
    return _Bounder(schema.get("$defs", {}), caps, char_tokens).node(schema, "", ())


class _Bounder:
    def __init__(self, definitions: Node, caps: Caps, char_tokens: int) -> None:
        self._definitions = definitions
        self._caps = caps
        self._char_tokens = char_tokens
        self._kinds: dict[str, Callable[[Node, str, tuple[str, ...]], tuple[Node, int]]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda node, *_: (node, 5),
            "null": lambda node, *_: (node, 4),
        }

    def node(self, node: Any, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        """One part of the schema at the path `where`, inside the references `inside`."""
        if not isinstance(node, dict):
            raise _unsupported(where, "anything goes here")
        node = {k: v for k, v in node.items() if k not in (*_NOTES, "$defs")}
        if "$ref" in node:
            name = node.pop("$ref").rpartition("/")[2]
            if name in inside:
                raise _unsupported(where, f"{name} contains itself")
            return self.node({**self._definitions[name], **node}, where, (*inside, name))
        for union in ("anyOf", "oneOf"):
            if union in node:
                return self._union(node[union], where, inside)
        if "enum" in node or "const" in node:
            values = node["enum"] if "enum" in node else [node["const"]]
            return {"enum": values}, max(_width(value) for value in values)
        kind = node.get("type")
        if not isinstance(kind, str) or kind not in self._kinds:
            raise _unsupported(where, "it has no single type")
        return self._kinds[kind](node, where, inside)

    def _union(self, options: list[Any], where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        parts = [self.node(option, where, inside) for option in options]
        return {"anyOf": [part for part, _ in parts]}, max(width for _, width in parts)

    def _object(self, node: Node, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        if node.get("additionalProperties", True) is not False:
            raise _unsupported(where, "its keys are open; use a list of pairs instead of a dict")
        parts = {
            key: self.node(value, f"{where}.{key}" if where else key, inside)
            for key, value in node.get("properties", {}).items()
        }
        width = 2 + sum(_width(key) + 2 + width for key, (_, width) in parts.items())
        return {**node, "properties": {key: part for key, (part, _) in parts.items()}}, width

    def _array(self, node: Node, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        first = [
            self.node(p, f"{where}[{i}]", inside) for i, p in enumerate(node.get("prefixItems", []))
        ]
        result = dict(node)
        if first:
            result["prefixItems"] = [part for part, _ in first]
        widths = [width for _, width in first]
        least = max(node.get("minItems", 0), 0)
        if node.get("items", True) is False or node.get("maxItems", math.inf) <= len(first):
            most = min(len(first), node.get("maxItems", len(first)))
            result["items"] = False
        else:
            result["items"], width = self.node(node.get("items"), f"{where}[]", inside)
            most = node.get("maxItems", max(least, len(first) + self._caps.array))
            widths += [width] * (most - len(first))
        result["maxItems"] = most
        return result, 2 + sum(width + 1 for width in widths[:most])

    def _string(self, node: Node, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        del inside
        node = dict(node)
        kind = node.pop("format", None)
        if kind is not None:
            if kind not in _FORMATS:
                raise _unsupported(where, f"format {kind!r} is none of {', '.join(_FORMATS)}")
            node["pattern"] = _FORMATS[kind]
        least = node.get("minLength", 0)
        most = node.get("maxLength", max(least, self._caps.string))
        if "pattern" in node:
            shortest, longest = lengths(node["pattern"])
            least = max(least, shortest)
            declared = node.get("maxLength", longest)
            most = max(self._caps.string, least) if declared is None else declared
            most = most if longest is None else min(most, longest)
        return {**node, "maxLength": most}, 2 + most * max(2, self._char_tokens)

    def _integer(self, node: Node, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        del inside
        rest, (low, low_open), (high, high_open) = _range(node)
        least = math.floor(low) + 1 if low_open else math.ceil(low)
        most = math.ceil(high) - 1 if high_open else math.floor(high)
        if max(abs(least), abs(most)) > _EXACT:
            raise _unsupported(where, "an integer beyond 2^53")
        _need_values(least, most, where)
        width = max(len(str(least)), len(str(most)))
        return {**rest, "minimum": least, "maximum": most}, width

    def _number(self, node: Node, where: str, inside: tuple[str, ...]) -> tuple[Node, int]:
        del inside
        rest, (low, low_open), (high, high_open) = _range(node)
        if "multipleOf" not in rest:
            # six decimals; in a narrow range enough for a thousand values
            narrow = 0 < high - low < 1e-3
            digits = 3 - math.floor(math.log10(high - low)) if narrow else 6
            rest["multipleOf"] = float(f"1e-{digits}")
        step = Decimal(repr(rest["multipleOf"])).normalize()
        # whole steps and inclusive: the engine is wrong about excluded ends of narrow ranges
        least, most = Decimal(repr(low)) / step, Decimal(repr(high)) / step
        least = math.floor(least) + 1 if low_open else math.ceil(least)
        most = math.ceil(most) - 1 if high_open else math.floor(most)
        _need_values(least, most, where)
        rest |= {"minimum": float(least * step), "maximum": float(most * step)}
        exponent = step.as_tuple().exponent
        fraction = max(1, -exponent) if isinstance(exponent, int) else 1  # "2.0" may be written
        whole = max(len(str(math.floor(low))), len(str(math.ceil(high))))
        return rest, 1 + whole + 1 + fraction  # a sign: -0.5 rounds up to 0


def _need_values(least: int, most: int, where: str) -> None:
    if least > most:
        raise _unsupported(where, "no value is within its bounds")


def _range(node: Node) -> tuple[Node, tuple[float, bool], tuple[float, bool]]:
    """The rest of the schema, and the least and greatest value with whether each is excluded.

    Where one is not given, it is a billion away from zero or from the other.
    """
    keys = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    rest = {k: v for k, v in node.items() if k not in keys}
    lows = [(node[k], k == "exclusiveMinimum") for k in keys[:2] if k in node]
    highs = [(node[k], k != "exclusiveMaximum") for k in keys[2:] if k in node]
    low = max(lows) if lows else (min(0, min(highs)[0] if highs else 0) - _LARGEST, False)
    high = min(highs) if highs else (max(0, low[0]) + _LARGEST, True)
    return rest, low, (high[0], not high[1])


def _width(value: Any) -> int:
    """Bytes of a value as the grammar writes it."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _unsupported(where: str, why: str) -> LMError:
    return LMError(f"no grammar for {where or 'the answer'}: {why}")


@lru_cache(maxsize=256)
def lengths(pattern: str) -> tuple[int, int | None]:
    """Characters of the shortest and of the longest text that matches; None if there is no longest.

    Raises:
        LMError: The grammar engine does not know such a pattern, or nothing matches it.
    """
    if error := _why_empty(pattern, {}):
        raise LMError(f"no grammar for pattern {pattern!r}: {reason(error)}")
    shortest = _least(lambda n: not _why_empty(pattern, {"maxLength": n}))
    if shortest is None:
        raise LMError(f"pattern {pattern!r} matches no text of at most {_LONGEST} characters")
    # where the engine cannot decide, a longer text may exist
    longest = _least(
        lambda n: _why_empty(pattern, {"minLength": n + 1}).startswith("Unsatisfiable")
    )
    return shortest, longest


def _least(holds: Callable[[int], bool]) -> int | None:
    """The least n for which a monotone condition holds, up to a limit."""
    low, high = -1, 1
    while not holds(high):
        low, high = high, high * 2
        if high > _LONGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _why_empty(pattern: str, limits: Node) -> str:
    """What the engine says against a string with this pattern and limits; empty if nothing."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        {"type": "string", "pattern": pattern, **limits}
    )
    return llguidance.LLMatcher.validate_grammar(grammar)


def reason(error: str) -> str:
    """The grammar engine's complaint on one line, without its dump of states."""
    lines = [line.strip() for line in error.partition("<state>")[0].splitlines()]
    said = [line for line in lines if line and not line.startswith(("^", "|")) and "| " not in line]
    return " ".join(said)[:300]
