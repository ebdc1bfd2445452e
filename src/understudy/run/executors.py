"""Work that falls into parts which know nothing of each other, done here, by processes, or by a cluster.

    with opened(workers=2) as executor:  # run/open_executor.py
        for index, answer in executor.each(work, items):
            ...

Answers come in the order they are ready, each with the index of its item: what is made of them must
not depend on that order. `work` is a function of a module and its items are small, as both may go to
another process or machine; what it needs besides lies on a disk that all of them see. It is called
again where the process that did it died, so it takes up what it finds done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from types import FrameType, TracebackType
from typing import Protocol, Self, TypeVar

from understudy.run.errors import RunError

T = TypeVar("T")
R = TypeVar("R")

RETRIES = 2
"""Times that an item is begun again after the process that did it died."""
EVERY_S = 0.25
"""Between looks at whether to stop."""
LOST = 70
"""Exit code of a worker whose leader is gone."""


@dataclass(frozen=True, slots=True)
class Died:
    """What is there instead of an answer: whoever did the item died, again and again."""

    times: int

    def __str__(self) -> str:
        return f"its process died {self.times} times"


def never() -> bool:
    """Nothing asks to stop."""
    return False


class Executor(Protocol):
    """Does work; see the module."""

    workers: int
    """Items that may be done at the same time."""

    def each(
        self, work: Callable[[T], R], items: Sequence[T], stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, R | Died]]:
        """Pairs of an item's index and its answer, as they are ready.

        Args:
            work: a function of a module. What it raises ends the whole.
            items: what it is called with.
            stop: once it says so, no item is begun, and those in work are told by SIGTERM, or what
                stands for it, to end in good order.
        """
        ...

    def __enter__(self) -> Self:
        """Opens it; processes start as they are needed."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends its processes, also those in the middle of an item."""
        ...


class Serial:
    """One item after the other, in this process."""

    workers = 1

    def each(
        self, work: Callable[[T], R], items: Sequence[T], stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, R | Died]]:
        """In the order of the items."""
        for index, item in enumerate(items):
            if stop():
                return
            yield index, work(item)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def gathered(
    executor: Executor, work: Callable[[T], R], items: Sequence[T], what: str = "work"
) -> list[R]:
    """All answers, in the order of their items.

    Args:
        executor: who works; it is open.
        work: see `Executor.each`.
        items: what it is called with.
        what: could not be done, where a worker dies again and again.

    Raises:
        RunError: one did.
    """
    found: dict[int, R] = {}
    for index, answer in executor.each(work, items):
        if isinstance(answer, Died):
            raise RunError(f"workers: {what} could not be done: {answer}")
        found[index] = answer
    return [found[index] for index in range(len(items))]


HERE = Serial()
"""This process."""


class _Lane:
    """One process. Every worker has its own pool: one that dies takes no other's item with it."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin)
        self.pid = self._pool.submit(os.getpid)

    def submit(self, work: Callable[[T], R], item: T) -> Future[R]:
        return self._pool.submit(work, item)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self.pid.result(), number)

    def close(self, *, kill: bool) -> None:
        if kill:
            self.send(signal.SIGKILL)
        self._pool.shutdown(wait=True, cancel_futures=True)


class Processes:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        """They are new ones (spawn), started when there is work."""
        self.workers = workers
        self._lanes: list[_Lane] = []

    def each(
        self, work: Callable[[T], R], items: Sequence[T], stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, R | Died]]:
        """See `Executor`; an item whose process dies is begun again, next."""
        todo = deque((index, 0) for index in range(len(items)))
        busy: dict[Future[R], tuple[_Lane, int, int]] = {}
        while (todo and not stop()) or busy:
            while todo and len(busy) < self.workers and not stop():
                lane = self._free([lane for lane, _, _ in busy.values()])
                index, times = todo.popleft()
                try:
                    busy[lane.submit(work, items[index])] = lane, index, times
                except BrokenProcessPool:  # it died while it had nothing to do
                    self._remove(lane)
                    todo.appendleft((index, times))
            if stop():
                # Until they end: one that has only just begun does not listen yet.
                for lane, _, _ in busy.values():
                    lane.send(signal.SIGTERM)
            for future in wait(busy, EVERY_S, FIRST_COMPLETED).done:
                lane, index, times = busy.pop(future)
                try:
                    answer = future.result()
                except BrokenProcessPool:
                    self._remove(lane)
                    if times < RETRIES:
                        todo.appendleft((index, times + 1))
                    else:
                        yield index, Died(times + 1)
                else:
                    yield index, answer

    def _free(self, busy: Sequence[_Lane]) -> _Lane:
        for lane in self._lanes:
            if lane not in busy:
                return lane
        self._lanes.append(_Lane())
        return self._lanes[-1]

    def _remove(self, lane: _Lane) -> None:
        self._lanes.remove(lane)
        lane.close(kill=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for lane in self._lanes:
            lane.close(kill=kind is not None)
        self._lanes.clear()


def _begin() -> None:
    """A worker's first act: signals are its leader's to answer, and it does not outlive it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_leader, daemon=True).start()


def _end_with_leader() -> None:
    leader = parent_process()
    assert leader is not None, "a worker has been started by its leader"
    connection.wait([leader.sentinel])
    os._exit(LOST)


@contextlib.contextmanager
def signals(catch: bool = True) -> Generator[list[int]]:
    """The signals that came, SIGINT and SIGTERM, for the length of a block.

    Args:
        catch: whether to; without, they do what they did before.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    main = threading.current_thread() is threading.main_thread()  # others cannot
    numbers = (signal.SIGINT, signal.SIGTERM) if catch and main else ()
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
