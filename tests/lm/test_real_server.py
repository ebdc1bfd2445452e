"""The endpoint against a real server of the protocol, grammar and all."""

from enum import Enum

import pytest
from pydantic import BaseModel, Field

from tests.lm.gguf_server import gguf_server
from understudy.lm.base import ChatLM, Choices, Regex, Request, Sampling, Unparsed
from understudy.lm.cache import Cache
from understudy.lm.endpoint import EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.replay import ReplayLM
from understudy.types import Message


class Direction(Enum):
    LEFT = "left"
    RIGHT = "right"


class Move(BaseModel):
    mood: int = Field(ge=-3, le=12)
    direction: Direction
    steps: list[int] = Field(min_length=1, max_length=3)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with gguf_server(tmp_path_factory.mktemp("gguf")) as url:
        yield url


def ask(text, schema=None, index=0, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), schema, index)


def test_chat_is_seeded_counted_and_cached(address, tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    ledger = Ledger(cache)
    asked = [ask("hello", max_tokens=20, index=i) for i in (0, 1, 2, 0)]
    with EndpointLM(address, "random", ledger=ledger) as lm:
        assert isinstance(lm, ChatLM)
        first = lm.chat(asked)
        again = lm.chat(asked)
    assert [r.text for r in first] == [r.text for r in again]
    assert first[0].text == first[3].text
    assert len({r.text for r in first}) == 3  # the sample index is in the seed
    # "user: hello\nassistant: " is 23 bytes, one token each
    assert first[0].usage.prompt_tokens == 23
    assert first[0].usage.completion_tokens == 20
    assert first[0].finish_reason == "length"
    total = ledger.summary()
    assert (total["done"], total["cached"], total["unknown"]) == (3, 5, 0)
    assert (total["prompt_tokens"], total["completion_tokens"]) == (3 * 23, 3 * 20)

    replayed = ReplayLM(tmp_path / "cache.sqlite")
    assert replayed.name == lm.name
    assert [r.text for r in replayed.chat(asked)] == [r.text for r in first]
    replayed.close()


def test_schemas_hold_on_random_weights(address):
    asked = [ask("move", Move, i, max_tokens=400, temperature=1.0) for i in range(8)]
    with EndpointLM(address, "random") as lm:
        replies = lm.chat(asked)
        total = lm.ledger.summary()
    read = [reply.value for reply in replies if not isinstance(reply.value, Unparsed)]
    # a random model may ramble in the white space the grammar allows until it is cut
    cut = [reply for reply in replies if reply.finish_reason == "length"]
    assert len(read) + len(cut) == 8
    assert len(read) >= 6
    assert all(isinstance(value, Move) for value in read)
    assert len({value.mood for value in read}) > 1
    assert total["refused"] == 0  # the schema was taken as it is, and no repair was needed
    assert total["done"] == 8


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (
            Choices(("left", "right", "no, neither")),
            lambda v: v in ("left", "right", "no, neither"),
        ),
        (Regex("a|b[0-9]{2}"), lambda v: v == "a" or (v[0] == "b" and v[1:].isdecimal())),
    ],
)
def test_choices_and_patterns_hold_on_random_weights(address, schema, fits):
    asked = [ask("choose", schema, i, max_tokens=200) for i in range(6)]
    with EndpointLM(address, "random") as lm:
        replies = lm.chat(asked)
    read = [reply for reply in replies if not isinstance(reply.value, Unparsed)]
    assert len(read) >= 4
    for reply in read:
        assert reply.value == reply.text
        assert fits(reply.value)
