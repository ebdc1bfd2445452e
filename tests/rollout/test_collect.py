"""Episodes with a model acting: texts, tokens, steps, rewards and where they end."""

from typing import Literal

import pytest
import torch

from tests.roles import little
from tests.rollout.scripted import LOGPROB, ScriptedTokens, Sums
from understudy.envs.gsm8k import GSM8K
from understudy.envs.text_env import TextEnv
from understudy.lm.base import Sampling
from understudy.lm.local import LocalLM
from understudy.rollout.collect import collect
from understudy.rollout.prompting import Prompt
from understudy.types import Episode

MODES = ("whole", "stepwise")


def play(lm, mode, indices=(3,), *, copies=1, max_tokens=64, max_steps=12, **options):
    envs = [TextEnv(Sums(), mode=mode, max_steps=max_steps) for _ in range(len(indices) * copies)]
    sampling = Sampling(max_tokens=max_tokens)
    return collect(lm, envs, indices, prompt=Prompt(), sampling=sampling, copies=copies, **options)


def test_a_whole_answer_word_by_word() -> None:
    [[episode]] = play(ScriptedTokens(lambda *_: "It is <<3+3=####6\n#### 6"), "whole")
    text = "It is <<3+3=6>>####6\n#### 6"
    assert episode.actions == (text,)
    assert episode.rewards == (1.0,)
    assert episode.observations == ("3+3?", f"3+3?\n{text}")
    assert (episode.terminated, episode.truncated) == (True, False)
    assert episode.info["text"] == text
    assert episode.info["correct"] is True
    assert episode.info["finish_reason"] == "stop"
    tokens = episode.tokens
    assert tokens is not None
    forced = [i for i, sampled in enumerate(tokens.sampled) if not sampled]
    assert forced == [12, 13, 14]
    assert text[12:15] == "6>>"
    assert [tokens.logprobs[i] for i in (11, 12, 15)] == [LOGPROB, 0.0, LOGPROB]
    assert set(tokens.steps) == {0}
    assert len(tokens.ids) == len(text) + 1


def test_a_stepwise_answer_line_by_line() -> None:
    [[episode]] = play(ScriptedTokens(lambda *_: "One <<3+3=\nTwo.\n#### 6"), "stepwise")
    assert episode.actions == ("One <<3+3=6>>\n", "Two.\n", "#### 6")
    assert episode.rewards == (0.0, 0.0, 1.0)
    assert len(episode.observations) == 4
    assert episode.observations[2] == "3+3?\nOne <<3+3=6>>\nTwo.\n"
    assert (episode.terminated, episode.truncated) == (True, False)
    assert episode.tokens is not None
    assert (
        episode.tokens.steps == (0,) * 14 + (1,) * 5 + (2,) * 7
    )  # the end token belongs to the last
    assert [i for i, s in enumerate(episode.tokens.sampled) if not s] == [10, 11, 12]


def test_a_marked_line_ends_a_stepwise_episode_before_the_model_does() -> None:
    [[episode]] = play(ScriptedTokens(lambda *_: "One.\n#### 7\nmore\nand more"), "stepwise")
    assert episode.actions == ("One.\n", "#### 7\n")
    assert episode.rewards == (0.0, 0.0)
    assert episode.info["finish_reason"] == "environment"
    assert episode.terminated
    assert episode.tokens is not None
    assert episode.tokens.steps == (0,) * 5 + (1,) * 7


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_is_cut_off_is_truncated(mode) -> None:
    [[episode]] = play(ScriptedTokens(lambda *_: "One.\n#### 6 and on"), mode, max_tokens=11)
    assert episode.info["text"] == "One.\n#### 6"
    assert (episode.terminated, episode.truncated) == (False, True)
    assert episode.info["finish_reason"] == "length"
    assert sum(episode.rewards) == 1.0  # what there is of it is graded all the same
    assert "".join(episode.actions) == "One.\n#### 6"


def test_too_many_lines_truncate_a_stepwise_episode() -> None:
    [[episode]] = play(ScriptedTokens(lambda *_: "a\nb\nc\nd\n#### 6"), "stepwise", max_steps=3)
    assert episode.actions == ("a\n", "b\n", "c\n")
    assert (episode.terminated, episode.truncated) == (False, True)
    assert episode.rewards == (0.0, 0.0, 0.0)


def test_an_empty_answer_is_an_episode_of_one_empty_action() -> None:
    for mode in MODES:
        [[episode]] = play(ScriptedTokens(lambda *_: ""), mode)
        assert episode.actions == ("",)
        assert episode.info["correct"] is None
        assert episode.tokens is not None
        assert episode.tokens.steps == (0,)


