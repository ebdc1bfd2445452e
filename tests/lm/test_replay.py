"""A recording answers as the model did; a model of one's own is recorded like an endpoint."""

import math
from dataclasses import replace

import pytest
from pydantic import BaseModel

from tests.chaos.server import chaos_server, completion
from understudy.lm.base import (
    BudgetExceeded,
    ChatLM,
    ChoiceLM,
    Choices,
    LMError,
    Reply,
    Request,
    Sampling,
    Unparsed,
)
from understudy.lm.cache import Cache
from understudy.lm.endpoint import EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.replay import CachedChoiceLM, CachedLM, ReplayLM, open_replay
from understudy.types import Message, Usage


class Guess(BaseModel):
    number: int


def ask(text, schema=None, index=0):
    return Request((Message("user", text),), Sampling(max_tokens=20), schema, index)


class Parrot:
    """Says the last message again, as a grammar-bound model would; knows no probabilities better."""

    name = "parrot@1"

    def __init__(self):
        self.asked = []
        self.fail = False

    def chat(self, requests):
        if self.fail:
            raise RuntimeError("out of memory")
        self.asked += [request.messages[-1].content for request in requests]
        replies = [Reply(r.messages[-1].content, usage=Usage(1, 0, 4, 2)) for r in requests]
        return [
            replace(reply, value=request.schema and reply.text)
            for request, reply in zip(requests, replies, strict=True)
        ]

    def score_choices(self, request, options):
        self.asked.append("score")
        total = sum(map(len, options))
        return [math.log(len(option) / total) for option in options]


