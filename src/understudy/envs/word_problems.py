"""Procedural grade-school word problems: several steps, distractors, levels, disjoint splits.

A problem follows one count of things through `level` events (bought, given away, shared out, sold,
…), told in everyday words, with sentences in between that do not matter. The split a problem
belongs to is a hash of its arithmetic (the operations and numbers in order), so no computation
that is trained on can come back in another wording in the test split.

Demonstrations come in a mixture of styles, as human-written ones do: some work every step with the
calculator (`<<12*3=36>>36`), most do the arithmetic in the head, some forget to mark the final
answer. A model that imitates the mixture answers in its most frequent style; which style earns
reward is what reinforcement learning has to find out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from understudy.envs.base import Grade, Problem
from understudy.envs.gsm8k import grade_number

NAMES = (
    "Ana", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas",
    "Kira", "Leo", "Mina", "Noah", "Olga", "Pablo", "Rosa", "Sam", "Tara", "Victor",
)  # fmt: skip
THINGS = (
    "apples", "books", "cards", "coins", "cookies", "eggs", "flowers", "marbles", "oranges",
    "pencils", "shells", "stamps", "stickers", "stones", "tickets", "toys",
)  # fmt: skip
SPLITS = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}
BUCKETS = 10
LIMIT = 2000
"""No intermediate count grows past this."""


@dataclass(frozen=True)
class Step:
    """One event: what is told, and the line that works it out."""

    told: str
    expression: str
    result: int
    line: str
    """The worked line with `{}` where the equation stands."""
    question: str
    distractor: str = ""


def _buy(rng: np.random.Generator, n: int, who: str, other: str, what: str) -> Step:
    k = int(rng.integers(3, 100))
    told = (f"{who} buys {k} more {what}.", f"{who} finds {k} more {what}.",
            f"{other} gives {who} {k} {what}.")[rng.integers(3)]  # fmt: skip
    return Step(
        told, f"{n}+{k}", n + k, f"{who} has {{}} {what}.", f"How many {what} does {who} have now?"
    )


def _lose(rng: np.random.Generator, n: int, who: str, other: str, what: str) -> Step:
    k = int(rng.integers(2, min(n, 100)))
    told = (f"{who} gives {k} {what} to {other}.", f"{who} loses {k} {what}.",
            f"{who} sells {k} of the {what}.")[rng.integers(3)]  # fmt: skip
    return Step(
        told,
        f"{n}-{k}",
        n - k,
        f"{who} has {{}} {what} left.",
        f"How many {what} does {who} have left?",
    )


def _times(rng: np.random.Generator, n: int, who: str, _other: str, what: str) -> Step:
    k = int(rng.integers(2, min(10, LIMIT // n + 1)))
    told = (f"Soon there are {k} times as many {what}.", f"{who} trades until there are {k} times as many {what}.",
            f"The number of {what} becomes {k} times as large.")[rng.integers(3)]  # fmt: skip
    return Step(
        told, f"{n}*{k}", n * k, f"Now there are {{}} {what}.", f"How many {what} are there now?"
    )


def _share(rng: np.random.Generator, n: int, who: str, _other: str, what: str) -> Step:
    k = int(rng.choice([k for k in range(2, 10) if n % k == 0]))
    told = (f"{who} shares the {what} equally among {k} friends and looks at one share.",
            f"{who} packs the {what} into {k} equal bags and keeps one bag.",
            f"{who} splits the {what} into {k} equal piles and takes one pile.")[rng.integers(3)]  # fmt: skip
    return Step(
        told, f"{n}/{k}", n // k, f"One part is {{}} {what}.", f"How many {what} are in that part?"
    )


def _distractor(rng: np.random.Generator, who: str, other: str, what: str) -> str:
    k = int(rng.integers(2, 100))
    unrelated = str(rng.choice([t for t in THINGS if t != what]))
    return (f"{other} has {k} {unrelated}.", f"{who} is {k} years old.", f"It is {k} minutes past noon.",
            f"{other} lives {k} miles away.")[rng.integers(4)]  # fmt: skip


EVENTS: tuple[tuple[Callable[[int], bool], Callable[..., Step]], ...] = (
    (lambda n: n <= LIMIT - 100, _buy),
    (lambda n: n > 3, _lose),
    (lambda n: n >= 2 and n * 2 <= LIMIT, _times),
    (lambda n: n > 9 and any(n % k == 0 for k in range(2, 10)), _share),
)


class WordProblems:
    """A finite split of procedural problems; problem `i` depends on (seed, split, i) only.

    Args:
        split: "train", "validation" or "test".
        levels: fewest and most steps of a problem, inclusive.
        distractors: most likely an irrelevant sentence can be after each event; every problem
            draws its own likelihood below that, so that length says little about the steps.
        size: number of problems in the split.
        seed: another seed is another set of problems from the same split.
        calculator_share: of the demonstrations, the share that works with the calculator.
        unmarked_share: of the demonstrations, the share that does not mark its answer.
    """

    name = "word-problems"

    def __init__(
        self,
        split: str = "train",
        *,
        levels: tuple[int, int] = (1, 3),
        distractors: float = 0.5,
        size: int = 1_000_000,
        seed: int = 0,
        calculator_share: float = 0.3,
        unmarked_share: float = 0.3,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f"word-problems: split must be one of {', '.join(SPLITS)}, not {split!r}"
            )
        if not 1 <= levels[0] <= levels[1] <= 12:
            raise ValueError(
                f"word-problems: levels must satisfy 1 <= low <= high <= 12, not {levels}"
            )
        if size < 1 or seed < 0:
            raise ValueError(
                f"word-problems: size must be at least 1 and seed at least 0, not {size} and {seed}"
            )
        if not all(0 <= share <= 1 for share in (distractors, calculator_share, unmarked_share)):
            raise ValueError("word-problems: distractors and shares must be from 0 to 1")
        self.split, self.levels, self.distractors = split, levels, distractors
        self.size, self.seed = size, seed
        self.calculator_share, self.unmarked_share = calculator_share, unmarked_share

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int) -> Problem:
        """Problem `index`, found by drawing until the arithmetic falls into this split's buckets."""
        if not 0 <= index < self.size:
            raise IndexError(f"word-problems has {self.size} problems; there is no number {index}")
        key = [self.seed, list(SPLITS).index(self.split), index]
        rng = np.random.default_rng(np.random.SeedSequence(key))
        level = int(rng.integers(self.levels[0], self.levels[1] + 1))
        while True:
            start, steps, who, what = self._draw(rng, level)
            arithmetic = ";".join([str(start), *(s.expression for s in steps)])
            bucket = (
                int.from_bytes(hashlib.sha256(arithmetic.encode()).digest()[:8], "big") % BUCKETS
            )
            if bucket in SPLITS[self.split]:
                return self._tell(start, steps, who, what, index)

    def _draw(self, rng: np.random.Generator, level: int) -> tuple[int, list[Step], str, str]:
        who, other = (str(x) for x in rng.choice(NAMES, 2, replace=False))
        what = str(rng.choice(THINGS))
        start = count = int(rng.integers(11, 100))
        noisy = rng.random() * self.distractors
        steps: list[Step] = []
        while len(steps) < level:
            possible = [make for fits, make in EVENTS if fits(count)]
            step = possible[rng.integers(len(possible))](rng, count, who, other, what)
            noise = _distractor(rng, who, other, what) if rng.random() < noisy else ""
            steps.append(
                Step(step.told, step.expression, step.result, step.line, step.question, noise)
            )
            count = step.result
        return start, steps, who, what

    def _tell(self, start: int, steps: list[Step], who: str, what: str, index: int) -> Problem:
        told = [f"{who} has {start} {what}."]
        for step in steps:
            told += [step.told, *([step.distractor] if step.distractor else [])]
        answer = str(steps[-1].result)
        worked = [s.line.format(f"<<{s.expression}={s.result}>>{s.result}") for s in steps]
        return Problem(
            id=f"word-problems/{self.split}/{self.seed}/{index}",
            question=" ".join([*told, steps[-1].question]),
            answer=answer,
            solution="\n".join([*worked, f"#### {answer}"]),
            level=len(steps),
            info={"steps": tuple((s.expression, s.result, s.line) for s in steps)},
        )

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """A right solution in one of the styles: calculator or mental, marked or unmarked."""
        calculator = rng.random() < self.calculator_share
        equation = "<<{0}={1}>>{1}" if calculator else "{0} = {1}"
        lines = [
            line.format(equation.format(expr, res)) for expr, res, line in problem.info["steps"]
        ]
        marked = rng.random() >= self.unmarked_share
        lines.append(f"#### {problem.answer}" if marked else f"So it is {problem.answer}.")
        return "\n".join(lines)

    def grade(self, problem: Problem, response: str) -> Grade:
        """Right only if the answer is marked (`#### 36`) and equal; unmarked is unreadable."""
        return grade_number(problem, response)
