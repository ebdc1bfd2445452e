"""One fault at a time: what the endpoint does about it, and what it writes down."""

import asyncio
import gzip
import json
import threading
import time

import pytest
from pydantic import BaseModel, Field

from tests.chaos.server import ODD_BODIES, answer_to, chaos_server, completion
from understudy.lm.base import Choices, LMError, Regex, Request, Sampling, Unparsed
from understudy.lm.cache import Cache
from understudy.lm.endpoint import OPENAI_URL, EndpointLM
from understudy.lm.ledger import Ledger, Price
from understudy.lm.transport import BadResponse, EndpointError, Retry
from understudy.types import Message

QUICK = Retry(base_s=0.001, cap_s=0.01, max_wait_s=1.0, patience_s=0.1)


class Guess(BaseModel):
    number: int = Field(ge=0, le=9)


def ask(text, schema=None, index=0, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), schema, index)


def outcome(script, *, prompts=("p",), retry=QUICK, **options):
    """Chats with a server that follows `script`; gives replies or the error, ledger and server."""
    with chaos_server(script=script, **options) as server:
        with EndpointLM(server.url, "m", retry=retry, timeout=0.5) as lm:
            try:
                result = lm.chat([ask(prompt) for prompt in prompts])
            except LMError as error:
                result = error
        return result, lm.ledger.summary(), server


@pytest.mark.parametrize(
    "fault", ["429-seconds", "429-zero", "429-date", "429-garbage", "500", "502", "503", "529"]
)
def test_a_refusal_is_tried_again_and_costs_nothing(fault):
    (reply,), total, server = outcome({"p": [fault, fault]})
    assert reply.text == answer_to("p")
    assert (total["done"], total["refused"], total["unknown"]) == (1, 2, 0)
    assert (total["prompt_tokens"], total["completion_tokens"]) == (10, 5)
    assert server.received["p"] == 3


@pytest.mark.parametrize(
    "fault",
    ["reset", "cut", "slow", "truncated", "html", "null", "empty", "unicode", "endless", "504"],
)
def test_an_answer_that_got_lost_is_tried_again_and_may_have_been_billed(fault):
    (reply,), total, server = outcome({"p": [fault]}, slow=0.8)
    assert reply.text == answer_to("p")
    assert (total["done"], total["refused"], total["unknown"]) == (1, 0, 1)
    # the lost one counts with all it can have cost: 256 tokens and more than the prompt's
    assert total["completion_tokens"] == 5 + 256
    assert server.received["p"] == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("html", BadResponse), ("null", BadResponse), ("cut", BadResponse), ("reset", EndpointError)],
)
def test_possibly_billed_attempts_are_few(fault, kind):
    error, total, server = outcome({"p": [fault] * 9})
    assert type(error) is kind
    assert "request 'p' failed after 3 attempts" in str(error)
    assert total["unknown"] == server.billed["p"] == 3


def test_refused_attempts_are_bounded_too():
    error, total, server = outcome({"p": ["500"] * 9})
    assert "after 6 attempts: HTTP 500: refused with 500 no" in str(error)
    assert total["refused"] == server.received["p"] == 6
    assert total["usd"] == total["prompt_tokens"] == 0


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "422", "302"])
def test_what_cannot_get_better_is_not_tried_again(fault):
    error, total, server = outcome({"p": [fault]})
    assert isinstance(error, EndpointError)
    assert server.received["p"] == total["refused"] == 1
    if fault == "302":
        assert "redirects to http://elsewhere.example" in str(error)
    if fault == "401":
        assert "refuses UNDERSTUDY_API_KEY" in str(error)


def test_a_spent_quota_is_not_a_wish_to_wait():
    error, total, server = outcome({"p": ["429-insufficient_quota"]})
    assert "insufficient_quota" in str(error)
    assert server.received["p"] == total["refused"] == 1


def test_a_compressed_answer_is_not_unpacked(monkeypatch):
    packed = gzip.compress(json.dumps(completion("x" * 10**6)).encode())
    kind = "application/json\r\nContent-Encoding: gzip"
    monkeypatch.setitem(ODD_BODIES, "gzip", lambda _: (200, kind, packed))
    error, total, server = outcome({"p": ["gzip"] * 9})
    assert type(error) is BadResponse
    assert "compressed" in str(error)
    assert total["unknown"] == 3
    assert "gzip" not in server.headers[0]["accept-encoding"]


