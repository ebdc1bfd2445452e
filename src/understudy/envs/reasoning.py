"""Any task of the reasoning-gym library (extra `tasks`), graded by the library's own rule."""

from __future__ import annotations

import importlib
from typing import Any

from understudy.envs.answers import MAX_RESPONSE
from understudy.envs.base import EnvError, Grade, Problem

SEEDS = {"train": 0, "validation": 1 << 20, "test": 1 << 21}


class ReasoningGym:
    """A reasoning-gym data set, `reasoning-gym/NAME`.

    Splits are data sets of different seeds; the disjointness of the problems is checked by fingerprints
    before a run, as the generators do not guarantee it.

    Args:
        name: the library's name of the task, e.g. "chain_sum".
        split: "train", "validation" or "test".
        size: problems in the split.
        seed: another seed is another set of problems.
        dataset: an object with the library's data-set protocol (`len`, `[i]`, `score_answer`), to use
            instead of creating one.
        settings: passed to the library.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        *,
        size: int = 10_000,
        seed: int = 0,
        dataset: Any = None,
        **settings: Any,
    ) -> None:
        if split not in SEEDS:
            raise EnvError(f"reasoning-gym: split must be one of {', '.join(SEEDS)}, not {split!r}")
        self.name, self.split = f"reasoning-gym/{name}", split
        self._data = (
            dataset if dataset is not None else _create(name, SEEDS[split] + seed, size, settings)
        )

    def __len__(self) -> int:
        return len(self._data)

    def problem(self, index: int) -> Problem:
        """Entry `index` of the data set."""
        entry = self._data[index]
        return Problem(
            f"{self.name}/{self.split}/{index}",
            entry["question"],
            str(entry["answer"]),
            info={"entry": entry},
        )

    def grade(self, problem: Problem, response: str) -> Grade:
        """The library's score of what follows the last `####`; 1 is right, unmarked is unreadable."""
        _, mark, value = response[-MAX_RESPONSE:].rpartition("####")
        value = value.strip()
        if not mark or not value:
            return Grade(None, None, "no marked answer")
        score = float(self._data.score_answer(answer=value, entry=problem.info["entry"]))
        return Grade(score >= 1.0, value, f"score {score:.2f}")


def _create(name: str, seed: int, size: int, settings: dict[str, Any]) -> Any:
    try:
        library: Any = importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise EnvError(f"reasoning-gym/{name}: install understudy[tasks]") from error
    try:
        return library.create_dataset(name, seed=seed, size=size, **settings)
    except (ValueError, TypeError, AssertionError) as error:
        raise EnvError(f"reasoning-gym/{name}: {str(error).splitlines()[0]}") from error
