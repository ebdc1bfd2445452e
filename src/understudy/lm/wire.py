"""One HTTP exchange with an OpenAI-compatible server: a body out, an answer or a typed error back.

The official client sends; reading is ours, because the client reads bodies without a bound and
returns some malformed ones as if they were answers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import openai

from understudy.lm.base import FinishReason, LMError
from understudy.lm.secrets import Secret
from understudy.lm.transport import BadResponse, EndpointError, Rejected, retry_after

MAX_BODY = 8 * 1024 * 1024
_MAX_ERROR_BODY = 64 * 1024
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")
# a gateway's own timeout: what stands behind it may have gone on and billed
_MAYBE_BILLED = (408, 504, 524)
_TRY_AGAIN = (408, 409, 425, 429)
_CONGESTED = (408, 429, 503, 504, 524, 529)


@dataclass(frozen=True, slots=True)
class Completion:
    """What the server answered."""

    text: str
    finish_reason: FinishReason
    tokens: tuple[int, int] | None
    """Prompt and answer tokens; `None` where the server did not say."""


class Wire:
    """A connection pool to one server. To be used in one event loop.

    Args:
        base_url: Up to and with `/v1`.
        key: Sent as bearer token; may be empty.
        key_name: What the key is called in errors.
        timeout: Seconds one exchange may take from first to last byte.

    Raises:
        LMError: The address is none, or the key would travel in the clear.
    """

    def __init__(self, base_url: str, key: Secret, *, key_name: str, timeout: float):
        url = _checked(base_url)
        self.host = url.netloc.rpartition("@")[2]
        if key and url.scheme == "http" and not _nearby(url.hostname or ""):
            raise LMError(f"{self.host}: {key_name} is not sent over plain http; use https://")
        self._key = key
        self._key_name = key_name
        self._timeout = timeout
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key.reveal() or "none",
            max_retries=0,
            # no compression: a small body must not unfold into a large one
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=openai.Timeout(timeout, connect=min(10.0, timeout)),
                follow_redirects=False,
                trust_env=not _loopback(url.hostname or ""),
                event_hooks={"response": [self._refuse_errors]},
            ),
        )

    async def post(self, body: dict[str, Any], *, idempotency_key: str) -> Completion:
        """Sends one chat completion request.

        Raises:
            EndpointError: There was no usable answer. No cause is attached: the client's exceptions
                hold the request and with it the key.
        """
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._exchange(body, idempotency_key)
        except TimeoutError:
            result = EndpointError(
                f"no whole answer within {self._timeout:g} s",
                state="unknown",
                retry=True,
                congested=True,
            )
        if isinstance(result, EndpointError):
            raise result
        return _completion(self._decode(result))

    async def _exchange(self, body: dict[str, Any], idempotency_key: str) -> bytes | EndpointError:
        """The body of a successful response, or what went wrong (returned, so without a cause)."""
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                **body, extra_headers={"Idempotency-Key": idempotency_key}
            ) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    return BadResponse("compressed answer", state="unknown", retry=True)
                return await self._read(response.http_response, MAX_BODY)
        except EndpointError as fault:
            return fault.with_traceback(None)  # the client's frames hold the key
        except openai.APIConnectionError as error:
            cause = error.__cause__
            lost = "" if cause is None else f": {type(cause).__name__} {cause}".rstrip()
            return EndpointError(
                self._clean(f"connection failed{lost}"),
                state="refused" if type(cause).__name__ in _NOT_SENT else "unknown",
                retry=True,
                congested=isinstance(error, openai.APITimeoutError),
            )

    async def _read(self, response: Any, limit: int) -> bytes:
        """The body, up to `limit` bytes, without the key should the server echo it."""
        parts, size = list[bytes](), 0
        fault: BadResponse | None = None
        try:
            async for part in response.aiter_raw():
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        except Exception as error:  # noqa: BLE001 - the transport's own classes; each is a lost answer
            fault = BadResponse(
                f"the answer broke off: {type(error).__name__}", state="unknown", retry=True
            )
        if size > limit:
            fault = BadResponse(f"answer of over {limit} bytes", state="unknown", retry=True)
        if fault is not None:
            raise fault
        return self._key.redact(b"".join(parts))

    async def _refuse_errors(self, response: Any) -> None:
        """Runs before the client looks at a response: everything but success ends here."""
        status: int = response.status_code
        if status == 200:
            return
        text = self._message(await self._read(response, _MAX_ERROR_BODY))
        if 300 <= status < 400:
            raise EndpointError(
                f"{self.host} redirects to {response.headers.get('location', '?')[:200]}; redirects"
                " are not followed, give the final address"
            )
        if status in (401, 403):
            raise EndpointError(f"{self.host} refuses {self._key_name} (HTTP {status}): {text}")
        if status in (400, 413, 422):
            raise Rejected(f"HTTP {status}: {text}")
        transient = status in _TRY_AGAIN or status >= 500 or status < 300
        raise EndpointError(
            f"HTTP {status}: {text}",
            state="unknown" if status in _MAYBE_BILLED or status < 300 else "refused",
            retry=transient and "insufficient_quota" not in text,
            retry_after=retry_after(response.headers.get("retry-after")),
            congested=status in _CONGESTED,
        )

    def _message(self, body: bytes) -> str:
        """What an error's body says, as one short line."""
        text = body.decode("utf-8", "replace")
        try:
            error = json.loads(text)["error"]
            text = f"{error['message']} {error.get('code') or ''}"
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass  # not the usual form: the raw text says it
        return self._clean(text)

    def _clean(self, text: str) -> str:
        line = " ".join(text.split())
        return "".join(c for c in line if c.isprintable())[:300] or "no explanation"

    def _decode(self, body: bytes) -> Any:
        """The body as JSON."""
        try:
            return json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            start = self._clean(body[:60].decode("utf-8", "replace"))
            fault = BadResponse(
                f"not JSON ({type(error).__name__}): {start}", state="unknown", retry=True
            )
        raise fault

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def _completion(body: Any) -> Completion:
    if not isinstance(body, dict):
        raise BadResponse(
            f"a JSON {type(body).__name__} instead of a completion", state="unknown", retry=True
        )
    tokens = _tokens(body.get("usage"))
    match body.get("choices"):
        case [{"message": {"content": str(text)}} as choice, *_]:
            reason = choice.get("finish_reason")
        case [{"message": {"refusal": str(text)}}, *_]:
            reason = "content_filter"
        case [{"message": dict(), "finish_reason": "length" | "content_filter" as reason}, *_]:
            text = ""
        case _:
            raise BadResponse(
                "a completion without an answer", state="unknown", retry=True, tokens=tokens
            )
    # half of a surrogate pair is legal in JSON and in Python, but not in UTF-8
    text = text.encode("utf-8", "replace").decode("utf-8")
    return Completion(text, reason if reason in ("length", "content_filter") else "stop", tokens)


def _tokens(usage: Any) -> tuple[int, int] | None:
    match usage:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(completion)} if (
            0 <= prompt < 10**9 and 0 <= completion < 10**9
        ):
            return int(prompt), int(completion)
        case _:
            return None


def _checked(base_url: str) -> Any:
    try:
        url = urlsplit(base_url)
        port = url.port
    except ValueError as error:
        raise LMError(f"{base_url!r} is no address: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise LMError(f"{base_url!r} is no address like http://localhost:8000/v1")
    if url.username or url.password:
        raise LMError("an address must not hold a password; keys come from the environment")
    return url


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _nearby(host: str) -> bool:
    """Whether a host is this machine or on the local network, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(".local")
