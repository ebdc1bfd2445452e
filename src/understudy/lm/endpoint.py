"""A language model behind any OpenAI-compatible address.

An answer that arrived is never paid for twice: it is recorded together with its price before anyone
sees it, and the intent to ask is on the disk before the request leaves. Sampling parameters are sent
as they are; the server decides which of them it honours.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent import futures
from dataclasses import replace
from typing import Any, TypeVar

from understudy.lm import structured
from understudy.lm.base import BudgetExceeded, LMError, Reply, Request
from understudy.lm.cache import Cache, key_of, request_json
from understudy.lm.ledger import Answer, Ask, Ledger, Ticket
from understudy.lm.secrets import Secret
from understudy.lm.transport import EndpointError, Limiter, Pulse, Rejected, Retry
from understudy.lm.wire import Completion, Wire
from understudy.types import Usage

T = TypeVar("T")

OPENAI_URL = "https://api.openai.com/v1"


class EndpointLM:
    """A ChatLM over HTTP. Thread-safe; a context manager that closes its connections.

    Args:
        base_url: Up to and with `/v1`.
        model: As the server calls it.
        api_key_env: Environment variable of the key. By default `OPENAI_API_KEY`, without which
            nothing works, at OpenAI, and `UNDERSTUDY_API_KEY`, if it is set, elsewhere.
        cache: Where answers are recorded; in memory by default.
        ledger: Where costs are counted; one without caps by default.
        max_in_flight: The most requests at once; congestion lowers it for a while.
        timeout: Seconds one attempt may take.
        retry: How often and how patiently to try.

    Raises:
        LMError: No key where one is needed, a bad address, or a money cap for a paid model without
            a price.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        cache: Cache | None = None,
        ledger: Ledger | None = None,
        max_in_flight: int = 32,
        timeout: float = 120.0,
        retry: Retry | None = None,
    ):
        official = base_url.rstrip("/") == OPENAI_URL
        variable = api_key_env or ("OPENAI_API_KEY" if official else "UNDERSTUDY_API_KEY")
        needed = f"openai:{model}" if official else f"{base_url}#{model}" if api_key_env else None
        self.model = model
        self.cache = cache or (ledger.cache if ledger else Cache(None))
        self.ledger = ledger or Ledger(self.cache)
        if self.ledger.cache is not self.cache:
            raise LMError("a ledger and the cache given with it must be of one file")
        if self.ledger.max_usd is not None and base_url.startswith("https:"):
            self._need_price(model)
        self._wire = Wire(
            base_url,
            Secret.from_env(variable, required_by=needed),
            key_name=variable,
            timeout=timeout,
        )
        self._name = f"openai:{model}" if official else f"{base_url.rstrip('/')}#{model}"
        self._limit_name = "max_completion_tokens" if official else "max_tokens"
        self._retry = retry or Retry()
        self._limiter = Limiter(max_in_flight)
        self._flying: dict[str, asyncio.Task[Reply]] = {}
        self._open = 0
        self._settled = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pulse = Pulse(self._retry.patience_s)
        self._no_format: set[str] = set()
        self._jitter = random.Random()
        self._loop = _Loop(f"understudy {self._wire.host}")

    def _need_price(self, model: str) -> None:
        if self.ledger.price(model) is None:
            raise LMError(
                f"--max-usd cannot be kept: no price is known for {model!r}; add it to a price table"
                " or cap --max-tokens instead"
            )

    @property
    def name(self) -> str:
        """The string that reaches this model."""
        return self._name

    def __repr__(self) -> str:
        return f"EndpointLM({self._name!r})"

    def __enter__(self) -> EndpointLM:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the cache stays open."""
        self._loop.stop(self._wire.close)
        self.ledger.export()

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in the order of `requests`, many in flight at once.

        Raises:
            BudgetExceeded: A call was not made because of a cap. All others ended and are recorded.
            EndpointError: A request failed for good. All others ended and are recorded.
        """
        structured.refuse_steer(self.model, requests)
        outcomes = self._loop.run(self._chat(requests))
        self.ledger.hits(
            self.model, sum(o.usage.cached_calls for o in outcomes if isinstance(o, Reply))
        )
        self.ledger.export_soon()
        failures = [outcome for outcome in outcomes if isinstance(outcome, LMError)]
        if failures:
            first = next((f for f in failures if isinstance(f, BudgetExceeded)), failures[0])
            if len(failures) > 1:
                first.args = (f"{first} (and {len(failures) - 1} of {len(requests)} more)",)
            raise first
        return [outcome for outcome in outcomes if isinstance(outcome, Reply)]

    async def _chat(self, requests: Sequence[Request]) -> list[Reply | LMError]:
        self._pulse.beat()  # what was down may be up again
        return await asyncio.gather(*map(self._answer, requests))

    async def _answer(self, request: Request) -> Reply | LMError:
        """A reply with its value read, after at most one repair; or what prevents it."""
        try:
            reply = structured.settle(request, await self._ask(request))
            again = structured.repair(request, reply)
            if again is None:
                return reply
            second = structured.settle(again, await self._ask(again))
        except LMError as error:
            return error
        usage, first = reply.usage + second.usage, reply.cost + second.cost
        return replace(second, usage=usage, first=first)

    async def _ask(self, request: Request) -> Reply:
        """The recorded answer, or that of the one attempt series under way for this question."""
        document = request_json(self._name, request)
        key = key_of(document)
        flying = self._flying.get(key)
        if flying is not None:
            shared = await asyncio.shield(flying)
            return replace(shared, usage=Usage(cached_calls=1), first=shared.cost)
        task = asyncio.create_task(self._find(key, document, request))
        self._flying[key] = task
        try:
            return await task
        finally:
            del self._flying[key]

    async def _find(self, key: str, document: str, request: Request) -> Reply:
        found = await asyncio.to_thread(self.cache.get, key)
        return found or await self._persist(key, document, request)

    async def _persist(self, key: str, document: str, request: Request) -> Reply:
        """Tries until there is an answer or no sense in trying again."""
        failures = unknown = 0
        plain = False
        while True:
            body, form = self._body(request, plain=plain)
            async with self._limiter.slot() as sent_at:
                if self._pulse.stopped(time.monotonic()):
                    down = EndpointError(f"not sent, the server is down: {self._pulse.last}")
                    raise self._failure(request, down, failures)
                result = await self._attempt(key, document, request, body)
                if isinstance(result, Reply):
                    self._limiter.succeeded()
                    self._pulse.beat()
                    if plain:
                        self._no_format.add(form)  # ask in words from now on
                    return result
                if result.congested:
                    self._limiter.congested(sent_at)
            if isinstance(result, Rejected) and "response_format" in body:
                plain = True
                continue
            failures += 1
            if result.retry:
                self._pulse.miss(time.monotonic(), str(result))
            unknown += result.state == "unknown"
            wait = self._retry.wait(failures, result.retry_after, self._jitter)
            if (
                not result.retry
                or failures >= self._retry.attempts
                or unknown >= self._retry.paid_attempts
                or (result.retry_after or 0.0) > self._retry.max_wait_s
            ):
                raise self._failure(request, result, failures)
            if result.retry_after is not None:
                self._limiter.pause(wait)
            await asyncio.sleep(wait)

    def _failure(self, request: Request, last: EndpointError, attempts: int) -> EndpointError:
        """The last failure, with the request's name on it."""
        start = " ".join(request.messages[-1].content.split())[:80] if request.messages else ""
        asked = last.retry_after or 0.0
        patience = f"; it asks to wait {asked:g} s" if asked > self._retry.max_wait_s else ""
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        last.args = (f"{self._name}: request {start!r} failed{tries}: {last}{patience}",)
        return last

    async def _attempt(
        self, key: str, document: str, request: Request, body: dict[str, Any]
    ) -> Reply | EndpointError:
        """One request on the wire, between its intent and its outcome on the disk."""
        ask = Ask(key, self.model, _most_tokens(body), request.sampling.max_tokens)
        ticket = await self._reserve(ask)
        start = time.monotonic()
        try:
            completion = await self._wire.post(body, idempotency_key=key)
            seconds = time.monotonic() - start
            return await self._record(ticket, document, request, completion, seconds)
        except EndpointError as fault:
            seconds = time.monotonic() - start
            await asyncio.to_thread(
                self.ledger.settle, ticket, fault.state, tokens=fault.tokens, seconds=seconds
            )
            return fault
        finally:
            self._open -= 1
            self._settled.set()
            self._settled = asyncio.Event()

    async def _reserve(self, ask: Ask) -> Ticket:
        """A ticket; where only what is in flight stands in the way, its end is waited for."""
        async with self._turn:
            while True:
                settled = self._settled
                try:
                    (ticket,) = await asyncio.to_thread(self.ledger.reserve, [ask])
                except BudgetExceeded:
                    if self._open == 0 and not settled.is_set():
                        raise
                    await settled.wait()
                else:
                    self._open += 1
                    return ticket

    async def _record(
        self, ticket: Ticket, document: str, request: Request, answer: Completion, seconds: float
    ) -> Reply:
        tokens = answer.tokens or (ticket.ask.prompt_tokens, ticket.ask.completion_tokens)
        usage = Usage(
            calls=1, prompt_tokens=tokens[0], completion_tokens=tokens[1], seconds=seconds
        )
        text = structured.unwrap(answer.text, request.schema)
        reply = Reply(text, finish_reason=answer.finish_reason, usage=usage)
        usd = await asyncio.to_thread(
            self.ledger.settle,
            ticket,
            "done",
            tokens=tokens,
            seconds=seconds,
            estimated=answer.tokens is None,
            answer=Answer(document, reply),
        )
        return replace(reply, usage=replace(usage, usd=usd))

    def _body(self, request: Request, *, plain: bool) -> tuple[dict[str, Any], str]:
        """The request as the protocol wants it, and the name of its schema.

        `plain` leaves out `response_format`, as does a server known to refuse this schema.
        """
        sampling = request.sampling
        messages = [{"role": m.role, "content": _utf8(m.content)} for m in request.messages]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": sampling.temperature,
            "seed": _seed(sampling.seed, request.sample_index),
            self._limit_name: sampling.max_tokens,
        }
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.top_k:
            body["extra_body"] = {"top_k": sampling.top_k}
        if request.schema is None:
            return body, ""
        if messages:
            messages[-1]["content"] += "\n\n" + structured.describe(request.schema)
        form = structured.response_format(request.schema)
        name = key_of(json.dumps(form, sort_keys=True))
        if not plain and name not in self._no_format:
            body["response_format"] = form
        return body, name


