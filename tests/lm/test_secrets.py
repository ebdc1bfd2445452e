"""A key is read from the environment and shows up nowhere, whatever the server does with it."""

import json
import logging
import traceback

import pytest

from tests.chaos import server as chaos
from tests.chaos.server import chaos_server, completion
from understudy.lm.base import LMError, Request, Sampling
from understudy.lm.cache import Cache
from understudy.lm.endpoint import OPENAI_URL, EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.secrets import Secret
from understudy.lm.transport import Retry
from understudy.types import Message

CANARY = "sk-canary-5c1e0fb7a94d"
QUICK = Retry(attempts=2, base_s=0.001, cap_s=0.001)


def ask(text):
    return Request((Message("user", text),), Sampling())


def test_a_missing_key_is_one_line_before_anything_is_spent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LMError, match=r"^openai:gpt-5 needs an API key: .* OPENAI_API_KEY$"):
        EndpointLM(OPENAI_URL, "gpt-5")
    with pytest.raises(LMError, match="environment variable MY_KEY"):
        EndpointLM("http://localhost:1/v1", "m", api_key_env="MY_KEY")


def test_a_key_with_strange_characters_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_API_KEY", CANARY + "\nx")
    with pytest.raises(LMError) as caught:
        EndpointLM("http://localhost:1/v1", "m")
    assert "UNDERSTUDY_API_KEY holds characters" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_key_does_not_travel_in_the_clear_beyond_the_local_network(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_API_KEY", CANARY)
    with pytest.raises(LMError, match="not sent over plain http"):
        EndpointLM("http://models.example.com/v1", "m")
    for near in ("http://127.0.0.1:1/v1", "http://10.1.2.3/v1", "http://node7:8000/v1"):
        EndpointLM(near, "m")


def test_openais_key_goes_to_openai_only(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.delenv("UNDERSTUDY_API_KEY", raising=False)
    with chaos_server() as server, EndpointLM(server.url, "m") as lm:
        lm.chat([ask("p")])
        assert CANARY not in str(server.headers)


def test_a_secret_does_not_show():
    secret = Secret(CANARY)
    assert CANARY not in f"{secret} {secret!r} {[secret]} {secret:}"
    assert secret.redact(f"key {CANARY}!".encode()) == b"key ***!"
    assert Secret("").redact(b"text") == b"text"
    assert bool(secret)
    assert not Secret("")
    with pytest.raises(TypeError):
        json.dumps(secret)


def shown_by(error):
    """All that an error can show, local variables of the frames below the test included."""
    frames = traceback.TracebackException(
        type(error), error, error.__traceback__.tb_next, capture_locals=True
    )
    return f"{error!r} {vars(error)} {error.__cause__!r} " + "".join(frames.format())


def echo(_):
    return f"your key is {CANARY} <html>"


@pytest.mark.parametrize(
    "fault", ["", "401", "400", "500", "302", "html", "truncated", "reset", "cut"]
)
def test_the_canary_is_in_no_file_log_repr_or_traceback(fault, tmp_path, monkeypatch, caplog):
    for name in ("", "openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setenv("UNDERSTUDY_API_KEY", CANARY)
    monkeypatch.setitem(chaos.ODD_BODIES, "html", lambda _: (200, "text/html", echo(None).encode()))
    ledger = Ledger(Cache(tmp_path / "cache.sqlite"), export=tmp_path / "ledger.json")
    with (
        chaos_server(script={"p": [fault] * 9}, respond=lambda _: completion(echo(None))) as server,
        EndpointLM(server.url, "m", ledger=ledger, retry=QUICK) as lm,
    ):
        shown = repr(lm) + str(vars(lm)) + str(vars(lm._wire))
        try:
            shown += str(lm.chat([ask("p")]))
            assert not fault
        except LMError as error:
            assert fault
            shown += shown_by(error)
            assert "openai/_base_client" not in shown  # whose frames hold the key
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"
    ledger.cache.close()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (b"your key is ***" in files) == (fault == "")
    assert CANARY.encode() not in files
    assert "Sending HTTP Request" in caplog.text
    assert CANARY not in caplog.text
    assert CANARY not in shown
    assert len(shown) > 200


def test_an_error_that_quotes_the_key_is_redacted(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_API_KEY", "refused")  # the server's errors say this word
    with (
        chaos_server(script={"p": ["401"]}) as server,
        EndpointLM(server.url, "m") as lm,
        pytest.raises(LMError, match=r"\*\*\* with 401") as caught,
    ):
        lm.chat([ask("p")])
    assert "refused" not in str(caught.value)
