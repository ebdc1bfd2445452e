"""Evaluation: held-out problems, greedy or sampled, graded by another grader than the reward's.

The reward comes from the task's strict grader. What is reported here is read off the same text by
`envs.diagnose`, which shares no code with it and says why an answer is not right: its form, its
arithmetic or its reasoning. All proportions carry Wilson 95 % intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy import ops
from understudy.envs.base import Problem
from understudy.envs.diagnose import Diagnoses, Diagnosis, diagnose
from understudy.envs.text_env import TextEnv
from understudy.types import Episode


class Acting(Protocol):
    """Plays problems: `functools.partial` of `collect` or `collect_chat` with a model bound."""

    def __call__(
        self,
        envs: Sequence[TextEnv],
        indices: Sequence[int],
        *,
        copies: int,
        row_keys: Sequence[int],
    ) -> list[list[Episode]]:
        """Episodes [U][G] of the problems."""
        ...


KINDS = ("correct", "format", "arithmetic", "reasoning", "unreadable")


@dataclass(frozen=True)
class Evaluation:
    """What a model does on n problems."""

    n: int
    kinds: dict[str, int]
    """Answers by diagnosis: correct; wrong by format, arithmetic, reasoning; unreadable."""
    right: tuple[bool, ...]
    """[n]: whether each problem's (first) answer was correct; pairs up with another evaluation."""
    mean_reward: float
    equations_right: int
    equations: int
    mean_tokens: float
    pass_at: dict[int, float]
    """pass@k by k; from sampled answers only."""

    @property
    def accuracy(self) -> float:
        """Share of answers that are correct, marked as asked for."""
        return self.kinds["correct"] / max(1, sum(self.kinds.values()))

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 % interval of the accuracy."""
        return ops.wilson(self.kinds["correct"], sum(self.kinds.values()))

    def metrics(self, prefix: str) -> dict[str, float]:
        """As flat numbers for the log."""
        total = max(1, sum(self.kinds.values()))
        low, high = self.interval
        numbers = {
            "answers": float(total),
            "accuracy": self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
        }
        numbers |= {f"share_{kind}": self.kinds[kind] / total for kind in KINDS[1:]}
        numbers |= {"reward": self.mean_reward, "tokens": self.mean_tokens}
        numbers["equations_right"] = self.equations_right / max(1, self.equations)
        numbers |= {f"pass_at_{k}": value for k, value in self.pass_at.items()}
        return {f"{prefix}/{name}": value for name, value in numbers.items()}


def evaluate(
    act: Acting,
    make_env: Callable[[], TextEnv],
    indices: Sequence[int],
    *,
    copies: int = 1,
    batch: int = 128,
) -> Evaluation:
    """Answers problems `indices` and diagnoses every answer.

    Args:
        act: the model with its prompt and sampling.
        make_env: makes one environment of the held-out split.
        indices: the problems; the same list every time makes evaluations comparable in pairs.
        copies: answers per problem; pass@k is given for powers of two up to it.
        batch: rows played together.
    """
    episodes: list[list[Episode]] = []
    problems: list[Problem] = []
    chunk = max(1, batch // copies)
    envs = [make_env() for _ in range(min(chunk, len(indices)) * copies)]
    for start in range(0, len(indices), chunk):
        some = indices[start : start + chunk]
        keys = [(start + u) * copies + g for u in range(len(some)) for g in range(copies)]
        episodes += act(envs[: len(some) * copies], some, copies=copies, row_keys=keys)
        problems += [envs[0].task.problem(i) for i in some]
    own = [env.task.diagnose for env in envs[:1] if isinstance(env.task, Diagnoses)]
    return _summary(problems, episodes, copies, own[0] if own else diagnose)


def _summary(
    problems: Sequence[Problem],
    episodes: Sequence[Sequence[Episode]],
    copies: int,
    verdict: Callable[[Problem, str], Diagnosis],
) -> Evaluation:
    found = [
        [verdict(p, str(e.info["text"])) for e in group]
        for p, group in zip(problems, episodes, strict=True)
    ]
    flat = [d for group in found for d in group]
    rows = [e for group in episodes for e in group]
    right = [[d.kind == "correct" for d in group] for group in found]
    powers = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= copies] if copies > 1 else []
    return Evaluation(
        n=len(problems),
        kinds={kind: Counter(d.kind for d in flat)[kind] for kind in KINDS},
        right=tuple(group[0] for group in right),
        mean_reward=sum(sum(e.rewards) for e in rows) / max(1, len(rows)),
        equations_right=sum(d.equations_right for d in flat),
        equations=sum(d.equations for d in flat),
        mean_tokens=sum(len(e.tokens.ids) for e in rows if e.tokens) / max(1, len(rows)),
        pass_at={
            k: sum(ops.pass_at_k(copies, sum(g), k) for g in right) / max(1, len(right))
            for k in powers
        },
    )