def test_an_endless_answer_is_left_after_8_mib():
    with (
        chaos_server(script={"p": ["endless"]}) as server,
        EndpointLM(server.url, "m", retry=Retry(attempts=1), timeout=60.0) as lm,
        pytest.raises(BadResponse, match="answer of over 8388608 bytes"),
    ):
        lm.chat([ask("p")])
    assert server.received["p"] == 1
    assert server.endless_bytes < 64 * 2**20  # what the sockets had taken in besides


def test_a_proxy_is_not_asked_for_this_very_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (reply,), _, _ = outcome({})
    assert reply.text == answer_to("p")


def test_a_wait_of_thirty_years_is_a_failure_at_once():
    start = time.monotonic()
    error, _, server = outcome({"p": ["429-absurd"]})
    assert "asks to wait 1e+09 s" in str(error)
    assert server.received["p"] == 1
    assert time.monotonic() - start < 5


def test_a_request_to_wait_holds_all_back():
    with (
        chaos_server(script={"first": ["429-5s"]}) as server,
        EndpointLM(server.url, "m", retry=Retry(max_wait_s=10.0)) as lm,
    ):
        # the pause is made of loop time: shorten the server's five seconds to half a second
        lm._retry = _Hasty(max_wait_s=10.0)
        begin = time.monotonic()
        thread = threading.Thread(target=lm.chat, args=([ask("first")],))
        thread.start()
        while not server.met["429-5s"]:
            time.sleep(0.005)
        time.sleep(0.1)
        lm.chat([ask("second")])
        assert time.monotonic() - begin >= 0.5
        thread.join()
        assert server.received == {"first": 2, "second": 1}


class _Hasty(Retry):
    def wait(self, failures, asked, rng):
        return super().wait(failures, None if asked is None else asked / 10, rng)


def test_one_failure_is_raised_after_all_others_are_recorded():
    prompts = ["bad", *(f"good {i}" for i in range(20))]
    with (
        chaos_server(script={"bad": ["404"]}, latency=0.05) as server,
        EndpointLM(server.url, "m", retry=QUICK, max_in_flight=4) as lm,
    ):
        with pytest.raises(LMError, match="request 'bad' failed: HTTP 404") as caught:
            lm.chat([ask(prompt) for prompt in prompts])
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        replies = lm.chat([ask(prompt) for prompt in prompts[1:]])
        assert [reply.text for reply in replies] == [answer_to(p) for p in prompts[1:]]
        assert all(reply.usage.cached_calls == 1 for reply in replies)
        assert sum(server.received.values()) == 21


def test_a_dead_server_ends_a_long_list_soon():
    prompts = [f"p{i}" for i in range(200)]
    error, _, server = outcome({p: ["503"] * 9 for p in prompts}, prompts=prompts)
    assert "(and 199 of 200 more)" in str(error)
    assert sum(server.received.values()) < 600  # of 1,200


def test_nobody_listening_is_refused_and_named():
    with chaos_server() as server:
        url = server.url
    with EndpointLM(url, "m", retry=QUICK) as lm:
        with pytest.raises(EndpointError, match="connection failed: ConnectError"):
            lm.chat([ask("p")])
        total = lm.ledger.summary()
    assert (total["refused"], total["unknown"]) == (6, 0)


def test_an_answer_without_a_bill_is_estimated_from_above():
    def respond(body):
        return completion("fine", usage=None)

    (reply,), total, _ = outcome({}, respond=respond)
    assert reply.text == "fine"
    assert total["estimated"] == 1
    assert total["prompt_tokens"] >= 10
    assert total["completion_tokens"] == 256


def test_an_empty_answer_with_a_bill_costs_what_it_says():
    answers = [completion("", choices=[]), completion("fine")]
    (reply,), total, _ = outcome({}, respond=lambda body: answers.pop(0))
    assert reply.text == "fine"
    assert (total["unknown"], total["done"]) == (1, 1)
    assert (total["prompt_tokens"], total["completion_tokens"]) == (20, 10)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_cut_answer_is_recorded_but_never_read(reason):
    calls = []

    def respond(body):
        calls.append(body)
        return completion('{"number": 3}', finish_reason=reason)

    with chaos_server(respond=respond) as server, EndpointLM(server.url, "m") as lm:
        (reply,) = lm.chat([ask("p", Guess)])
    assert reply.finish_reason == reason
    assert reply.value == Unparsed('{"number": 3}', f"ended by {reason}")
    assert len(calls) == 1  # no repair: it would end the same way


