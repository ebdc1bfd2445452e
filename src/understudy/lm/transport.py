"""When a request may be sent again, how long to wait, and how many may be in flight.

Nothing here knows HTTP clients or JSON.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from understudy.lm.base import LMError


class EndpointError(LMError):
    """An attempt that gave no answer.

    Attributes:
        state: `refused` if it cannot have been billed, else `unknown`.
        retry: Whether to try again is of use.
        retry_after: What the server asked to wait, in seconds.
        congested: A sign of too many requests at once.
        tokens: Prompt and answer tokens the server said it billed.
    """

    def __init__(
        self,
        text: str,
        *,
        state: Literal["refused", "unknown"] = "refused",
        retry: bool = False,
        retry_after: float | None = None,
        congested: bool = False,
        tokens: tuple[int, int] | None = None,
    ):
        super().__init__(text)
        self.state: Literal["refused", "unknown"] = state
        self.retry = retry
        self.retry_after = retry_after
        self.congested = congested
        self.tokens = tokens


class BadResponse(EndpointError):
    """The server answered, but not with a chat completion."""


class Rejected(EndpointError):
    """The server finds the request itself wrong."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a request is tried."""

    attempts: int = 6
    """Tries of one request in all."""
    paid_attempts: int = 3
    """Of those, how many may end without it being known whether they were billed."""
    base_s: float = 0.5
    """The wait after the first failure is up to this; it doubles each time."""
    cap_s: float = 30.0
    """The longest wait of our own choosing."""
    max_wait_s: float = 600.0
    """A server that asks for more patience than this has failed."""
    patience_s: float = 120.0
    """A server that fails everything for so long is down: what is left is not tried."""

    def wait(self, failures: int, asked: float | None, rng: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure: never less than was asked.

        Exponential backoff with jitter over its upper half, or the server's wish plus up to a tenth.
        """
        if asked is not None:
            return asked * (1 + 0.1 * rng.random())
        return min(self.cap_s, self.base_s * 2.0 ** (failures - 1)) * (0.5 + 0.5 * rng.random())


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds a Retry-After header asks for (RFC 9110, section 10.2.3).

    Returns:
        Seconds of at least 0, or `None` where the header is missing or makes no sense.
    """
    if value is None or len(value) > 100:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class Pulse:
    """Whether a server is alive: it is not after 20 failures in a row over `patience_s` seconds."""

    ENOUGH = 20

    def __init__(self, patience_s: float):
        self._patience_s = patience_s
        self._since = 0.0
        self._failures = 0
        self.last = ""

    def beat(self) -> None:
        """An answer came."""
        self._failures = 0

    def miss(self, now: float, why: str) -> None:
        """An attempt failed."""
        self.last = why
        if self._failures == 0:
            self._since = now
        self._failures += 1

    def stopped(self, now: float) -> bool:
        """Whether to send no more."""
        return self._failures >= self.ENOUGH and now - self._since >= self._patience_s


class Limiter:
    """How many requests may be in flight: additive increase, multiplicative decrease.

    A success adds 1 / limit, or GROWTH where that is more, so that a window of a thousand comes back
    in a dozen round trips; a sign of congestion takes the limit to 0.7 of itself, once per window:
    requests that were already out when it shrank do not shrink it again. All share a pause when the
    server asks for one. To be used in one event loop.
    """

    GROWTH = 0.03
    """Of the limit, per round trip."""

    def __init__(self, max_in_flight: int):
        if max_in_flight < 1:
            raise LMError(f"max_in_flight must be at least 1, not {max_in_flight}")
        self.max = max_in_flight
        self.limit = float(max_in_flight)
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resume_at = -math.inf
        self._shrunk_at = -math.inf

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[float]:
        """Waits for a place and for the end of a pause; gives the time of departure."""
        await self._acquire()
        try:
            loop = asyncio.get_running_loop()
            while (wait := self._resume_at - loop.time()) > 0:
                await asyncio.sleep(wait)
            yield loop.time()
        finally:
            self._active -= 1
            self._wake()

    async def _acquire(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._wake()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._active -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._active < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():
                self._active += 1
                place.set_result(None)

    def succeeded(self) -> None:
        """An answer came: a little more at once."""
        self.limit = min(float(self.max), self.limit + max(1.0 / self.limit, self.GROWTH))

    def congested(self, sent_at: float) -> None:
        """A request sent at `sent_at` met congestion: less at once."""
        if sent_at > self._shrunk_at:
            self._shrunk_at = asyncio.get_running_loop().time()
            self.limit = max(1.0, 0.7 * self.limit)

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)