@pytest.fixture
def files(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    yield cache, Ledger(cache), tmp_path / "c.sqlite"
    cache.close()


def test_an_endpoints_recording_with_its_repair(files):
    _, ledger, path = files
    texts = ["seven", '{"number": 7}', "plain"]
    asked = [ask("guess", Guess)]
    with (
        chaos_server(respond=lambda body: completion(texts.pop(0))) as server,
        EndpointLM(server.url, "m", ledger=ledger) as lm,
    ):
        live = lm.chat(asked) + lm.chat([ask("other")])
        name = lm.name
    replay = ReplayLM(path)
    assert isinstance(replay, ChatLM)
    assert replay.name == name
    again = replay.chat([*asked, ask("other")])
    assert [(r.text, r.value) for r in again] == [(r.text, r.value) for r in live]
    assert again[0].value == Guess(number=7)
    assert again[0].usage == Usage(cached_calls=2)
    with pytest.raises(LMError, match="no recorded answer to 'a third question'"):
        replay.chat([ask("a   third\nquestion")])
    with pytest.raises(LMError, match="no recorded answer"):
        replay.chat([replace(ask("other"), sample_index=1)])
    replay.close()


def test_a_recording_is_not_written_to(files):
    cache, ledger, path = files
    CachedLM(Parrot(), cache, ledger).chat([ask("a")])
    cache.close()
    before = path.read_bytes()
    replay = ReplayLM(path)
    replay.chat([ask("a")])
    with pytest.raises(LMError, match="readonly"):
        replay._cache.put("k", '{"model": "m"}', Reply("x"))
    replay.close()
    assert path.read_bytes() == before


def test_which_recording(files, tmp_path):
    cache, _, path = files
    with pytest.raises(LMError, match="no such recording"):
        ReplayLM(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    with pytest.raises(LMError, match="holds no answers"):
        ReplayLM(path)
    cache.put("1", '{"model": "m1"}', Reply("x"))
    assert ReplayLM(path).name == "m1"
    cache.put("2", '{"model": "m2"}', Reply("x"))
    with pytest.raises(LMError, match="holds m1, m2"):
        ReplayLM(path)
    with pytest.raises(LMError, match="asked for m3"):
        ReplayLM(path, "m3")
    assert ReplayLM(path, "m2").name == "m2"


def test_a_model_of_ones_own_is_asked_once(files):
    cache, ledger, path = files
    parrot = Parrot()
    lm = CachedLM(parrot, cache, ledger)
    assert isinstance(lm, ChatLM)
    assert not isinstance(lm, ChoiceLM)
    one = Choices(("one", "two"))
    replies = lm.chat([ask("one", one), ask("two", one), ask("one", one)])
    assert parrot.asked == ["one", "two"]
    assert [r.value for r in replies] == ["one", "two", "one"]
    assert [r.usage.cached_calls for r in replies] == [0, 0, 1]
    more = lm.chat([ask("three"), ask("two", one)])
    assert parrot.asked == ["one", "two", "three"]
    assert more[1].value == "two"
    total = ledger.summary()
    assert (total["done"], total["cached"]) == (3, 2)
    assert (total["prompt_tokens"], total["completion_tokens"]) == (12, 6)
    assert lm.chat([]) == []
    replay = ReplayLM(path)
    assert [r.value for r in replay.chat([ask("one", one), ask("two", one)])] == ["one", "two"]
    replay.close()


def test_an_odd_answer_without_a_repair_is_replayed_as_it_was(files):
    cache, ledger, path = files
    CachedLM(Parrot(), cache, ledger).chat([ask("three", Choices(("one",)))])
    replay = ReplayLM(path)
    (reply,) = replay.chat([ask("three", Choices(("one",)))])
    assert isinstance(reply.value, Unparsed)
    replay.close()


def test_a_token_cap_holds_for_ones_own_model(files):
    cache, _, _ = files
    parrot = Parrot()
    lm = CachedLM(parrot, cache, Ledger(cache, max_tokens=150))
    with pytest.raises(BudgetExceeded, match="max-tokens"):
        lm.chat([ask("a"), ask("b")])
    assert parrot.asked == []
    assert len(lm.chat([ask("a")])) == 1


def test_a_failure_of_ones_own_model_bills_nobody(files):
    cache, ledger, _ = files
    parrot = Parrot()
    parrot.fail = True
    with pytest.raises(RuntimeError, match="out of memory"):
        CachedLM(parrot, cache, ledger).chat([ask("a")])
    assert (ledger.summary()["refused"], ledger.summary()["unknown"]) == (1, 0)


def test_scores_are_recorded_to_the_last_bit(files):
    cache, ledger, path = files
    parrot = Parrot()
    lm = CachedChoiceLM(parrot, cache, ledger)
    assert isinstance(lm, ChoiceLM)
    first = lm.score_choices(ask("a"), ["left", "right", "up"])
    assert lm.score_choices(ask("a"), ["left", "right", "up"]) == first
    assert parrot.asked == ["score"]
    assert first == [math.log(4 / 11), math.log(5 / 11), math.log(2 / 11)]
    lm.score_choices(ask("a"), ["left", "right"])
    assert parrot.asked == ["score"] * 2
    lm.chat([ask("a")])
    assert parrot.asked == ["score", "score", "a"]
    assert (ledger.summary()["done"], ledger.summary()["cached"]) == (3, 1)
    replay = open_replay(path)
    assert isinstance(replay, ChoiceLM)
    assert replay.score_choices(ask("a"), ["left", "right", "up"]) == first
    assert replay.chat([ask("a")])[0].text == "a"
    with pytest.raises(LMError, match="no recorded scores of answers to 'a'"):
        replay.score_choices(ask("a"), ["up"])
    replay.close()


def test_a_recording_without_scores_offers_none(files):
    cache, ledger, path = files
    CachedLM(Parrot(), cache, ledger).chat([ask('talk of ,"score":[1] means nothing')])
    replay = open_replay(path)
    assert not isinstance(replay, ChoiceLM)
    replay.close()


def test_cache_and_ledger_are_of_one_file(files):
    with pytest.raises(LMError, match="one file"):
        CachedLM(Parrot(), Cache(None), files[1])