@pytest.mark.parametrize(
    ("message", "reason", "text", "finish"),
    [
        ({"content": None, "refusal": "I will not"}, "stop", "I will not", "content_filter"),
        ({"content": None}, "length", "", "length"),
        ({"content": ""}, "stop", "", "stop"),
        ({"content": "x"}, None, "x", "stop"),
        ({"content": "x"}, "eos", "x", "stop"),
    ],
)
def test_kinds_of_endings(message, reason, text, finish):
    choices = [{"message": message, "finish_reason": reason}]
    (reply,), total, _ = outcome({}, respond=lambda _: completion("", choices=choices))
    assert (reply.text, reply.finish_reason) == (text, finish)
    assert total["done"] == 1


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"choices": "none"},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]},
    ],
)
def test_bodies_without_an_answer(body):
    error, total, _ = outcome({}, respond=lambda _: body)
    assert type(error) is BadResponse
    assert (total["done"], total["unknown"]) == (0, 3)


@pytest.mark.parametrize("prompt_tokens", [-1, 10**12, "9", None, 1.5])
def test_a_bill_that_makes_no_sense_is_none(prompt_tokens):
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
    _, total, _ = outcome({}, respond=lambda _: completion("x", usage=usage))
    assert total["estimated"] == 1
    assert 0 < total["prompt_tokens"] < 1000


