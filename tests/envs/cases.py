"""Where the GSM8K files are, a task of a few sums, and texts meant to hurt a grader."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from understudy.envs.base import Grade, Problem
from understudy.envs.gsm8k import grade_number

N = 1 << 16
HOSTILE = {
    "parentheses": "(" * 100_000,
    "closed parentheses": "(" * 50_000 + "1" + ")" * 50_000 + "=1",
    "digits": "9" * 1_000_000,
    "marked digits": "#### " + "9" * 60_000,
    "tower": "#### 9**9**9",
    "calculator tower": "<<9**9**9=",
    "factorial": "The answer is 100000000!!",
    "code": "#### __import__('os').system('true')",
    "braces": "{" * N,
    "boxes": "\\boxed{" * (N // 7),
    "marks": "####" * (N // 4),
    "answers": "the answer is " * (N // 14),
    "nearly answers": "the   answer   " * (N // 15),
    "newlines": "\n" * N,
    "spaces": "#### 1" + " " * N + "x",
    "commas": "#### " + "1," * (N // 2),
    "slashes": "1/" * (N // 2),
    "fractions": "\\frac{" * (N // 6),
    "open fractions": "\\frac{1" * (N // 7),
    "annotations": "<<" * (N // 2),
    "long annotation": "<<" + "1+" * N + "=",
    "equations": "1+1=3 " * (N // 6),
    "growing equations": "9*9*9*9*9*9=9\n" * (N // 14),
    "equals": "=" * N,
    "one long sum": "1+" * (N // 2) + "1=1",
    "signs": "#### " + "-" * N,
    "expands when normalised": "ﷺ" * N,
    "huge exponent": "#### 1e999999999",
    "zero denominator": "#### 1/0",
    "a million mixed": "#### 1ﷺ²<|\\frac{" * 80_000,
    "nul and surrogates": "#### \x00\ud800\udfff",
}


def gsm8k(split: str) -> Path:
    """The file of a split; skips the test where there is none."""
    root = Path(__file__).parents[2]
    places = [root / up / "shared/data/gsm8k" for up in ("..", "../..")]
    if named := os.environ.get("UNDERSTUDY_GSM8K"):
        places.insert(0, Path(named))
    for place in places:
        if (place / f"{split}.jsonl").is_file():
            return place / f"{split}.jsonl"
    pytest.skip("GSM8K is not here; set UNDERSTUDY_GSM8K to the folder with its two JSONL files")


@dataclass
class Sums:
    """Problem i is i + 1; marked answers count."""

    split: str = "train"
    size: int = 20
    name: str = field(default="sums", init=False)

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int) -> Problem:
        answer = str(index + 1)
        return Problem(
            f"sums/{self.split}/{index}", f"{index} + 1?", answer, f"{index}+1={answer}\n#### {answer}",
            level=1,
        )  # fmt: skip

    def grade(self, problem: Problem, response: str) -> Grade:
        return grade_number(problem, response)
