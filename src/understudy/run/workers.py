"""Several processes that train as one: a leader that owns everything, followers that compute.

The leader runs the plain loop. It alone has the run directory, the optimizer, the counters and every
decision. A follower keeps nothing of a run: it is sent weights and a share of the work, and gives back
gradients, which are summed over all processes, or what it played. So nothing is kept twice that
could drift apart, and a checkpoint of several processes is one of the plain loop.

    with crew(serve, config, 2) as leader:               # starts one follower, which runs serve(config, it)
        leader.order("gradients", [Message({"rows": 4})])     # one message per follower
        leader.spread(parameters)                         # collective: the followers call it, too
        ...                                               # the leader's own share
        leader.add_gradients(parameters)                  # collective
        replies = leader.replies()

Messages are JSON and safetensors over pipes. Weights and gradients go through torch.distributed (gloo),
which finds its peers by a file, not by a port. Whoever dies closes its pipe, so the others notice at once;
whoever hangs is given `TIMEOUT`.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from understudy.run.errors import RunError
from understudy.types import UnderstudyError

T = TypeVar("T")
C = TypeVar("C")

TIMEOUT = timedelta(minutes=10)
"""Most that one process waits for another inside a sum or a broadcast."""
BUCKET = 1 << 24
"""Most numbers that are sent at once."""
LOST = 70
"""Exit code of a follower that ended because another process did."""


class Lost(RunError):
    """Another process is gone; not this one's fault."""


@dataclass(frozen=True)
class Message:
    """What goes from one process to another."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """JSON values."""
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def share(items: Sequence[T], rank: int, size: int) -> Sequence[T]:
    """The run of `items` that falls to worker `rank` of `size`; together they are all, in order."""
    return items[rank * len(items) // size : (rank + 1) * len(items) // size]


class Member:
    """One of `size` processes; 0 is the leader's number."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share of `items`."""
        return share(items, self.rank, self.size)

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Gives every process the leader's numbers, in place. Collective.

        Raises:
            RunError: another process is gone.
        """
        with self.together(), torch.no_grad():
            _in_buckets([t.detach() for t in tensors], lambda flat: dist.broadcast(flat, 0))

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Puts the sum of all processes' gradients in the leader; a follower's are then none. Collective.

        A parameter that has a gradient nowhere has none afterwards.

        Raises:
            RunError: another process is gone.
        """
        every = list(parameters)
        found = torch.tensor([p.grad is not None for p in every], dtype=torch.float32)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in every]
        with self.together(), torch.no_grad():
            dist.reduce(found, 0)
            _in_buckets(grads, lambda flat: dist.reduce(flat, 0))
        for parameter, grad, owners in zip(every, grads, found.tolist(), strict=True):
            parameter.grad = grad if self.rank == 0 and owners else None

    @contextlib.contextmanager
    def together(self) -> Generator[None]:
        """Around what all processes do together.

        Raises:
            RunError: another process is gone.
        """
        try:
            yield
        except RuntimeError as error:  # what torch.distributed raises where a peer is gone
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise Lost(f"worker {self.rank}: lost the others ({_line(error)})") from error


class Follower(Member):
    """A process that does as it is told; see the module."""

    def __init__(self, rank: int, size: int, pipe: Connection) -> None:
        super().__init__(rank, size)
        self._pipe = pipe

    def orders(self) -> Iterator[tuple[str, Message]]:
        """Names and contents of orders, until the leader needs no more."""
        while True:
            try:
                message = _receive(self._pipe)
            except (EOFError, OSError):
                return
            yield message.fields.pop("order"), message

    def reply(self, message: Message) -> None:
        """Answers an order."""
        try:
            _send(self._pipe, message)
        except OSError as error:
            raise Lost(f"worker {self.rank}: lost the leader") from error