def test_half_a_surrogate_pair_does_no_harm(tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    with (
        chaos_server(respond=lambda body: completion("a\ud800b\u0000c")) as server,
        EndpointLM(server.url, "m", cache=cache) as lm,
    ):
        first, second = lm.chat([ask("x\udfff")]), lm.chat([ask("x\udfff")])
        assert server.bodies[0]["messages"][0]["content"] == "x?"
    assert first[0].text == second[0].text == "a?b\u0000c"


def test_what_is_sent(monkeypatch):
    monkeypatch.delenv("UNDERSTUDY_API_KEY", raising=False)
    sampling = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop": ("\n",)}
    with chaos_server() as server, EndpointLM(server.url, "m") as lm:
        lm.chat([ask("p", **sampling), ask("p", index=1, **sampling)])
        first, second = server.bodies
        assert lm.name == f"{server.url}#m"
    seeds = [body.pop("seed") for body in (first, second)]
    assert first == second
    assert len(set(seeds)) == 2
    assert first == {
        "model": "m",
        "messages": [{"role": "user", "content": "p"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "stop": ["\n"],
    }
    keys = [headers["idempotency-key"] for headers in server.headers]
    assert len(set(keys)) == 2
    assert server.headers[0]["authorization"] == "Bearer none"


def test_openai_calls_the_limit_by_another_name(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    lm = EndpointLM(OPENAI_URL, "gpt-5")
    body, _ = lm._body(ask("p", max_tokens=9), plain=False)
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body
    assert lm.name == "openai:gpt-5"


def test_the_same_question_at_the_same_time_is_asked_once():
    with chaos_server(latency=0.1) as server, EndpointLM(server.url, "m") as lm:
        replies = lm.chat([ask("p")] * 5)
        assert server.received["p"] == 1
    assert sorted(reply.usage.calls for reply in replies) == [0, 0, 0, 0, 1]
    assert sum(reply.usage.cached_calls for reply in replies) == 4


def test_answers_come_in_order_from_many_threads_and_inside_a_loop():
    results = {}

    async def inside(lm, name):
        results[name] = lm.chat([ask(f"{name} {i}") for i in range(10)])

    with chaos_server(latency=0.01) as server, EndpointLM(server.url, "m") as lm:
        threads = [
            threading.Thread(target=lambda n=name: asyncio.run(inside(lm, n))) for name in "abc"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in "abc":
        assert [r.text for r in results[name]] == [answer_to(f"{name} {i}") for i in range(10)]


def test_closing_ends_what_is_in_flight_and_leaves_it_unknown():
    caught = []

    def work(lm):
        try:
            lm.chat([ask("p"), ask("q")])
        except LMError as error:
            caught.append(str(error))

    with chaos_server(latency=30.0) as server:
        lm = EndpointLM(server.url, "m")
        thread = threading.Thread(target=work, args=(lm,))
        thread.start()
        while server.in_flight < 2:
            time.sleep(0.005)
        lm.close()
        thread.join(10)
        assert not thread.is_alive()
    assert len(caught) == 1
    assert "closed while requests were in flight" in caught[0]
    assert lm.ledger.summary()["unknown"] == 2


def test_no_more_in_flight_than_allowed_and_less_under_congestion():
    prompts = [f"p{i}" for i in range(40)]
    with chaos_server(latency=0.03) as server, EndpointLM(server.url, "m", max_in_flight=8) as lm:
        lm.chat([ask(prompt) for prompt in prompts])
        assert server.most_in_flight == 8
        assert lm._limiter.limit == 8
        server.script = {f"q{i}": ["529"] for i in range(8)}
        lm._retry = QUICK
        lm.chat([ask(f"q{i}") for i in range(8)])
        assert lm._limiter.limit < 8


# -- structured answers --


def scripted(*texts):
    """A server's answers in order, and the bodies it saw."""
    left, seen = list(texts), []

    def respond(body):
        seen.append(body)
        return completion(left.pop(0))

    return respond, seen


def structured_chat(schema, *texts, **options):
    respond, seen = scripted(*texts)
    with chaos_server(respond=respond, **options) as server, EndpointLM(server.url, "m") as lm:
        (reply,) = lm.chat([ask("p", schema)])
    return reply, seen


def test_a_model_is_asked_for_and_read():
    reply, (body,) = structured_chat(Guess, '```json\n{"number": 3}\n```')
    assert reply.value == Guess(number=3)
    form = body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["properties"]["number"]["maximum"] == 9
    assert form["schema"]["additionalProperties"] is False
    assert "JSON schema" in body["messages"][0]["content"]


@pytest.mark.parametrize("schema", [Choices(("left", "right")), Regex("left|right")])
@pytest.mark.parametrize("text", ["left", '{"answer": "left"}', " left\n"])
def test_choices_and_patterns_travel_wrapped(schema, text):
    reply, (body,) = structured_chat(schema, text)
    assert reply.value == "left"
    answer = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]
    assert answer.get("enum") == ["left", "right"] or answer["pattern"] == "^(left|right)$"


def test_one_repair_turn_that_works():
    reply, (_, second) = structured_chat(Guess, '{"number": 12}', '{"number": 9}')
    assert reply.value == Guess(number=9)
    assert reply.usage.calls == 2
    assert reply.usage.prompt_tokens == 20
    roles = [message["role"] for message in second["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert "number: Input should be less than or equal to 9" in second["messages"][2]["content"]


def test_one_repair_turn_that_does_not():
    reply, seen = structured_chat(Guess, "three?", "yes, three")
    assert isinstance(reply.value, Unparsed)
    assert reply.value.text == "yes, three"
    assert len(seen) == 2


def test_a_server_without_schemas_is_asked_in_words_and_remembered():
    with (
        chaos_server(respond=lambda body: completion('{"number": 4}')) as server,
        EndpointLM(server.url, "m") as lm,
    ):
        server.fault = lambda prompt, n: "400" if "response_format" in server.current else ""
        (first,) = lm.chat([ask("p", Guess)])
        (second,) = lm.chat([ask("q", Guess)])
        assert lm.ledger.summary()["refused"] == 1
    assert first.value == second.value == Guess(number=4)
    assert ["response_format" in body for body in server.bodies] == [True, False, False]


def test_a_wrong_request_is_not_blamed_on_the_schema():
    with chaos_server() as server, EndpointLM(server.url, "m") as lm:
        server.fault = lambda prompt, n: "400"
        with pytest.raises(LMError, match="HTTP 400"):
            lm.chat([ask("p", Guess)])
        assert lm._no_format == set()


# -- before anything is spent --


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("localhost:8000/v1", "is no address"),
        ("ftp://localhost/v1", "is no address"),
        ("http://localhost:x/v1", "is no address"),
        ("http://user:word@localhost/v1", "must not hold a password"),
    ],
)
def test_a_bad_address_is_one_line(url, line):
    with pytest.raises(LMError, match=line):
        EndpointLM(url, "m")


def test_a_money_cap_needs_a_price():
    ledger = Ledger(Cache(None), prices={"known": Price(1, 1)}, max_usd=1.0)
    with pytest.raises(LMError, match="no price is known for 'unknown'"):
        EndpointLM("https://example.test/v1", "unknown", ledger=ledger)
    EndpointLM("https://example.test/v1", "known-2025-01-01", ledger=ledger)
    EndpointLM("http://localhost:1/v1", "unknown", ledger=ledger)


def test_money_that_is_only_reserved_is_waited_for():
    # each call reserves about 350 tokens and takes 15: one after the other, all ten fit in 600
    ledger = Ledger(Cache(None), max_tokens=600)
    with chaos_server(latency=0.02) as server, EndpointLM(server.url, "m", ledger=ledger) as lm:
        assert len(lm.chat([ask(f"p{i}") for i in range(10)])) == 10
        assert server.most_in_flight == 1
    assert ledger.usage().prompt_tokens == 100


def test_cache_and_ledger_are_of_one_file():
    with pytest.raises(LMError, match="one file"):
        EndpointLM("http://localhost:1/v1", "m", cache=Cache(None), ledger=Ledger(Cache(None)))
