"""Fingerprints of problems, and the guard that no evaluated problem is trained on."""

from __future__ import annotations

import hashlib
import re

from understudy.envs.base import EnvError, Problem, Task

WHOLE = 50_000
# A sign, a bracket or an exclamation mark counts where it stands next to a number.
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+|[-+*/^=<>%√]|\((?=\s?[\d(-])|(?<=[\d)])[)!]")
_SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "÷": "/"})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def fingerprint(problem: Problem) -> str:
    """The same for questions that differ only in case, spacing or punctuation.

    Numbers, decimals, signs and brackets of arithmetic count: 3 + 2 and 3 - 2 are two problems. So
    does `info["situation"]`, where a question in words stands for one situation of many.
    """
    question = _THOUSANDS.sub("", problem.question.casefold().translate(_SIGNS))
    words = [*_WORD.findall(question), str(problem.info.get("situation", ""))]
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def assert_disjoint(train: Task, test: Task, *, limit: int) -> None:
    """Compares the first `limit` problems of the test split with the training split.

    A training split of up to `WHOLE` problems is compared whole. Only procedural ones are larger, and
    those are disjoint by construction: of them the first `limit` problems are compared.

    Raises:
        EnvError: a problem stands in both; it is named.
    """
    evaluated = {
        fingerprint(p): p.id for p in (test.problem(i) for i in range(min(limit, len(test))))
    }
    for i in range(len(train) if len(train) <= WHOLE else min(len(train), limit)):
        problem = train.problem(i)
        if (mark := fingerprint(problem)) in evaluated:
            raise EnvError(
                f"{train.name}: problem {problem.id} of the training split is also {evaluated[mark]} "
                "of the held-out split; results on it would mean nothing"
            )
