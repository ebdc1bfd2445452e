"""GSM8K (arXiv 2110.14168): grade-school problems from a JSONL file or the hub's data set."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.envs import answers
from understudy.envs.base import EnvError, Grade, Problem

HUB = "hub:"
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")


class GSM8K:
    """Rows {question, answer}, the answer worked and ending in `#### 18`.

    Args:
        split: "train" or "test"; names the hub's split, and the problems.
        path: a JSONL file, or `hub:openai/gsm8k` to load the data set by name (needs a network and
            the `hub` extra).
        annotations: keep the calculator annotations `<<12*3=36>>` in worked answers.
    """

    name = "gsm8k"

    def __init__(
        self, split: str = "train", *, path: str = "hub:openai/gsm8k", annotations: bool = True
    ) -> None:
        self.split = split
        rows = read_rows(path, split, ("question", "answer"), subset="main")
        self._problems = [self._problem(where, row, annotations) for where, row in rows]
        if not self._problems:
            raise EnvError(f"{path}: no problems in it")

    def __len__(self) -> int:
        return len(self._problems)

    def problem(self, index: int) -> Problem:
        """Row `index`."""
        return self._problems[index]

    def grade(self, problem: Problem, response: str) -> Grade:
        """Right if the last marked answer is the gold number; unmarked is unreadable."""
        return grade_number(problem, response)

    def _problem(self, where: str, row: dict[str, Any], annotations: bool) -> Problem:
        worked = str(row["answer"])
        gold = answers.read_marked(worked)
        if gold is None:
            raise EnvError(f"{where}: the answer does not end in '#### NUMBER'")
        solution = worked if annotations else _ANNOTATION.sub("", worked)
        return Problem(where, str(row["question"]), gold, solution, level=worked.count("\n"))


def grade_number(problem: Problem, response: str) -> Grade:
    """The strict rule for numeric answers; the gold may end a worked solution or stand plain."""
    value = answers.read_marked(response)
    if value is None:
        return Grade(None, None, "no marked answer")
    return Grade(answers.equal(value, answers.read_marked(problem.answer) or problem.answer), value)


def read_rows(
    path: str, split: str, required: tuple[str, ...], *, subset: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a JSONL file or of a hub data set, each with where it stands.

    Raises:
        EnvError: no such file, a malformed row (its line is named), or the hub extra is missing.
    """
    if path.startswith(HUB):
        yield from _hub_rows(path.removeprefix(HUB), split, subset)
        return
    file = Path(path)
    if not file.is_file():
        raise EnvError(f"{path}: no such file")
    # Not str.splitlines: a question may hold U+2028, which is no line end in JSONL.
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EnvError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in required):
            raise EnvError(f"{path}:{number}: a row needs the texts {' and '.join(required)}")
        yield f"{file.name}:{number}", row


def _hub_rows(name: str, split: str, subset: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise EnvError(
            f"hub:{name}: install understudy[hub], or give a JSONL file by task.path"
        ) from error
    try:
        rows: Any = datasets.load_dataset(name, subset, split=split)
    except (OSError, ValueError) as error:
        raise EnvError(f"hub:{name}: cannot load it ({str(error).splitlines()[0]})") from error
    for number, row in enumerate(rows):
        yield f"{name}/{split}:{number}", dict(row)
