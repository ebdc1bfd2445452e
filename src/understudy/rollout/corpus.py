"""Text tasks as supervised examples: the corpus of the pocket model and of warm starts.

A corpus is a weighted mixture of tasks that can demonstrate themselves. Example i of a corpus is a
function of (seed, i), so a training run can stop and go on anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.envs.base import Demonstrates, Problem, Task
from understudy.lm.base import Codec
from understudy.types import Message

# What the calculator writes into an answer: the result and the closing bracket.
INTERJECTED = re.compile(r"(<<[^<>=\n]*=)([^<>\n]*>>)")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its answer as tokens; only positions with weight 1 are learnt."""

    ids: tuple[int, ...]
    """Prompt and answer, L tokens, the end token included."""
    weights: tuple[float, ...]
    """[L]; 0 at the prompt's tokens and where the environment writes, not the model."""


@dataclass(frozen=True)
class Corpus:
    """A mixture of demonstrating tasks.

    Args:
        tasks: the tasks; each must have a `demonstration` method.
        weights: their shares, in any scale.
        seed: another seed is another order and other styles.
    """

    tasks: Sequence[Task]
    weights: Sequence[float]
    seed: int = 0

    def text(self, index: int) -> tuple[Problem, str]:
        """Example `index`: a problem and a demonstration of it."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 1, index]))
        share = np.asarray(self.weights, dtype=np.float64)
        task = self.tasks[rng.choice(len(self.tasks), p=share / share.sum())]
        if not isinstance(task, Demonstrates):
            raise TypeError(f"task {task.name!r} has no demonstration method")
        problem = task.problem(int(rng.integers(len(task))))
        return problem, task.demonstration(problem, rng)

    def example(self, index: int, codec: Codec) -> Example:
        """Example `index` as tokens."""
        problem, answer = self.text(index)
        return encode_example(codec, (Message("user", problem.question),), answer)


def encode_example(codec: Codec, messages: Sequence[Message], answer: str) -> Example:
    """A conversation and its answer, cut into tokens as sampling with a calculator would."""
    prompt = codec.prompt_ids(messages)
    ids, weights = list(prompt), [0.0] * len(prompt)
    # The split keeps both groups: text, "<<expr=", "result>>", text, …
    for i, piece in enumerate(INTERJECTED.split(answer)):
        tokens = codec.encode(piece)
        ids += tokens
        weights += [0.0 if i % 3 == 2 else 1.0] * len(tokens)
    return Example((*ids, min(codec.eos_ids)), (*weights, 1.0))
