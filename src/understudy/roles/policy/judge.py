"""A language model as judge: every step is scored on several dimensions, by exact P(yes).

Each dimension is a yes-or-no question about one step; the judge sees the problem, the solution so
far and the step (the original showed it only the step). The score is the probability of "yes" among
"yes" and "no", read off the judge's own probabilities, never sampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import exp

from understudy.lm.base import ChoiceLM, Request
from understudy.roles.policy.config import RewardConfig
from understudy.types import Episode, Message

OPTIONS = ("yes", "no")


def judged(
    config: RewardConfig, judge: ChoiceLM, episodes: Sequence[Sequence[Episode]]
) -> list[list[Episode]]:
    """The same episodes, each step's reward raised by the judge's mean P(yes), weighted."""
    return [
        [
            replace(
                e,
                rewards=tuple(
                    reward + config.judge_weight * score
                    for reward, score in zip(e.rewards, step_scores(config, judge, e), strict=True)
                ),
            )
            for e in group
        ]
        for group in episodes
    ]


def step_scores(config: RewardConfig, judge: ChoiceLM, episode: Episode) -> list[float]:
    """Mean over dimensions of P(yes), one per step of an episode; each in [0, 1]."""
    scores: list[float] = []
    for t, action in enumerate(episode.actions):
        words = {
            "problem": str(episode.info["question"]),
            "so_far": "".join(str(a) for a in episode.actions[:t]),
            "step": str(action),
        }
        marks = [
            _probability_of_yes(judge, fill(text, words)) for text in config.dimensions.values()
        ]
        scores.append(sum(marks) / len(marks))
    return scores


def fill(template: str, words: dict[str, str]) -> str:
    """Puts words in for {problem}, {so_far}, {step} in one pass; other braces stay as they are."""
    return re.sub(r"\{(problem|so_far|step)\}", lambda found: words[found[1]], template)


def _probability_of_yes(judge: ChoiceLM, question: str) -> float:
    yes, _ = judge.score_choices(Request((Message("user", question),)), OPTIONS)
    return exp(yes)
