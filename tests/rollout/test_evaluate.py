"""Counts, shares, intervals and pass@k of an evaluation, by hand."""

from functools import partial

import pytest

from tests.rollout.scripted import ScriptedTokens, Sums
from understudy.envs.text_env import TextEnv
from understudy.lm.base import Sampling
from understudy.ops import wilson
from understudy.rollout.collect import collect
from understudy.rollout.evaluate import evaluate
from understudy.rollout.prompting import Prompt

ANSWERS = {
    "0": "#### 0",  # correct
    "1": "So it is 2",  # format: right and unmarked
    "2": "2+2 = 5\n#### 5",  # arithmetic: right when computed properly
    "3": "3+4 = 7\n#### 7",  # reasoning: another sum
    "4": "no idea",  # unreadable
    "5": "5+5 = 10\n#### 10",  # correct
}


def acting(say):
    lm = ScriptedTokens(say)
    return lm, partial(collect, lm, prompt=Prompt(), sampling=Sampling(max_tokens=64))


@pytest.mark.parametrize("batch", [128, 4, 1])
def test_every_kind_of_answer_is_counted(batch: int) -> None:
    lm, act = acting(lambda prompt, _: ANSWERS[prompt[0]])
    found = evaluate(act, lambda: TextEnv(Sums()), range(6), batch=batch)
    assert found.n == 6
    assert found.kinds == {
        "correct": 2,
        "format": 1,
        "arithmetic": 1,
        "reasoning": 1,
        "unreadable": 1,
    }
    assert found.right == (True, False, False, False, False, True)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.interval == wilson(2, 6)
    assert found.mean_reward == pytest.approx(1 / 3)
    assert (found.equations_right, found.equations) == (2, 3)
    letters = sum(len(text) + 1 for text in ANSWERS.values())  # one token each, and the end
    assert found.mean_tokens == pytest.approx(letters / 6)
    assert found.pass_at == {}
    metrics = found.metrics("test")
    low, high = wilson(2, 6)
    assert metrics == pytest.approx(
        {
            "test/answers": 6, "test/accuracy": 1 / 3, "test/accuracy_low": low, "test/accuracy_high": high,
            "test/share_format": 1 / 6, "test/share_arithmetic": 1 / 6, "test/share_reasoning": 1 / 6,
            "test/share_unreadable": 1 / 6, "test/reward": 1 / 3, "test/tokens": letters / 6,
            "test/equations_right": 2 / 3,
        }
    )  # fmt: skip
    assert [key for keys in lm.keys for key in keys or ()] == list(range(6))


@pytest.mark.parametrize("batch", [128, 8, 3])
def test_pass_at_k(batch: int) -> None:
    """Problem 0: 4 of 4 right, problem 1: 1 of 4, problem 2: none."""
    rights = {"0": 4, "1": 1, "2": 0}
    lm, act = acting(
        lambda prompt, row: f"#### {2 * int(prompt[0]) + (row % 4 >= rights[prompt[0]])}"
    )
    found = evaluate(act, lambda: TextEnv(Sums()), range(3), copies=4, batch=batch)
    assert found.n == 3
    assert sum(found.kinds.values()) == 12
    assert found.accuracy == pytest.approx(5 / 12)
    assert found.right == (True, True, False)
    # 1 of 4 right: one draw has it with 1/4, two with 1/2, four surely.
    assert found.pass_at == pytest.approx({1: (1 + 1 / 4) / 3, 2: (1 + 1 / 2) / 3, 4: 2 / 3})
    assert found.metrics("x")["x/pass_at_2"] == pytest.approx(1 / 2)
    assert [key for keys in lm.keys for key in keys or ()] == list(range(12))


def test_nothing_to_evaluate_is_no_division_by_zero() -> None:
    _, act = acting(lambda *_: "")
    found = evaluate(act, lambda: TextEnv(Sums()), [])
    assert (found.n, found.accuracy, found.interval) == (0, 0.0, (0.0, 1.0))
