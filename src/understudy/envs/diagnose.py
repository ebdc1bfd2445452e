"""Why an answer is right or wrong: the evaluation's grader, which is not the reward's.

It shares no code with the tasks' strict graders: the answer is found by scanning words, and equations
are re-computed. An answer that is not right is wrong by

- format: the right number is there at the end, but not marked as the answer;
- arithmetic: with the written equations computed properly, and their results carried on, it is right;
- reasoning: the equations themselves are the wrong ones;
- unreadable: there is no number at all.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, runtime_checkable

from understudy.envs.arithmetic import evaluate
from understudy.envs.base import Problem

Kind = Literal["correct", "format", "arithmetic", "reasoning", "unreadable"]
MAX_RESPONSE = 1 << 16
MAX_EQUATIONS = 64
_PLAIN = str.maketrans({"−": "-", "$": None, "×": "*", "÷": "/", "\xa0": " "})

_WORD_NUMBER = re.compile(r"(?:(?<![\d)])-)?(?:\d+(?:\.\d+)?|(?<![\d.])\.\d+)(?:/\d+)?", re.ASCII)
_COMMA = re.compile(r"(?<=\d)(?<!\b0),(?=\d{3}(?!\d))")
_PRICES = re.compile(r"(?<=\d)\$(?=\d)")
_FRACTION = re.compile(r"\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
# An answer is a number with nothing before it but punctuation (or x =), and words behind it.
_ANSWER = re.compile(
    r"[\s:=*_`\"'(\[{\\€£]{0,20}(?:[a-z] ?= ?|(?:about|exactly|approximately) +)?([-+]?) {0,2}"
    r"(\d+(?:\.\d+)?(?:/\d+)?|\.\d+)(?![\d/])(.*)",
    re.ASCII | re.DOTALL,
)
_SENTENCE = re.compile(r"[.!] +[A-Z]")
_SQUARE = re.compile(r"(?<=[a-z])(?:\^\{?[23]\}?|[²³])")
_RATE = re.compile(r"(?<=[a-z])/(?=[a-z])")
_TEXT = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf|mbox) ?\{([^{}]{0,80})\}|</s>|<\|[a-z_]{1,30}\|>"
)
_BEHIND = re.compile(r"[\s\w.;:'\"`*_()\[\]{}%°!€£-]*", re.ASCII)
_OTHER_NUMBER = re.compile(  # as the first word, a number of its own or a variable
    "(?:hundred|thousand|million|billion|trillion|dozen|tenth|half|halve)s?|pi|and|over|to|point|squared|cubed"
    "|factorial|mod|divided|multiplied|bn|mn|mil|[xyz]+",
    re.IGNORECASE,
)
_TWO_NUMBERS = re.compile(r"\b(?:plus|minus|or|half)\b", re.IGNORECASE)
_LETTERS = "mgslLhdCFKAVWJN"
# Two numbers in a row: what stands before the second is not part of its expression.
_GAP = re.compile(r"(?<=[\d.)])[\t ]+(?=[\d.(])")
_MARK = re.compile(r"####|answer is|boxed\{", re.IGNORECASE)
# `48/2 = <<48/2=24>>24` states one equation, not two: the annotation's is kept.
_ANNOTATED = re.compile(r"=[\t ]{0,8}<<")
# One character class each and bounded on both sides: no text makes these backtrack.
_LEFT = re.compile(r"[\d()\t +*/.-]{1,120}\Z", re.ASCII)
_RIGHT = re.compile(r"[\d()\t +*/.-]{1,120}", re.ASCII)
_LEADING = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?!\d)", re.ASCII)
_OPERATION = re.compile(r"\d[\t )]{0,8}[-+*/][\t (-]{0,8}[\d.(]", re.ASCII)
_OPERAND = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)
SIDE = 120


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one response."""

    kind: Kind
    equations_right: int
    """Equations whose two sides are equal as written."""
    equations: int


@runtime_checkable
class Diagnoses(Protocol):
    """A task whose answers are no numbers and that says itself what is wrong with one."""

    def diagnose(self, problem: Problem, response: str) -> Diagnosis:
        """Says whether a response is right and, if not, what is wrong with it."""
        ...


def diagnose(problem: Problem, response: str) -> Diagnosis:
    """Says whether a response is right and, if not, what is wrong with it."""
    text = _plain(response[-MAX_RESPONSE:])
    gold = _as_fraction(_plain(problem.answer))
    right, total, mended = _recompute(text)
    if gold is not None and "numbers" in problem.info:
        return Diagnosis(_reach(gold, problem.info["numbers"], text), right, total)
    if gold is None:
        same = _after_mark(response) == problem.answer.strip()
        return Diagnosis("correct" if same else "reasoning", right, total)
    marked, last = _marked(text), _last_number(text)
    if marked == gold:
        kind: Kind = "correct"
    elif marked is None and last is None:
        kind = "unreadable"
    elif marked is None and last == gold:
        kind = "format"
    else:
        given = last if marked is None else marked
        kind = "arithmetic" if given is not None and mended.get(given) == gold else "reasoning"
    return Diagnosis(kind, right, total)


def _plain(text: str) -> str:
    """Signs in one spelling, no currency, no commas inside numbers; any other comma ends an equation."""
    return _COMMA.sub("", _PRICES.sub(" ", text).translate(_PLAIN)).replace(",", ";")


