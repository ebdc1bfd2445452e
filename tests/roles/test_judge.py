"""A judge's scores, and that they reach the advantages."""

from collections.abc import Sequence
from math import exp, log

import pytest

from tests.rollout.scripted import ScriptedChat
from understudy.lm.base import Reply, Request
from understudy.roles.policy.config import RewardConfig
from understudy.roles.policy.judge import fill, judged, step_scores
from understudy.types import Episode


class Judge(ScriptedChat):
    """P(yes) is looked up in the question's last word."""

    def __init__(self, marks: dict[str, float]) -> None:
        super().__init__(lambda _: Reply("yes"))
        self.marks = marks
        self.asked: list[str] = []

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        assert tuple(options) == ("yes", "no")
        [message] = request.messages
        self.asked.append(message.content)
        yes = self.marks[message.content.split()[-1]]
        return [log(yes), log(1 - yes)]


CONFIG = RewardConfig(
    judge="pocket",
    judge_weight=0.4,
    dimensions={"clear": "Of {problem} after [{so_far}]: is {step} a", "useful": "{step} b"},
)


def episode(*actions: str) -> Episode:
    rewards = (*[0.0] * (len(actions) - 1), 1.0)
    return Episode(
        "sums",
        ("o",) * (len(actions) + 1),
        actions,
        rewards,
        True,
        False,
        {"question": "2+2?", "text": "".join(actions)},
    )


def test_every_step_is_scored_on_every_dimension() -> None:
    judge = Judge({"a": 0.8, "b": 0.2})
    assert step_scores(CONFIG, judge, episode("One.\n", "#### 4")) == pytest.approx([0.5, 0.5])
    assert judge.asked == [
        "Of 2+2? after []: is One.\n a", "One.\n b", "Of 2+2? after [One.\n]: is #### 4 a", "#### 4 b",
    ]  # fmt: skip


def test_scores_are_added_with_their_weight() -> None:
    judge = Judge({"a": 0.9, "b": 0.3})
    [[first], [second]] = judged(CONFIG, judge, [[episode("x\n", "#### 4")], [episode("y")]])
    assert first.rewards == pytest.approx((0.4 * 0.6, 1.0 + 0.4 * 0.6))
    assert second.rewards == pytest.approx((1.24,))
    assert first.actions == ("x\n", "#### 4")  # and nothing else changes
    assert first.info == episode("x\n", "#### 4").info
    [[none]] = judged(
        RewardConfig(dimensions=CONFIG.dimensions, judge_weight=0.0), judge, [[episode("y")]]
    )
    assert none.rewards == (1.0,)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{step}", "{problem} {0} %s"),
        ("{problem}|{so_far}", "{step} {step}|{"),
        ("{other} {} {{step}} {step:>9}", "{other} {} {{problem} {0} %s} {step:>9}"),
        ("no braces", "no braces"),
    ],
)
def test_templates_are_filled_once(template: str, expected: str) -> None:
    """Braces in the problem or the answer are text, and stay."""
    words = {"problem": "{step} {step}", "so_far": "{", "step": "{problem} {0} %s"}
    assert fill(template, words) == expected


def test_a_probability_is_read_off_and_not_sampled() -> None:
    judge = Judge({"a": 0.123, "b": 0.123})
    [score] = step_scores(CONFIG, judge, episode("z"))
    assert score == pytest.approx(exp(log(0.123)), abs=1e-12)
    assert judge.batches == []
