r"""Reading numeric answers: total, bounded, never evaluating.

An answer counts where it is marked: `#### 18`, `The answer is: 18`, `\boxed{18}`; the last mark wins.
Harmless dress is taken off (currency, units, thousands commas, bold, a final stop, `18.0` for `18`), and
what cannot be read is None, which is not the same as wrong.
"""

from __future__ import annotations

import re
from fractions import Fraction

from understudy.envs.arithmetic import parse_number

MAX_RESPONSE = 1 << 16
"""Characters of a response that are looked at; its end, as the answer comes last."""
MAX_ANSWER = 200
"""Characters after a mark that are looked at."""
MAX_EXPONENT = 30

_MARK = re.compile(
    r"####|the\s{1,3}(?:final\s{1,3})?answer\s{1,3}is\b|\\(?:boxed|fbox)\s?\{", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(?:,\d+)*(?:\.\d+)?|\.\d+", re.ASCII)
# Full-width forms are the plain characters 0xFEE0 further up.
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0xA0: " ",
    0x202F: " ",
    ord("½"): " 1/2",
    ord("¼"): " 1/4",
    ord("¾"): " 3/4",
}
_DRESS = str.maketrans(dict.fromkeys("−–—", "-") | dict.fromkeys("$€£¥₹*`~_\\", " "))
_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?(-?[\d.,]{1,40})\s?\}\s?\{\s?([\d.,]{1,40})\s?\}")
_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s?\{([^{}]{0,80})\}")
_POWER = re.compile(r"\s?(?:\\times|\\cdot|×|\*|x)\s?10\s?\^\s?\{?\s?([-−+]?\d{1,3})\s?\}?")
_TOKEN = re.compile(r"</s>|<\|[a-z_]{1,30}\|>")
_LEAD = re.compile(
    r"^[\s:=({\[\"']*(?:[A-Za-z]\s?=\s?)?(?:(?:about|approximately|equal to|exactly)\s+)?"
)
_SIGN = re.compile(r"([-+]?)\s{0,2}(?=[\d.])", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?\d{1,3})(?!\d)", re.ASCII)
_OVER = re.compile(r"\s?/\s?(\d{1,40})(?![\d.,]*\d)", re.ASCII)
_MIXED = re.compile(r"\s{1,2}(\d{1,40})\s?/\s?(\d{1,40})(?![\d.,]*\d)", re.ASCII)
_UNIT = re.compile(r"(\s?)%?(\s?)(\(?[A-Za-z°][A-Za-z°/²³ .'()-]{0,60}(?:\^ ?\{?[23]\}?)?)?$")
_SENTENCE = re.compile(r"[.!]\s+(?=[A-Z])")
# One attached letter is a variable (72x) or a magnitude (5k) unless it is one of these units.
_LETTERS = frozenset("mgslLhdCFKAVWJN°")
_MAGNITUDES = frozenset(
    {"hundred", "thousand", "million", "billion", "trillion", "dozen", "squared", "cubed"}
    | {"k", "x", "e", "i", "pi", "factorial"}
)


def read_marked(response: str) -> str | None:
    """The number after the last mark, in canonical form; None if there is none."""
    text = _plain(response)
    for mark in reversed(list(_MARK.finditer(text))):
        after: str | None = text[mark.end() : mark.end() + MAX_ANSWER].split("\n", 1)[0]
        if mark[0].startswith("\\"):
            after = _braced(after)
        value = None if after is None else read_number(after)
        return None if value is None else canonical(value)
    return None


def read_last_number(response: str) -> str | None:
    """The last number anywhere in a response, in canonical form: the lenient reading."""
    text = _plain(response).translate(_DRESS)[-4096:]
    for found in reversed(list(_NUMBER.finditer(text))):
        value = parse_number(found[0])
        if value is not None:
            before = text[max(0, found.start() - 2) : found.start()]
            negative = before.endswith("-") and not before[:-1].strip(" =:(").isalnum()
            return canonical(-value if negative else value)
    return None


def read_number(text: str) -> Fraction | None:
    """One number with its dress: sign, currency, commas, decimals, exponent, a/b, percent, a unit.

    None if the text is something else: two numbers, an expression, malformed commas, a variable.
    """
    text = _TOKEN.sub("", _plain(text)[:MAX_ANSWER])
    text = _FRACTION.sub(r" \1/\2", _WORDS.sub(r" \1 ", text))
    text = _POWER.sub(r"e\1", text).translate(_DRESS)
    text = _LEAD.sub("", " ".join(text.split()))
    sign = _SIGN.match(text)
    found = _NUMBER.match(text, sign.end()) if sign else None
    if sign is None or found is None:
        return None
    value = parse_number(found[0])
    if value is None:
        return None
    read = _tail(value, text[found.end() :])
    return -read if read is not None and sign[1] == "-" else read


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


def _tail(value: Fraction, rest: str) -> Fraction | None:
    """What an exponent, a denominator or a fraction behind it makes of a number; a unit does nothing."""
    if exponent := _EXPONENT.match(rest):
        if abs(int(exponent[1])) > MAX_EXPONENT:
            return None
        value, rest = value * Fraction(10) ** int(exponent[1]), rest[exponent.end() :]
    elif over := _OVER.match(rest):
        if int(over[1]) == 0:
            return None
        value, rest = value / int(over[1]), rest[over.end() :]
    elif mixed := _MIXED.match(rest):
        if value.denominator != 1 or int(mixed[1]) >= int(mixed[2]):
            return None
        value, rest = value + Fraction(int(mixed[1]), int(mixed[2])), rest[mixed.end() :]
    return value if _is_unit(_SENTENCE.split(rest, maxsplit=1)[0]) else None


def _is_unit(rest: str) -> bool:
    """Whether what stands behind a number is nothing, or a unit that does not change it."""
    found = _UNIT.match(rest.lstrip(")]}\"'").rstrip(" .!)}]\"',;"))
    if found is None:
        return False
    unit = found[3] or ""
    if len(unit) == 1 and not found[1] and not found[2]:
        return unit in _LETTERS
    return not unit or unit.split()[0].casefold() not in _MAGNITUDES


def _plain(text: str) -> str:
    """The end of a text, with full-width forms made plain."""
    end = text[-MAX_RESPONSE:]
    return end if end.isascii() else end.translate(_WIDE)


def _braced(text: str) -> str | None:
    """What stands before the brace that closes the mark's; None if nothing closes it."""
    depth = 1
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if depth == 0:
            return text[:i]
    return None
