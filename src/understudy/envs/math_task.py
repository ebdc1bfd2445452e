r"""MATH (arXiv 2103.03874): competition problems whose gold answer stands in the last `\boxed{}`."""

from __future__ import annotations

import re
from typing import Any

from understudy.envs.base import EnvError, Grade, Problem
from understudy.envs.gsm8k import read_rows
from understudy.envs.math_answers import last_boxed, normal_form, same


class Math:
    r"""Rows {problem, solution, level, type}; answers are compared as LaTeX in a normal form.

    Args:
        split: names the hub's split, and the problems.
        path: a JSONL file, or `hub:NAME` to load a data set by name.
    """

    name = "math"

    def __init__(
        self, split: str = "train", *, path: str = "hub:EleutherAI/hendrycks_math"
    ) -> None:
        self.split = split
        rows = read_rows(path, split, ("problem", "solution"))
        self._problems = [self._problem(where, row) for where, row in rows]
        if not self._problems:
            raise EnvError(f"{path}: no problems in it")

    def __len__(self) -> int:
        return len(self._problems)

    def problem(self, index: int) -> Problem:
        """Row `index`."""
        return self._problems[index]

    def grade(self, problem: Problem, response: str) -> Grade:
        r"""Right if the last `\boxed{}` is the gold answer in normal form; none is unreadable."""
        return grade_boxed(problem, response)

    def _problem(self, where: str, row: dict[str, Any]) -> Problem:
        gold = last_boxed(str(row["solution"]))
        if gold is None:
            raise EnvError(f"{where}: the solution has no \\boxed{{}} answer")
        level = re.sub(r"\D", "", str(row.get("level", "")))
        return Problem(
            where, str(row["problem"]), gold, str(row["solution"]), level=int(level or 0),
            info={"type": row.get("type", "")},
        )  # fmt: skip


def grade_boxed(problem: Problem, response: str) -> Grade:
    r"""The strict rule for boxed answers; the gold may be boxed in a worked solution or plain."""
    found = last_boxed(response)
    if found is None:
        return Grade(None, None, "no boxed answer")
    return Grade(same(found, last_boxed(problem.answer) or problem.answer), normal_form(found))
