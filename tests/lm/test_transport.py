"""Waiting and limiting, without a network."""

import asyncio
import random
from datetime import UTC, datetime

import pytest

from understudy.lm.base import LMError
from understudy.lm.transport import Limiter, Pulse, Retry, retry_after

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("1e9", 1e9),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("9" * 101, None),
        ("Thu, 01 Jan 2026 12:00:09 GMT", 9.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 14:00:09 +0200", 9.0),
        ("Thu, 99 Jan 2026 12:00:09 GMT", None),
        ("Thu, 01 Jan 99999 12:00:09 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, NOON) == seconds


def test_waits_double_jitter_and_end():
    retry, rng = Retry(base_s=1.0, cap_s=10.0), random.Random(0)
    for failures, most in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)):
        waits = [retry.wait(failures, None, rng) for _ in range(200)]
        assert most / 2 <= min(waits) < 0.6 * most
        assert 0.9 * most < max(waits) <= most


def test_a_wait_is_never_shorter_than_asked():
    waits = [Retry().wait(1, 3.0, random.Random(i)) for i in range(200)]
    assert 3.0 <= min(waits) < 3.05
    assert 3.25 < max(waits) <= 3.3
    assert Retry().wait(9, 0.0, random.Random(0)) == 0.0


def test_a_server_is_down_after_many_failures_over_some_time():
    pulse = Pulse(10.0)
    for second in range(19):
        pulse.miss(float(second), "x")
    assert not pulse.stopped(100.0)  # 19 are not enough
    pulse.miss(100.0, "x")
    assert pulse.stopped(100.0)
    pulse.beat()
    assert not pulse.stopped(100.0)
    for _ in range(50):
        pulse.miss(200.0, "x")
    assert not pulse.stopped(209.9)  # many at once are one event
    assert pulse.stopped(210.0)


def test_the_limit_grows_by_one_a_window_and_shrinks_once_a_window():
    async def run():
        limiter = Limiter(100)
        limiter.limit = 10.0
        for _ in range(10):
            limiter.succeeded()
        assert 10.9 < limiter.limit < 11.0
        async with limiter.slot() as sent_at:
            pass
        await asyncio.sleep(0.01)
        before = limiter.limit
        for _ in range(5):  # five requests of one window
            limiter.congested(sent_at)
        assert limiter.limit == pytest.approx(0.7 * before)
        await asyncio.sleep(0.01)
        async with limiter.slot() as sent_at:
            limiter.congested(sent_at)
        assert limiter.limit == pytest.approx(0.49 * before)
        for _ in range(20):
            await asyncio.sleep(0.002)
            limiter.congested(asyncio.get_running_loop().time())
        assert limiter.limit == 1.0
        for _ in range(20000):
            limiter.succeeded()
        assert limiter.limit == 100.0

    asyncio.run(run())


def test_slots_are_bounded_given_in_order_and_survive_cancellation():
    async def run():
        limiter, order, active = Limiter(2), [], [0]

        async def work(number):
            async with limiter.slot():
                order.append(number)
                active[0] += 1
                assert active[0] <= 2
                await asyncio.sleep(0.002)
                active[0] -= 1

        tasks = [asyncio.create_task(work(i)) for i in range(12)]
        await asyncio.sleep(0.003)
        tasks[4].cancel()  # waiting
        tasks[2].cancel()  # perhaps at work
        active_before = active[0]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert active_before <= 2
        assert [n for n in order if n not in (2, 4)] == [0, 1, 3, 5, 6, 7, 8, 9, 10, 11]
        assert limiter._active == 0

    asyncio.run(run())


def test_a_pause_holds_all():
    async def run():
        limiter = Limiter(4)
        loop = asyncio.get_running_loop()
        start = loop.time()
        limiter.pause(0.1)
        limiter.pause(0.01)  # a shorter one does not shorten it

        async def work():
            async with limiter.slot() as sent_at:
                return sent_at

        times = await asyncio.gather(*(work() for _ in range(8)))
        assert min(times) - start >= 0.1

    asyncio.run(run())


def test_at_least_one():
    with pytest.raises(LMError, match="at least 1"):
        Limiter(0)


def test_a_slot_handed_to_someone_just_cancelled_is_passed_on():
    async def run():
        limiter = Limiter(1)

        async def work():
            async with limiter.slot():
                return True

        async with limiter.slot():
            second = asyncio.create_task(work())
            await asyncio.sleep(0)
        second.cancel()  # its place was assigned, but it has not run since
        assert await asyncio.wait_for(work(), 1.0)
        assert limiter._active == 0

    asyncio.run(run())
