"""Arithmetic on text, in bounded time: numbers, + − × ÷ and parentheses, exact fractions.

Text is parsed, never evaluated. Everything is bounded: the text's length, the digits of a number, the
operations and the depth, and the size of intermediate results, as there are no powers.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_TEXT = 256
MAX_DIGITS = 40
MAX_OPERATIONS = 64
MAX_DEPTH = 16
MAX_PLACES = 6
"""Decimals with more places than this are rounded."""

_TOKEN = re.compile(r"\s*(?:(\d[\d,]*(?:\.\d+)?|\.\d+)|([-+*/()]))")
_SAME = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "x": "*", "$": " ", "€": " ", "£": " "}
)


def parse_number(text: str) -> Fraction | None:
    """A plain decimal number with optional well-formed thousands commas; None if it is not one."""
    if not re.fullmatch(r"\d+(?:\.\d+)?|[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\.\d+", text, re.ASCII):
        return None
    digits = text.replace(",", "")
    return Fraction(digits) if len(digits) <= MAX_DIGITS else None


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an arithmetic expression, or None if it is none, or too large."""
    if len(expression) > MAX_TEXT:
        return None
    tokens = _tokens(expression.translate(_SAME).strip())
    if not tokens or len(tokens) > 2 * MAX_OPERATIONS:
        return None
    parser = _Parser(tokens)
    try:
        value = parser.sum(0)
    except (_NotArithmetic, ZeroDivisionError):
        return None
    return value if parser.done else None


def show(value: Fraction) -> str:
    """A number as a person writes it: integers plain, short decimals exact, others to 2 places.

    Exact integer arithmetic throughout: a float would write wrong digits for large numbers.
    """
    places = next((n for n in range(MAX_PLACES + 1) if 10**n % value.denominator == 0), 2)
    scaled = round(value * 10**places)
    sign, digits = "-" if scaled < 0 else "", str(abs(scaled)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


class _NotArithmetic(Exception):
    pass


def _tokens(text: str) -> list[str] | None:
    found: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        found.append(match[1] or match[2])
        at = match.end()
    return found


class _Parser:
    """Recursive descent; the depth is bounded because parentheses are."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    @property
    def done(self) -> bool:
        return self.at == len(self.tokens)

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value += sign * self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            if self.take() == "*":
                value *= self.atom(depth)
            else:
                value /= self.atom(depth)
        return value

    def atom(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH or self.done:
            raise _NotArithmetic
        token = self.take()
        if token == "-":
            return -self.atom(depth + 1)
        if token == "(":
            value = self.sum(depth + 1)
            if self.peek() != ")":
                raise _NotArithmetic
            self.take()
            return value
        number = parse_number(token)
        if number is None:
            raise _NotArithmetic
        return number

    def peek(self) -> str:
        return "" if self.done else self.tokens[self.at]

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]