class _Loop:
    """An event loop in a thread of its own, so that `chat` works inside other loops and threads."""

    def __init__(self, name: str):
        self._name = name
        self._lock = threading.Lock()
        self._runner: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            if self._runner is None:
                self._runner = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._runner.run_forever, name=self._name, daemon=True
                )
                self._thread.start()
        future = asyncio.run_coroutine_threadsafe(work, self._runner)
        try:
            return future.result()
        except futures.CancelledError:
            raise LMError(f"{self._name}: closed while requests were in flight") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancels what is in flight, runs `last` and ends the thread."""

        async def finish() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await last()

        with self._lock:
            if self._runner is None or self._thread is None:
                return
            asyncio.run_coroutine_threadsafe(finish(), self._runner).result()
            self._runner.call_soon_threadsafe(self._runner.stop)
            self._thread.join()
            self._runner.run_until_complete(self._runner.shutdown_default_executor())
            self._runner.close()
            self._runner = self._thread = None


def _most_tokens(body: dict[str, Any]) -> int:
    """No fewer tokens than the prompt can have: one per byte, and what a chat template may add."""
    messages = body["messages"]
    words = sum(len(message["content"].encode()) for message in messages)
    form = body.get("response_format")
    return words + 16 * len(messages) + 64 + (len(json.dumps(form)) if form else 0)


def _seed(seed: int, sample_index: int) -> int:
    """A 31-bit seed that differs between samples of one question."""
    digest = hashlib.sha256(f"{seed}:{sample_index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
