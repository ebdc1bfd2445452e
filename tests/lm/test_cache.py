"""Recorded answers: what makes a request the same, and what a damaged or foreign file does."""

import sqlite3
import threading
from dataclasses import replace

import pytest
from pydantic import BaseModel

from understudy.lm import cache as cache_module
from understudy.lm.base import Choices, LMError, Regex, Reply, Request, Sampling
from understudy.lm.cache import Cache, key_of, request_json
from understudy.types import Message, Usage


class A(BaseModel):
    x: int


class B(BaseModel):
    x: float


ASK = Request((Message("user", "p"),))


def key(request=ASK, model="m"):
    return key_of(request_json(model, request))


def test_the_key_holds_all_that_decides_the_answer_and_nothing_else():
    variants = [
        ASK,
        replace(ASK, messages=(Message("system", "p"),)),
        replace(ASK, messages=(Message("user", "p "),)),
        replace(ASK, messages=(Message("user", ""), Message("user", "p"))),
        replace(ASK, sample_index=1),
        *(replace(ASK, schema=s) for s in (A, B, Regex("p"), Choices(("p",)), Choices(("p", "q")))),
        *(
            replace(ASK, sampling=Sampling(**changed))
            for changed in (
                {"max_tokens": 7},
                {"temperature": 0.0},
                {"top_p": 0.5},
                {"top_k": 1},
                {"stop": ("x",)},
                {"seed": 1},
            )
        ),
    ]
    keys = [key(request) for request in variants] + [key(model="other")]
    assert len(set(keys)) == len(variants) + 1
    assert key(Request((Message("user", "p"),), Sampling(), None, 0)) == key()


def test_an_answer_comes_back_and_costs_nothing(tmp_path):
    text = 'a "quoted"\n\u0000 line – ünïcode 🤖'
    paid = Reply(text, finish_reason="length", usage=Usage(1, 0, 9, 8, 7.0, 6.0))
    first = Cache(tmp_path / "deep" / "c.sqlite")
    assert first.get(key()) is None
    first.put(key(), request_json("m", ASK), paid)
    first.put(key(), request_json("m", ASK), Reply("a second answer to the same question"))
    first.close()
    again = Cache(tmp_path / "deep" / "c.sqlite")
    free = Reply(text, finish_reason="length", usage=Usage(cached_calls=1), first=paid.usage)
    assert free.cost == paid.cost == paid.usage
    assert again.get(key()) == free
    assert again.models() == ["m"]
    again.close()


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "c.sqlite"
    cache = Cache(path)
    cache.put(key(), request_json("m", ASK), Reply("the answer is north"))
    cache.close()
    data = path.read_bytes()
    assert data.count(b"north") == 1
    path.write_bytes(data.replace(b"north", b"nortj"))
    damaged = Cache(path)
    with pytest.raises(LMError, match=r"c\.sqlite: the answer .* is damaged"):
        damaged.get(key())
    damaged.close()


def test_what_is_no_cache_is_one_line(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a database, " * 100)
    with pytest.raises(LMError, match="text: file is not a database"):
        Cache(text)
    with pytest.raises(LMError, match=str(tmp_path)):
        Cache(tmp_path)
    with pytest.raises(LMError, match="text"):
        Cache(text / "below-a-file" / "c.sqlite")
    foreign = tmp_path / "foreign.sqlite"
    db = sqlite3.connect(foreign)
    db.execute("PRAGMA user_version = 77")
    db.close()
    with pytest.raises(LMError, match="not a recording of this version"):
        Cache(foreign)


def test_every_write_is_synchronous(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    assert cache.rows("PRAGMA journal_mode") == [("wal",)]
    assert cache.rows("PRAGMA synchronous") == [(2,)]  # FULL
    cache.close()


def test_a_failing_transaction_leaves_nothing(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")

    def work(db):
        cache_module.insert_answer(db, key(), request_json("m", ASK), Reply("x"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.transact(work)
    assert cache.get(key()) is None
    cache.put(key(), request_json("m", ASK), Reply("y"))  # and the file still works
    assert cache.get(key()).text == "y"
    cache.close()


def test_threads_and_two_connections_share_a_file(tmp_path):
    caches = [Cache(tmp_path / "c.sqlite") for _ in range(2)]

    def write(number):
        request = replace(ASK, sample_index=number)
        caches[number % 2].put(key(request), request_json("m", request), Reply(str(number)))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(32):
        found = caches[(number + 1) % 2].get(key(replace(ASK, sample_index=number)))
        assert found.text == str(number)
    for cache in caches:
        cache.close()


def test_a_transaction_within_a_transaction_is_part_of_it():
    cache = Cache(None)

    def work(_):
        cache.put(key(), request_json("m", ASK), Reply("x"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.transact(work)
    assert cache.get(key()) is None
