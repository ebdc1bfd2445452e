r"""Reading numeric answers: total, bounded, never evaluating.

An answer counts where it is marked: `#### 18`, `The answer is: 18`, `\boxed{18}`; the last mark wins.
Harmless dress is taken off (currency, units, thousands commas, bold, a final stop, `18.0` for `18`), and
what cannot be read is None, which is not the same as wrong.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from understudy.envs.arithmetic import parse_number

MAX_RESPONSE = 1 << 16
"""Characters of a response that are looked at; its end, as the answer comes last."""
MAX_ANSWER = 200
"""Characters after a mark that are looked at."""

_MARK = re.compile(
    r"####|the\s{1,3}(?:final\s{1,3})?answer\s{1,3}is\b|\\(?:boxed|fbox)\s?\{", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(?:,\d+)*(?:\.\d+)?|\.\d+", re.ASCII)
_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?(-?[\d.,]{1,40})\s?\}\s?\{\s?([\d.,]{1,40})\s?\}")
_DRESS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "$": " ",
        "€": " ",
        "£": " ",
        "*": " ",
        "`": " ",
        "~": " ",
        "\\": " ",
    }
)
_LEAD = re.compile(r"^[\s:=({\[\"']*(?:(?:about|approximately|equal to|exactly)\s+)?")
_UNIT = re.compile(r"^\s?%?\s?[A-Za-z°][A-Za-z°/²³ .'-]{0,60}$|^\s?%?$")


def read_marked(response: str) -> str | None:
    """The number after the last mark, in canonical form; None if there is none."""
    text = _plain(response)
    for mark in reversed(list(_MARK.finditer(text))):
        after = text[mark.end() : mark.end() + MAX_ANSWER].split("\n", 1)[0]
        if mark[0].startswith("\\"):
            after = _braced(after)
        value = read_number(after)
        return None if value is None else canonical(value)
    return None


def read_last_number(response: str) -> str | None:
    """The last number anywhere in a response, in canonical form: the lenient reading."""
    text = _plain(response).translate(_DRESS)
    for found in reversed(list(_NUMBER.finditer(text[-4096:]))):
        value = parse_number(found[0].rstrip(","))
        if value is not None:
            before = text[-4096:][max(0, found.start() - 2) : found.start()]
            negative = before.endswith("-") and not before[:-1].strip(" =:(").isalnum()
            return canonical(-value if negative else value)
    return None


def read_number(text: str) -> Fraction | None:
    """One number with its dress: sign, currency, commas, decimals, a/b, percent, a unit behind it.

    None if the text is something else: two numbers, an expression, malformed commas.
    """
    text = _FRACTION.sub(r"\1/\2", _plain(text)[:MAX_ANSWER]).translate(_DRESS)
    text = _LEAD.sub("", text)
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-").lstrip()
    found = _NUMBER.match(text)
    if found is None:
        return None
    value, rest = parse_number(found[0]), text[found.end() :]
    over = re.match(r"\s?/\s?(\d{1,40})(?![\d.,]*\d)", rest)
    if value is not None and over:
        if int(over[1]) == 0:
            return None
        value, rest = value / int(over[1]), rest[over.end() :]
    rest = rest.strip().strip(".!)}]\"',; ")
    if value is None or not _UNIT.match(rest):
        return None
    return sign * value


def canonical(value: Fraction) -> str:
    """An integer as itself, anything else as a reduced fraction."""
    return (
        str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    )


def equal(left: str, right: str) -> bool:
    """Whether two answers are the same number (or, if neither is one, the same text)."""
    a, b = read_number(left), read_number(right)
    if a is None or b is None:
        return a is b and left.strip() == right.strip()
    return a == b


def _plain(text: str) -> str:
    """The end of a text, with full-width forms made plain."""
    return unicodedata.normalize("NFKC", text[-MAX_RESPONSE:])[-MAX_RESPONSE:]


def _braced(text: str) -> str:
    """What stands before the brace that closes the mark's."""
    depth = 1
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if depth == 0:
            return text[:i]
    return text
