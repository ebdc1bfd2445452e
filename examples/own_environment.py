"""An own environment: name the larger of two numbers. A class with five members, registered by name.

python examples/own_environment.py [--debug]
"""

import sys

import numpy as np

from understudy.cli import main as understudy
from understudy.envs.base import Grade, Problem
from understudy.envs.gsm8k import grade_number
from understudy.envs.registry import register


class Larger:
    """Even pairs are for training, odd ones are held out, so the splits cannot overlap."""

    name = "larger"

    def __init__(self, split: str = "train", *, largest: int = 99) -> None:
        self.split, self.largest = split, largest

    def __len__(self) -> int:
        return 2000

    def problem(self, index: int) -> Problem:
        rng = np.random.default_rng([index, self.split == "train"])
        while True:
            a, b = (int(n) for n in rng.integers(1, self.largest + 1, size=2))
            if a != b and ((a * 100 + b) % 2 == 0) == (self.split == "train"):
                question = (
                    f"Ana has {a} coins. Ben has {b} coins. How many has the one who has more?"
                )
                return Problem(f"larger/{self.split}/{index}", question, str(max(a, b)))

    def grade(self, problem: Problem, response: str) -> Grade:
        return grade_number(problem, response)

    def demonstration(self, problem: Problem, rng: np.random.Generator) -> str:
        """Optional: worked answers make a supervised warm start possible."""
        return f"#### {problem.answer}"


register("larger", Larger)

if __name__ == "__main__":
    command = (
        "policy train --env larger --warm_start 60 --iterations 20 --eval_problems 100 --passk 0"
    )
    sys.exit(understudy([*command.split(), *sys.argv[1:]]))
