"""Answers with a form, from servers that know schemas and servers that do not."""

import pytest
from pydantic import BaseModel, Field

from tests.chaos.server import chaos_server, completion
from understudy.lm.base import Choices, LMError, Regex, Request, Sampling, Unparsed
from understudy.lm.endpoint import EndpointLM
from understudy.types import Message


class Guess(BaseModel):
    number: int = Field(ge=0, le=9)


def ask(text, schema=None, index=0, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), schema, index)


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
