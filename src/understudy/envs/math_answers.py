r"""Comparing LaTeX answers as MATH (arXiv 2103.03874) has them: one spelling, then numbers.

Bounded string work; nothing is parsed as algebra, so `x+1` and `1+x` are two answers.
"""

from __future__ import annotations

import re
from fractions import Fraction

from understudy.envs.answers import names_unit
from understudy.envs.arithmetic import parse_number

MAX_RESPONSE = 1 << 16
MAX_BOX = 4096
"""Characters of one boxed answer that are looked at."""
MAX_BOXES = 64
MAX_PARTS = 32

_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_THIN = re.compile(r"(?<=\d)\\[,;:!](?=\d{3}(?!\d))")
_SPACING = re.compile(
    r"\\(?:left|right|big|Big|bigl|bigr|displaystyle|quad|qquad)(?![a-zA-Z])|\\[,;:! ]|~|\s"
)
# A space counts between two numbers only: 1 2 is not 12, and 3 1/2 is not 31/2.
_NO_GAP = re.compile(r"(?<!\d) | (?![\d.])")
_UNITS = re.compile(
    r"(?<=[\d}.$]) ?(?:\\(?:text|mathrm|mbox) ?\{([^{}\d]{1,60})\}|(?:square ?|cubic ?)?(?:cm|mm|km|ft|feet"
    r"|inches|meters|miles|units|degrees|dollars|cents|hours|minutes|seconds))(?:\^ ?\{?[23]\}?)? ?\.?$"
)
_WORDS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\{([^{}]{0,200})\}")
_DEGREES = re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\%|%|\\\$|\$|°|\\degree")
_FRACTION = re.compile(r"\\[dtc]frac(?![a-z])")
_SHORT_FRACTION = re.compile(r"\\frac(\d|\{[^{}]{1,40}\}) ?(\d|\{[^{}]{1,40}\})")
_SLASHED = re.compile(r"(-?(?:\d{1,40} )?)(\d{1,40})/(\d{1,40})", re.ASCII)
_SQRT = re.compile(r"\\sqrt(\w)")
_POWER = re.compile(r"\^\{(\w)\}")
_NUMBER = re.compile(
    r"(-?)([\d.,]{1,60})?(?:\\frac\{([\d.,]{1,60})\}\{([\d.,]{1,60})\})?", re.ASCII
)
_NAMED = re.compile(r"([a-zA-Z](?:_\w)?)(?:=|\\in(?![a-zA-Z]))")
_SIGNED = re.compile(r"\\frac\{-([^{}+-]{1,40})\}")
_SPELLINGS = (
    ("\\le", "\\leq"), ("\\ge", "\\geq"), ("\\ne", "\\neq"), ("\\lbrace", "\\{"), ("\\rbrace", "\\}"),
    ("\\infin", "\\infty"),
)  # fmt: skip


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{…}` or `\fbox{…}`; braces nest."""
    text = text[-MAX_RESPONSE:]
    starts = [found.end() for found in _BOX.finditer(text)]
    for start in reversed(starts[-MAX_BOXES:]):
        depth = 1
        for i in range(start, min(len(text), start + MAX_BOX)):
            depth += (text[i] == "{") - (text[i] == "}")
            if depth == 0:
                return text[start:i]
    return None


def normal_form(latex: str) -> str:
    r"""One spelling for the usual variants: spaces, \left, \dfrac, \frac12, 1/2, units, a final stop."""
    return _unnamed(_spelling(latex))


def _spelling(latex: str) -> str:
    """The normal form with the name before an equals sign."""
    text = _THIN.sub("", latex[:MAX_BOX].replace("{,}", "").replace("−", "-"))
    text = " ".join(_SPACING.sub(" ", _DEGREES.sub(" ", text)).split())
    text = _NO_GAP.sub("", _UNITS.sub(_without_unit, text))
    text = _WORDS.sub(r"\1", text).rstrip(".")
    for other, usual in _SPELLINGS:
        text = re.sub(re.escape(other) + r"(?![a-zA-Z])", lambda _, usual=usual: usual, text)
    text = _SQRT.sub(r"\\sqrt{\1}", _FRACTION.sub(r"\\frac", text))
    text = _SHORT_FRACTION.sub(lambda m: rf"\frac{_brace(m[1])}{_brace(m[2])}", text)
    if slashed := _SLASHED.fullmatch(text):
        text = rf"{slashed[1].rstrip()}\frac{{{slashed[2]}}}{{{slashed[3]}}}"
    if text.startswith("\\frac{-"):
        text = _SIGNED.sub(r"-\\frac{\1}", text, count=1)
    return _POWER.sub(r"^\1", text)


def _unnamed(text: str) -> str:
    named = _NAMED.match(text)
    return text[named.end() :] if named else text


def _without_unit(found: re.Match[str]) -> str:
    """Nothing in place of a unit; what is no unit (million, i, or) stays."""
    words = found[1]
    unit = words is None or names_unit(words.strip(), attached=not words.startswith(" "))
    return "" if unit else found[0]


def same(left: str, right: str) -> bool:
    r"""Equal in normal form, or as numbers (1/2 = 0.5 = \frac{1}{2}), also part by part.

    Tuples and intervals are compared part by part with their brackets, sets without regard to order.
    """
    a, b = _spelling(left), _spelling(right)
    named_a, named_b = _NAMED.match(a), _NAMED.match(b)
    if named_a and named_b and named_a[1].casefold() != named_b[1].casefold():
        return False  # x=5 and y=5 are two lines
    return _same(_unnamed(a), _unnamed(b))


def _same(a: str, b: str) -> bool:
    if a == b or _equal_numbers(a, b):
        return True
    if _number(a) is not None or _number(b) is not None:
        return False  # the comma of 1,800 makes no list of it
    ends_a, parts_a = _parts(a)
    ends_b, parts_b = _parts(b)
    if ends_a != ends_b or not 1 < len(parts_a) == len(parts_b) <= MAX_PARTS:
        return False
    if ends_a in ("\\{\\}", ""):
        left = list(parts_b)
        for part in parts_a:
            match = next((p for p in left if p == part or _equal_numbers(p, part)), None)
            if match is None:
                return False
            left.remove(match)
        return True
    return all(p == q or _equal_numbers(p, q) for p, q in zip(parts_a, parts_b, strict=True))


def _equal_numbers(a: str, b: str) -> bool:
    x = _number(a)
    return x is not None and x == _number(b)


def _number(text: str) -> Fraction | None:
    r"""A number in normal form: 1,800 or 0.5 or \frac{1}{2} or 3\frac{1}{2}; nothing with letters."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    whole, above, below = (parse_number(part) if part else None for part in found.groups()[1:])
    if above is None:
        value = whole
    elif not below or (found[2] and not (whole and whole.denominator == 1 and above < below)):
        value = None
    else:
        value = (whole or 0) + above / below
    return -value if value is not None and found[1] else value


def _parts(text: str) -> tuple[str, list[str]]:
    """A list's brackets and what stands between its outermost commas."""
    for opening in ("\\{", "(", "["):
        closing = next((c for c in ("\\}", ")", "]") if text.endswith(c)), "")
        if text.startswith(opening) and closing and (opening == "\\{") == (closing == "\\}"):
            inner = text[len(opening) : -len(closing)]
            return opening + closing, _split(inner)
    return "", _split(text)


def _split(text: str) -> list[str]:
    """Splits at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _brace(part: str) -> str:
    return part if part.startswith("{") else f"{{{part}}}"
