"""A model without tokens in the same environments."""

import pytest

from tests.rollout.scripted import ScriptedChat, Sums
from understudy.envs.text_env import TextEnv
from understudy.lm.base import Reply, Request, Sampling
from understudy.rollout.chat import collect_chat
from understudy.rollout.prompting import Prompt
from understudy.types import Message


def play(lm: ScriptedChat, mode, indices, copies: int = 1, max_steps: int = 12):
    envs = [TextEnv(Sums(), mode=mode, max_steps=max_steps) for _ in range(len(indices) * copies)]
    prompt = Prompt("Be brief.", [("1+1?", "#### 2")])
    return collect_chat(
        lm, envs, indices, prompt=prompt, sampling=Sampling(max_tokens=9, seed=4), copies=copies
    )


def test_whole_answers_are_one_batch_of_requests() -> None:
    lm = ScriptedChat(lambda r: Reply(f"It is\n#### {4 + 2 * r.sample_index}"))
    groups = play(lm, "whole", [2, 3], copies=2)
    [batch] = lm.batches
    start = (
        Message("system", "Be brief."),
        Message("user", "1+1?"),
        Message("assistant", "#### 2"),
    )
    sampling = Sampling(max_tokens=9, seed=4)
    assert batch == [
        Request((*start, Message("user", f"{i}+{i}?")), sampling, sample_index=g)
        for i in (2, 3) for g in (0, 1)
    ]  # fmt: skip
    assert [[e.rewards for e in g] for g in groups] == [[(1.0,), (0.0,)], [(0.0,), (1.0,)]]
    for e in (e for g in groups for e in g):
        assert e.tokens is None
        assert e.actions == (e.info["text"],)
        assert (e.terminated, e.truncated) == (True, False)
        assert e.info["finish_reason"] == "stop"
        assert len(e.observations) == 2


def test_stepwise_every_line_is_a_request_that_goes_on() -> None:
    script = {"2+2?": ["One.", "Two.\n", "#### 4"], "3+3?": ["#### 5"]}

    def answer(request: Request) -> Reply:
        *_, last = request.messages
        if last.role == "user":
            return Reply(script[last.content][0])
        question = request.messages[-2].content
        return Reply(script[question][last.content.count("\n")])

    lm = ScriptedChat(answer)
    [[longer], [shorter]] = play(lm, "stepwise", [2, 3])
    assert longer.actions == ("One.\n", "Two.\n", "#### 4\n")
    assert longer.rewards == (0.0, 0.0, 1.0)
    assert longer.observations[-1] == "2+2?\nOne.\nTwo.\n#### 4\n"
    assert longer.info["text"] == "One.\nTwo.\n#### 4\n"
    assert shorter.actions == ("#### 5\n",)
    assert shorter.rewards == (0.0,)
    assert [len(batch) for batch in lm.batches] == [2, 1, 1]
    assert all(r.sampling.stop == ("\n",) for batch in lm.batches for r in batch)
    assert [b[0].messages[-1] for b in lm.batches] == [
        Message("user", "2+2?"), Message("assistant", "One.\n"), Message("assistant", "One.\nTwo.\n"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "reply", [Reply("half a li", finish_reason="length"), Reply(""), Reply("  ")]
)
def test_a_line_without_end_ends_the_episode(reply: Reply) -> None:
    [[episode]] = play(ScriptedChat(lambda _: reply), "stepwise", [2])
    assert episode.actions == (reply.text,)
    assert episode.terminated
    assert episode.info["finish_reason"] == reply.finish_reason


def test_a_model_that_never_ends_is_truncated() -> None:
    lm = ScriptedChat(lambda _: Reply("on and on"))
    [[episode]] = play(lm, "stepwise", [2], max_steps=4)
    assert len(episode.actions) == len(lm.batches) == 4
    assert (episode.terminated, episode.truncated) == (False, True)