def _after_mark(text: str) -> str | None:
    """What follows the last mark on its line, whatever it is."""
    marks = deque(_MARK.finditer(text), maxlen=1)  # a list of all would be long
    if not marks:
        return None
    mark = marks[0]
    rest = text[mark.end() :].split("\n", 1)[0]
    return _inside(rest) if mark[0].casefold() == "boxed{" else rest.strip(" :$").rstrip(" .")


def _inside(text: str) -> str | None:
    """What stands before the closing brace; None if there is none."""
    depth = 1
    for i, c in enumerate(text):
        depth += {"{": 1, "}": -1}.get(c, 0)
        if depth == 0:
            return text[:i].strip()
    return None


def _marked(text: str) -> Fraction | None:
    """The marked number; None if the mark is followed by something that is more than a number."""
    after = _after_mark(text)
    plain = _FRACTION.sub(r"\1/\2", _TEXT.sub(r" \1 ", after or ""))
    found = _ANSWER.match(plain)
    return _as_fraction(found[1].strip("+") + found[2]) if found and _only_unit(found[3]) else None


def _only_unit(behind: str) -> bool:
    """Whether what stands behind a number leaves it as it is."""
    spaced = behind[:1] in (" ", "\\")
    behind = re.sub(r"\\(?![A-Za-z])", "", behind)
    if re.match(r"[\s)}\]*_`'\"]*!", behind):  # 4! is 24
        return False
    end = _SENTENCE.search(behind)
    behind = _RATE.sub(" ", _SQUARE.sub(" ", behind[: end.start()] if end else behind))
    if re.search(r"\d|^[*_`\s]*-|-\s", behind) or not _BEHIND.fullmatch(behind):
        return False
    words = re.findall("[A-Za-z]+", behind)
    if not words:
        return not behind.strip(" .;:'\"`*_()[]{}%°!€£")
    known = len(words[0]) > 1 or words[0] in _LETTERS or (spaced and words[0] in "aApPT")
    return known and not _OTHER_NUMBER.fullmatch(words[0]) and not _TWO_NUMBERS.search(behind)


def _reach(target: Fraction, given: Sequence[int], text: str) -> Kind:
    """The verdict on an expression that must reach a target from given numbers."""
    marked = _after_mark(text)
    left, _, claimed = (marked or "").partition("=")
    value = evaluate(left)
    if value is not None:
        fits = _uses_only(given, left)
        if value == target:
            return "correct" if fits else "reasoning"
        return "arithmetic" if fits and _as_fraction(claimed) == target else "reasoning"
    found = [(left, evaluate(left)) for left, *_ in _equations(text)][-1:] if not marked else []
    if not found:
        return "unreadable"
    left, value = found[0]
    return "format" if value == target and _uses_only(given, left) else "reasoning"


def _uses_only(given: Sequence[int], expression: str) -> bool:
    """Whether every number of an expression is a given one, each at most once."""
    used = Counter(Fraction(n) for n in _OPERAND.findall(expression))
    return not used - Counter(Fraction(n) for n in given)


def _last_number(text: str) -> Fraction | None:
    numbers = _WORD_NUMBER.findall(text[-2048:])
    return _as_fraction(numbers[-1]) if numbers else None


def _as_fraction(text: str) -> Fraction | None:
    plain = text.strip(" %").rstrip(".")
    if len(plain) > 40 or not _WORD_NUMBER.fullmatch(plain):
        return None
    above, _, below = plain.partition("/")
    return None if below and int(below) == 0 else Fraction(above) / int(below or 1)


def _recompute(text: str) -> tuple[int, int, dict[Fraction, Fraction]]:
    """Equations right, equations, and what each wrongly computed number should have been."""
    right = total = 0
    proper: dict[Fraction, Fraction] = {}
    for left, written, whole in _equations(text):
        as_written = evaluate(left)
        if as_written is None:
            continue
        total += 1
        # `3+4 = 7+1 = 8` is read kindly: 7 is what 3+4 gives; so is `2+3 = 4+1`.
        agrees = as_written in (written, whole)
        right += agrees
        # A result that was wrong before stands in later equations under its wrong name.
        value = evaluate(_OPERAND.sub(lambda n: _mend(n[0], proper), left))
        if value is None or value == written or (agrees and value == as_written):
            proper.pop(written, None)
        else:
            proper[written] = value
    return right, total, proper


def _mend(number: str, proper: dict[Fraction, Fraction]) -> str:
    """A number, or what it should have been, as text that can stand in an expression."""
    value = _as_fraction(number)
    return f"({proper[value]})" if value is not None and value in proper else number


def _equations(text: str) -> list[tuple[str, Fraction, Fraction | None]]:
    """Left side, the number that follows, and the value of the whole right side, in order."""
    text = _ANNOTATED.sub(" <<", text)
    found: list[tuple[str, Fraction, Fraction | None]] = []
    for sign in itertools.islice(re.finditer("=", text), 4 * MAX_EQUATIONS):
        at = sign.start()
        left = _LEFT.search(text[max(0, at - SIDE) : at])
        right = _RIGHT.match(text, at + 1)
        expression = _GAP.split(left[0].strip())[-1] if left else ""
        if not right or not _OPERATION.search(expression):
            continue
        leading = _LEADING.match(right[0].strip())
        if leading:
            whole = evaluate(right[0].rstrip(" \t+*/.-("))
            found.append((expression, Fraction(leading[0]), whole))
    return found[:MAX_EQUATIONS]
