"""A thousand requests in flight to one server, a tenth of them failing: how much of it is used?

A server in a process of its own answers so many requests at once, each after so many seconds, and
turns the others away (429); one attempt in ten fails after its time (500, a broken line, half a
body). Its limit is places / seconds. Told are the answers per second between the first and the last
tenth of them, as a share of what the limit leaves when a tenth fails, and where the client's own
limit of requests in flight stood.

    python benchmarks/in_flight.py [--places 1000 300] [--rate 80]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import threading
import time
from multiprocessing.connection import Connection

from understudy.lm.base import Request
from understudy.lm.cache import Cache
from understudy.lm.endpoint import EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.transport import Retry
from understudy.types import Message

FAULTS = 0.1
ASKED = 1000
"""Requests that may be in flight."""
ROUNDS = 6
"""Questions, in times that all places are taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, nargs="+", default=[1000, 300])
    parser.add_argument("--rate", type=float, default=80.0, help="answers per second at the limit")
    args = parser.parse_args()
    for places in args.places:
        print(json.dumps(measure(places, places / args.rate)), flush=True)


def measure(places: int, seconds: float) -> dict[str, object]:
    """One server, filled for a while."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, places, seconds), daemon=True
    )
    server.start()
    port = ours.recv()
    questions = max(ASKED, places) * ROUNDS
    cache = Cache(None)
    limits, done = list[float](), threading.Event()
    lm = EndpointLM(
        f"http://127.0.0.1:{port}/v1", "m", cache=cache, ledger=Ledger(cache),
        max_in_flight=ASKED, retry=Retry(attempts=100, paid_attempts=100),
    )  # fmt: skip

    def watch() -> None:
        while not done.wait(1.0):
            limits.append(lm._limiter.limit)

    threading.Thread(target=watch, daemon=True).start()
    start = time.monotonic()
    with lm:
        replies = lm.chat([Request((Message("user", f"{i}"),)) for i in range(questions)])
        answered = sum(reply.text == "yes" for reply in replies)
    done.set()
    ours.send("end")
    times, most, refused, failed = ours.recv()
    server.join()
    first, last = times[len(times) // 10], times[-len(times) // 10]
    rate = 0.8 * len(times) / (last - first)
    return {
        "places": places, "seconds an answer": seconds, "questions": questions,
        "answered": answered, "most at once": most, "failed": failed, "turned away": refused,
        "answers per second": round(rate, 1), "limit": round(places / seconds, 1),
        "share": round(rate / ((1 - FAULTS) * places / seconds), 3),
        "client's limit by second": [round(x) for x in limits[:: max(1, len(limits) // 16)]],
        "wall s": round(time.monotonic() - start, 1),
    }  # fmt: skip


def serve(pipe: Connection, places: int, seconds: float) -> None:
    """Until told to end; then tells when answers left, the most at once, refusals and failures."""
    asyncio.run(_Server(places, seconds).run(pipe))


class _Server:
    def __init__(self, places: int, seconds: float) -> None:
        self.places, self.seconds, self.rng = places, seconds, random.Random(0)
        self.busy = self.most = self.refused = self.failed = 0
        self.times = list[float]()

    async def run(self, pipe: Connection) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2 * ASKED)
        pipe.send(server.sockets[0].getsockname()[1])
        while not pipe.poll():
            await asyncio.sleep(0.1)
        pipe.send((self.times, self.most, self.refused, self.failed))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        if self.busy >= self.places:
            self.refused += 1
            writer.write(b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n")
            return True
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self.seconds)
        self.busy -= 1
        fault = self.rng.choice(("500", "reset", "cut")) if self.rng.random() < FAULTS else ""
        self.failed += bool(fault)
        if fault == "500":
            writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            return True
        if fault == "reset":
            writer.transport.abort()
            return False
        body = json.dumps(
            {
                "id": "x", "object": "chat.completion", "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "content": "yes"}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()  # fmt: skip
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
        if fault == "cut":
            writer.write(body[:20])
            return False
        writer.write(body)
        self.times.append(time.monotonic())
        return True


if __name__ == "__main__":
    main()