def test_copies_are_of_their_problem_and_in_order() -> None:
    lm = ScriptedTokens(lambda prompt, row: f"{prompt}{row}\n#### {row}")
    groups = play(lm, "whole", (1, 4), copies=3, row_keys=list(range(6)))
    assert [[e.info["problem_id"] for e in g] for g in groups] == [["1"] * 3, ["4"] * 3]
    assert [[e.info["value"] for e in g] for g in groups] == [["0", "1", "2"], ["3", "4", "5"]]
    assert [[sum(e.rewards) for e in g] for g in groups] == [[0, 0, 1], [0, 0, 0]]
    assert lm.keys == [list(range(6))]
    with pytest.raises(ValueError, match=r"2 problems × 3 copies need as many envs, not 1"):
        collect(lm, [TextEnv(Sums())], (1, 4), prompt=Prompt(), sampling=Sampling(), copies=3)


def test_the_prompt_has_instruction_and_examples_in_order() -> None:
    asked: list[str] = []
    lm = ScriptedTokens(lambda prompt, _: asked.append(prompt) or "#### 6")
    prompt = Prompt("Be brief.", [("1+1?", "#### 2")])
    collect(lm, [TextEnv(Sums())], [3], prompt=prompt, sampling=Sampling())
    assert asked == ["Be brief.1+1?#### 23+3?"]


# ---- with a real model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return little.model(steps=35)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> GSM8K:
    return GSM8K("train", path=str(little.problems(tmp_path_factory.mktemp("task"))[0]))


def sampled(
    lm: LocalLM, task: GSM8K, mode: Literal["whole", "stepwise"], indices: list[int], copies: int,
    row_keys: list[int] | None = None, temperature: float = 0.7,
) -> list[Episode]:  # fmt: skip
    envs = [TextEnv(task, mode=mode, max_steps=3) for _ in range(len(indices) * copies)]
    groups = collect(
        lm, envs, indices, prompt=Prompt(), copies=copies, row_keys=row_keys,
        sampling=Sampling(max_tokens=18, temperature=temperature, seed=5),
    )  # fmt: skip
    return [e for group in groups for e in group]


@pytest.mark.parametrize("mode", MODES)
def test_episodes_are_whole(mode, lm: LocalLM, task: GSM8K) -> None:
    episodes = sampled(lm, task, mode, list(range(8)), 4)
    assert len({e.info["text"] for e in episodes}) > 8
    assert {e.truncated for e in episodes} == {True, False}
    assert {len(e.actions) for e in episodes} >= ({2, 3} if mode == "stepwise" else {1})
    forced = 0
    for e in episodes:
        assert len(e.rewards) == len(e.actions) == len(e.observations) - 1
        assert e.terminated != e.truncated
        assert all(r == 0 for r in e.rewards[:-1])
        tokens = e.tokens
        assert tokens is not None
        assert len(tokens.ids) == len(tokens.logprobs) == len(tokens.sampled) == len(tokens.steps)
        assert list(tokens.steps) == sorted(tokens.steps)
        for t, action in enumerate(e.actions):
            mine = [i for i, step in zip(tokens.ids, tokens.steps, strict=True) if step == t]
            assert lm.decode(mine) == action
        written = [i for i, s in zip(tokens.ids, tokens.sampled, strict=True) if not s]
        assert set(lm.decode(written)) <= set("0123456789>")
        forced += len(written)
    assert forced > 20


@pytest.mark.parametrize("temperature", [0.7, 1.3])
@pytest.mark.parametrize("mode", MODES)
def test_log_probabilities_are_those_of_the_trainer(
    mode, temperature: float, lm: LocalLM, task: GSM8K
) -> None:
    episodes = sampled(lm, task, mode, list(range(6)), 3, temperature=temperature)
    traces = [e.tokens for e in episodes if e.tokens is not None]
    with torch.no_grad():
        again = lm.logprobs(
            [t.prompt_ids for t in traces], [[t.ids] for t in traces], temperature=temperature
        ).tolist()
    for trace, row in zip(traces, again, strict=True):
        for recorded, value, drawn in zip(trace.logprobs, row, trace.sampled, strict=False):
            assert recorded == (pytest.approx(value, abs=1e-5) if drawn else 0.0)
    assert min(p for t in traces for p in t.logprobs) < -1


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_does_not_depend_on_its_batch(mode, lm: LocalLM, task: GSM8K) -> None:
    together = sampled(lm, task, mode, list(range(5)), 2, list(range(10)))
    alone = [e for k in range(10) for e in sampled(lm, task, mode, [k // 2], 1, [k])]
    for a, b in zip(together, alone, strict=True):
        assert a.actions == b.actions
        assert a.rewards == b.rewards
        assert a.tokens is not None
        assert b.tokens is not None
        assert a.tokens.ids == b.tokens.ids
        assert a.tokens.logprobs == pytest.approx(b.tokens.logprobs, abs=1e-5)
