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
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from understudy.envs.arithmetic import evaluate
from understudy.envs.base import Problem

Kind = Literal["correct", "format", "arithmetic", "reasoning", "unreadable"]
MAX_RESPONSE = 1 << 16
MAX_EQUATIONS = 64

_WORD_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:/\d+)?")
# One character class each and bounded on both sides: no text makes these backtrack.
_LEFT = re.compile(r"[\d()\t +*/.-]{1,120}\Z")
_RIGHT = re.compile(r"[\t ]{0,8}(?:<<)?(-?\d{1,40}(?:\.\d{1,40})?)(?!\d)")
LEFT_SIDE = 120


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one response."""

    kind: Kind
    equations_right: int
    """Equations whose two sides are equal as written."""
    equations: int


def diagnose(problem: Problem, response: str) -> Diagnosis:
    """Says whether a response is right and, if not, what is wrong with it."""
    text = response[-MAX_RESPONSE:].replace(",", "").replace("−", "-")
    gold = _as_fraction(problem.answer.replace(",", ""))
    right, total, repaired = _recompute(text)
    marked, last = _marked(text), _last_number(text)
    if gold is None:
        same = _marked_text(response) == problem.answer.strip()
        return Diagnosis("correct" if same else "reasoning", right, total)
    if marked is not None and marked == gold:
        kind: Kind = "correct"
    elif last is None:
        kind = "unreadable"
    elif marked is None and last == gold:
        kind = "format"
    elif total and repaired == gold:
        kind = "arithmetic"
    else:
        kind = "reasoning"
    return Diagnosis(kind, right, total)


def _marked_text(text: str) -> str | None:
    """What follows the last mark, whatever it is."""
    for line in reversed(text.splitlines()):
        for mark in ("####", "answer is"):
            if mark in line:
                return line.rsplit(mark, 1)[1].strip(" :.$")
    start = text.rfind("boxed{")
    return text[start + 6 :].split("}", 1)[0].strip() if start >= 0 else None


def _marked(text: str) -> Fraction | None:
    found = _marked_text(text)
    if not found:
        return None
    numbers = _WORD_NUMBER.findall(found.replace("$", " ").replace("*", " "))
    return _as_fraction(numbers[0]) if len(numbers) == 1 else None


def _last_number(text: str) -> Fraction | None:
    numbers = _WORD_NUMBER.findall(text[-2048:])
    return _as_fraction(numbers[-1]) if numbers else None


def _as_fraction(text: str) -> Fraction | None:
    plain = text.strip().strip("$%. ")
    if len(plain) > 40 or not re.fullmatch(r"-?\d+(?:\.\d+)?(?:/0*[1-9]\d*)?", plain):
        return None
    return Fraction(plain) if "." not in plain or "/" not in plain else None


def _recompute(text: str) -> tuple[int, int, Fraction | None]:
    """Equations right, equations, and the last result when wrong ones are put right in turn."""
    right = total = 0
    wrong_to_right: dict[str, str] = {}
    result: Fraction | None = None
    for left, written in _equations(text):
        as_written = evaluate(left)
        if as_written is None or not re.search(r"\d\s*[-+*/]\s*[\d(]", left):
            continue
        total += 1
        right += as_written == Fraction(written)
        # A result that was wrong before stands in later equations under its wrong name.
        mended = re.sub(r"\d+(?:\.\d+)?", lambda n: wrong_to_right.get(n[0], n[0]), left)
        result = evaluate(mended)
        if result is not None and result != Fraction(written):
            wrong_to_right[written] = str(result) if result.denominator == 1 else f"({result})"
    return right, total, result


def _equations(text: str) -> list[tuple[str, str]]:
    """What stands on both sides of the first equals signs: arithmetic and a number."""
    found: list[tuple[str, str]] = []
    signs = [sign.start() for sign in itertools.islice(re.finditer("=", text), 4 * MAX_EQUATIONS)]
    for at in signs:
        left = _LEFT.search(text[max(0, at - LEFT_SIDE) : at])
        right = _RIGHT.match(text, at + 1)
        if left and right:
            found.append((left[0].strip(), right[1]))
    return found[:MAX_EQUATIONS]
