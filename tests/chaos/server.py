"""An OpenAI-compatible server on loopback that misbehaves as told, and remembers what it billed.

    with chaos_server(fault_rate=0.4, seed=1) as server:
        EndpointLM(server.url, "m").chat(…)
        server.billed["prompt"]        # completions the client has to pay for

A request is known by its last message. Which fault its n-th attempt meets depends on (seed, prompt,
n) only. `script` overrides that: prompt → the faults of its attempts in order, then none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.utils import formatdate

# name → weight; the slow ones cost wall time and are rarer
FAULTS = {
    "429-seconds": 8,
    "429-zero": 4,
    "429-date": 4,
    "429-garbage": 4,
    "500": 8,
    "502": 4,
    "503": 4,
    "529": 4,
    "reset": 8,
    "cut": 6,
    "truncated": 6,
    "html": 6,
    "null": 6,
    "empty": 6,
    "unicode": 6,
    "slow": 1,
    "endless": 1,
}
BILLED = {"reset", "cut", "truncated", "html", "null", "empty", "unicode", "slow", "endless"}
RETRY_AFTER = {
    "429-seconds": "0.01",
    "429-zero": "0",
    "429-garbage": "soon, I promise",
    "429-absurd": "1e9",
    "429-5s": "5",
}


def answer_to(prompt: str) -> str:
    """What the server says to a prompt unless told otherwise."""
    return "echo " + hashlib.sha256(prompt.encode()).hexdigest()[:16]


def completion(text: str | None, **changes: object) -> dict:
    """A chat completion as a server would send it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": changes.pop("finish_reason", "stop"),
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": usage,
    } | changes


class ChaosServer:
    """What happened on the server, by prompt; safe to read from other threads."""

    def __init__(
        self,
        *,
        fault_rate: float = 0.0,
        seed: int = 0,
        script: Mapping[str, Sequence[str]] | None = None,
        respond: Callable[[dict], object] | None = None,
        latency: float = 0.0,
        slow: float = 2.0,
        faults: Mapping[str, int] = FAULTS,
    ):
        self.fault_rate = fault_rate
        self.seed = seed
        self.script = dict(script or {})
        self.respond = respond
        self.latency = latency
        self.slow = slow
        self.faults = dict(faults)
        self.received: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.endless_bytes = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self.current: dict = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def fault(self, prompt: str, attempt: int) -> str:
        """The fault that the attempt (from 0) meets, "" for none."""
        if prompt in self.script:
            faults = self.script[prompt]
            return faults[attempt] if attempt < len(faults) else ""
        rng = random.Random(f"{self.seed}:{attempt}:{prompt}")
        if rng.random() >= self.fault_rate:
            return ""
        return rng.choices(list(self.faults), list(self.faults.values()))[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        prompt = body["messages"][-1]["content"]
        self.current = body
        fault = self.fault(prompt, self.received[prompt])
        self.received[prompt] += 1
        self.met[fault] += 1
        self.bodies.append(body)
        self.headers.append(headers)
        if not fault or fault in BILLED:
            self.billed[prompt] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return await self._answer(fault, prompt, body, reader, writer)
        finally:
            self.in_flight -= 1

    async def _answer(self, fault, prompt, body, reader, writer) -> bool:
        good = self.respond(body) if self.respond else completion(answer_to(prompt))
        data = json.dumps(good).encode()
        if fault == "slow":
            await asyncio.sleep(self.slow)  # completes; by then nobody listens
        elif fault == "reset":
            writer.transport.abort()
            return False
        elif fault == "cut":
            writer.write(_head(200, len(data)) + data[: len(data) // 2])
            await writer.drain()
            return False
        elif fault == "endless":
            return await self._endless(writer)
        elif fault in ODD_BODIES:
            status, kind, text = ODD_BODIES[fault](data)
            writer.write(_head(status, len(text), kind) + text)
            await writer.drain()
            return True
        elif fault:
            writer.write(_refusal(fault))
            await writer.drain()
            return True
        writer.write(_head(200, len(data)) + data)
        await writer.drain()
        self.delivered[prompt] += not fault
        return True

    async def _endless(self, writer: asyncio.StreamWriter) -> bool:
        head = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head)
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while True:
            writer.write(chunk)
            await writer.drain()  # raises when the client hangs up
            self.endless_bytes += len(chunk)


ODD_BODIES: dict[str, Callable[[bytes], tuple[int, str, bytes]]] = {
    "truncated": lambda data: (200, "application/json", data[: len(data) * 2 // 3]),
    "html": lambda data: (200, "text/html", b"<html><body>Welcome to the proxy</body></html>"),
    "null": lambda data: (200, "application/json", b"null"),
    "empty": lambda data: (200, "application/json", b'{"choices": []}'),
    "unicode": lambda data: (200, "application/json", data.replace(b"echo", b"\xff\xfe\xc0\x80")),
}


def _head(status: int, length: int, kind: str = "application/json", extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()


def _refusal(fault: str) -> bytes:
    """A status such as "500", or "429-…" with a Retry-After, or "302" to another host."""
    text = json.dumps({"error": {"message": f"refused with {fault}", "code": "no"}}).encode()
    extra = ""
    if fault == "429-date":
        extra = f"Retry-After: {formatdate(usegmt=True)}\r\n"
    elif fault in RETRY_AFTER:
        extra = f"Retry-After: {RETRY_AFTER[fault]}\r\n"
    elif fault == "302":
        extra = "Location: http://elsewhere.example/v1/chat/completions\r\n"
    return _head(int(fault.partition("-")[0]), len(text), extra=extra) + text


@contextmanager
def chaos_server(**options: object) -> Iterator[ChaosServer]:
    """Serves in a thread until the block ends; options are those of `ChaosServer`."""
    server = ChaosServer(**options)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            listener.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        connections = asyncio.all_tasks(loop)
        for connection in connections:
            connection.cancel()
        loop.run_until_complete(asyncio.gather(*connections, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))  # sockets close one turn after their transports
        loop.close()

    task = loop.create_task(main())
    thread = threading.Thread(target=run, name="chaos server", daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
