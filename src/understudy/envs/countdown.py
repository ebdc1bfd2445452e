"""Countdown: reach a target from given numbers, each used at most once, with + − × ÷."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from fractions import Fraction

import numpy as np

from understudy.envs.arithmetic import evaluate
from understudy.envs.base import EnvError, Grade, Problem

SPLITS = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}
LARGEST_TARGET = 1000
MAX_DRAWS = 10_000


class Countdown:
    """Procedural and always solvable; splits are a hash of the numbers and the target.

    Args:
        split: "train", "validation" or "test".
        numbers: how many numbers are given.
        largest: the largest of them.
        size: problems in the split.
        seed: another seed is another set of problems.
    """

    name = "countdown"

    def __init__(
        self,
        split: str = "train",
        *,
        numbers: int = 3,
        largest: int = 25,
        size: int = 100_000,
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"countdown: split must be one of {', '.join(SPLITS)}, not {split!r}")
        if not 2 <= numbers <= 6:
            raise ValueError(f"countdown: numbers must be 2 to 6, not {numbers}")
        if not 2 * numbers <= largest <= 1000:
            raise ValueError(f"countdown: largest must be {2 * numbers} to 1000, not {largest}")
        if size < 1 or seed < 0:
            raise ValueError(
                f"countdown: size must be at least 1 and seed at least 0, not {size} and {seed}"
            )
        self.split, self.numbers, self.largest, self.size, self.seed = (
            split,
            numbers,
            largest,
            size,
            seed,
        )

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int) -> Problem:
        """Problem `index`, drawn until its numbers fall into this split."""
        if not 0 <= index < self.size:
            raise IndexError(f"countdown has {self.size} problems; there is no number {index}")
        key = [self.seed, list(SPLITS).index(self.split), index]
        rng = np.random.default_rng(np.random.SeedSequence(key))
        given, expression, target = self._draw(rng)
        shown = ", ".join(map(str, given))
        return Problem(
            id=f"countdown/{self.split}/{self.seed}/{index}",
            question=f"Use the numbers {shown}, each at most once, with + - * / to make {target}.",
            answer=str(target),
            solution=f"#### {expression}",
            level=self.numbers,
            info={"numbers": tuple(given)},
        )

    def _draw(self, rng: np.random.Generator) -> tuple[list[int], str, int]:
        """Numbers, an expression over them and its value, the first that belong to this split."""
        for _ in range(MAX_DRAWS):
            given = [int(n) for n in rng.integers(1, self.largest + 1, size=self.numbers)]
            expression, target = _combine(given, rng)
            mark = f"{sorted(given)};{target}".encode()
            bucket = int.from_bytes(hashlib.sha256(mark).digest()[:8], "big") % 10
            if 1 <= target <= LARGEST_TARGET and bucket in SPLITS[self.split]:
                return given, expression, target
        raise EnvError(
            f"countdown: numbers={self.numbers} with largest={self.largest} hardly ever make a target "
            f"of at most {LARGEST_TARGET}; lower one of them"
        )

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """The expression the problem was made from."""
        del rng
        return problem.solution

    def grade(self, problem: Problem, response: str) -> Grade:
        """Right if the last `#### EXPRESSION` has the target's value and uses only given numbers."""
        found = [line for line in response[-4096:].splitlines() if line.startswith("####")]
        expression = found[-1].removeprefix("####").split("=")[0].strip() if found else ""
        value = evaluate(expression) if expression else None
        if value is None:
            return Grade(None, None, "no readable expression after ####")
        # A decimal is one number, not the two on its sides.
        used = Counter(Fraction(n) for n in re.findall(r"\d*\.?\d+", expression.replace(",", "")))
        if used - Counter(problem.info["numbers"]):
            return Grade(False, expression, "a number that was not given, or used twice")
        return Grade(value == Fraction(problem.answer), expression)


def _combine(given: list[int], rng: np.random.Generator) -> tuple[str, int]:
    """A random expression over all numbers whose every intermediate value is a natural number."""
    parts = [(str(n), n) for n in given]
    while len(parts) > 1:
        i, j = (int(k) for k in rng.choice(len(parts), 2, replace=False))
        (left, a), (right, b) = parts[i], parts[j]
        possible = [("+", a + b), ("*", a * b)]
        possible += [("-", a - b)] if a > b else []
        possible += [("/", a // b)] if b > 1 and a % b == 0 else []
        sign, value = possible[rng.integers(len(possible))]
        rest = [p for k, p in enumerate(parts) if k not in (i, j)]
        parts = [*rest, (f"({left}{sign}{right})", value)]
    expression, value = parts[0]
    return expression[1:-1], value