class Leader(Member):
    """The process that runs the loop; see the module."""

    def __init__(self, processes: Sequence[SpawnProcess], pipes: Sequence[Connection]) -> None:
        super().__init__(0, 1 + len(pipes))
        self._processes, self._pipes = processes, pipes

    def order(self, name: str, messages: Sequence[Message] | None = None) -> None:
        """Tells every follower to do `name`.

        Args:
            name: what `serve` knows it by.
            messages: one for each follower, in order of rank; left out, empty ones.

        Raises:
            RunError: a follower is gone.
        """
        for pipe, message in zip(
            self._pipes, messages or [Message()] * len(self._pipes), strict=True
        ):
            try:
                _send(pipe, Message({"order": name, **message.fields}, message.tensors))
            except OSError as error:
                raise self._blame(error) from error

    def replies(self) -> list[Message]:
        """One answer of every follower.

        Raises:
            RunError: a follower is gone.
        """
        found: list[Message] = []
        for rank, pipe in enumerate(self._pipes, 1):
            try:
                found.append(_receive(pipe))
            except (EOFError, OSError) as error:
                raise self._blame(error) from error
            if problem := found[-1].fields.get("error"):
                raise RunError(f"worker {rank} of {self.size} failed: {problem}")
        return found

    @contextlib.contextmanager
    def together(self) -> Generator[None]:
        """See `Member`; the error says which follower it was."""
        try:
            with super().together():
                yield
        except Lost as error:
            raise self._blame(error) from error

    def _blame(self, error: BaseException) -> RunError:
        """Which follower ended first, and why."""
        for process in self._processes:
            process.join(1.0)
        for rank, (process, pipe) in enumerate(zip(self._processes, self._pipes, strict=True), 1):
            with contextlib.suppress(EOFError, OSError):
                while pipe.poll():
                    if problem := _receive(pipe).fields.get("error"):
                        return RunError(f"worker {rank} of {self.size} failed: {problem}")
            if process.exitcode not in (None, 0, LOST):
                return RunError(f"worker {rank} of {self.size} died ({_ending(process.exitcode)})")
        return RunError(f"a worker does not answer: {_line(error)}")


@contextlib.contextmanager
def crew(serve: Callable[[C, Follower], None], config: C, size: int) -> Generator[Leader]:
    """Starts `size` − 1 followers for as long as the block; this process is the leader.

    The threads of this process are divided among all.

    Args:
        serve: what a follower does; a function of a module, as the process is a new one.
        config: its first argument.
        size: how many processes there are with this one.

    Raises:
        RunError: a follower cannot start.
    """
    threads = torch.get_num_threads()
    each = max(1, threads // size)
    spawn = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[SpawnProcess] = []
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        meeting = str(Path(folder) / "meeting")
        try:
            for rank in range(1, size):
                ours, theirs = spawn.Pipe()
                job = (serve, config, rank, size, each, theirs, meeting)
                process = spawn.Process(
                    target=_follow, args=job, daemon=True, name=f"worker {rank}"
                )
                process.start()
                theirs.close()  # so that its end is the end of the pipe
                pipes.append(ours)
                processes.append(process)
            leader = Leader(processes, pipes)
            leader.replies()  # all are there: only now is a wait for them sure to end
            torch.set_num_threads(each)
            with leader.together():
                _meet(meeting, 0, size)
            yield leader
            for pipe in pipes:
                pipe.close()
            for process in processes:
                process.join(10.0)
        finally:
            for process in processes:
                process.kill()
                process.join()
            torch.set_num_threads(threads)
            if dist.is_initialized():
                dist.destroy_process_group()


def _meet(meeting: str, rank: int, size: int) -> None:
    store = dist.FileStore(meeting, size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=TIMEOUT)


def _follow(
    serve: Callable[[C, Follower], None],
    config: C,
    rank: int,
    size: int,
    threads: int,
    pipe: Connection,
    meeting: str,
) -> None:
    """A follower's whole life. A signal to the group is the leader's to answer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    follower = Follower(rank, size, pipe)
    try:
        follower.reply(Message())
        _meet(meeting, rank, size)
        serve(config, follower)
        dist.destroy_process_group()
    except Lost:
        sys.exit(LOST)
    except UnderstudyError as error:
        _report(follower, error)
        sys.exit(1)
    except Exception as error:  # whatever it is, the leader is told before it is raised again
        _report(follower, error)
        raise


def _report(follower: Follower, error: Exception) -> None:
    with contextlib.suppress(Lost):
        follower.reply(Message({"error": _line(error)}))


def _send(pipe: Connection, message: Message) -> None:
    pipe.send_bytes(json.dumps(message.fields).encode())
    tensors = {name: t.detach().contiguous() for name, t in message.tensors.items()}
    pipe.send_bytes(safetensors.torch.save(tensors))


def _receive(pipe: Connection) -> Message:
    fields = json.loads(pipe.recv_bytes())
    return Message(fields, safetensors.torch.load(pipe.recv_bytes()))


def _in_buckets(tensors: Iterable[Tensor], send: Callable[[Tensor], object]) -> None:
    """Sends tensors, each by itself too small to be worth it, in runs of one type; in place."""
    bucket: list[Tensor] = []

    def empty() -> None:
        if bucket:
            flat = torch.cat([t.flatten() for t in bucket])
            send(flat)
            parts = flat.split([t.numel() for t in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))
            bucket.clear()

    for tensor in tensors:
        full = sum(t.numel() for t in bucket) + tensor.numel() > BUCKET
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            empty()
        bucket.append(tensor)
    empty()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (
        text[:200]
        if isinstance(error, UnderstudyError)
        else f"{type(error).__name__}: {text[:200]}"
    )


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"
