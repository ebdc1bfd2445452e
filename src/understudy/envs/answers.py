r"""Reading numeric answers: total, bounded, never evaluating.

An answer counts where it is marked: `#### 18`, `The answer is: 18`, `\boxed{18}`; the last mark wins.
Harmless dress is taken off (currency, units, thousands commas, bold, a final stop, `18.0` for `18`), and
what cannot be read is None, which is not the same as wrong.
"""

from __future__ import annotations

import re
from collections import deque
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
_DRESS = str.maketrans(dict.fromkeys("−–—", "-") | dict.fromkeys("$€£¥₹*`~_", " "))
# Other commands (\\pi, \\sqrt) are no dress: a number before one of them is not the answer.
_COMMAND = re.compile(r"\\(?![A-Za-z])|\\(?:quad|qquad|left|right|approx)(?![A-Za-z])")
# Between two numbers these join them: 3*1/2 is not 3 1/2.
_JOIN = re.compile(r"(?<=\d)\s{0,3}[*_~`]{1,3}\s{0,3}(?=[\d.\\])", re.ASCII)
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
_SENTENCE = re.compile(r"(?<=[.!])\s+(?=[A-Z])")
_WORD = re.compile(r"([A-Za-z°]+)(-[A-Za-z]{2,})?")
# A single letter is a variable (72x) or a magnitude (5k) unless it is one of these units.
_LETTERS = frozenset("mgslLhdCFKAVWJN°")
# The first word behind a number that makes another number of it.
_NOT_UNIT = re.compile(
    r"(?:hundred|thousand|million|billion|trillion|dozen|tenth|hundredth|thousandth)s?|halves|bn|mn|tn|mil"
    r"|lakh|crore|squared|cubed|factorial|pi|sqrt|and|over|point|to|mod|divided|multiplied|[xyz]+",
    re.IGNORECASE,
)
# Words anywhere behind it that make another number of it, or two.
_HEDGE = re.compile(r"\b(?:plus|minus|or|half)\b", re.IGNORECASE)


def read_marked(response: str) -> str | None:
    """The number after the last mark, in canonical form; None if there is none."""
    text = _plain(response)
    marks = deque(_MARK.finditer(text), maxlen=1)  # a list of all would be long
    if not marks:
        return None
    mark = marks[0]
    after: str | None = text[mark.end() : mark.end() + MAX_ANSWER + 1].split("\n", 1)[0]
    if mark[0].startswith("\\"):
        after = _braced(after)
    value = None if after is None else read_number(after)
    return None if value is None else canonical(value)


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
    # What is cut off is not known to be harmless: the ellipsis is neither digit nor unit.
    text = text if len(text) <= MAX_ANSWER else text[:MAX_ANSWER] + "…"
    text = _TOKEN.sub(" ", _plain(text))
    text = _FRACTION.sub(r" \1/\2", _WORDS.sub(r" \1 ", text))
    text = _JOIN.sub("×", _POWER.sub(r"e\1", text))
    text = _COMMAND.sub(" ", text).translate(_DRESS)
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
    rest = rest.lstrip(")]}\"'")
    found = _UNIT.match(rest.rstrip(" .!)}]\"',;"))
    if found is None or rest.startswith("!"):  # 4! is 24
        return False
    return not found[3] or names_unit(found[3], attached=not found[1] and not found[2])


def names_unit(words: str, *, attached: bool) -> bool:
    """Whether words behind a number name what is counted: no variable, magnitude or second number."""
    word = _WORD.match(words.lstrip("("))
    if word is None:
        return False
    first, rest = word[1], words.lstrip("(")[word.end() :]
    if rest.lstrip().startswith("-") or _HEDGE.search(words):
        return False
    if len(first) == 1 and first not in _LETTERS:
        # "18 a day", "5 p.m.", "18 T-shirts"
        letter_is_word = first == "a" and rest.startswith(" ")
        return not attached and bool(letter_is_word or word[2] or re.match(r"\.[A-Za-z]", rest))
    return not _NOT_UNIT.fullmatch(first)


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
