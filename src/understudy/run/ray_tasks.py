"""Work done by Ray: the cores of one machine or of many, behind the seam of `executors`.

Ray places the items and begins one again where its process or its machine is gone. It keeps nothing
of a run: what is done is on the disk that all machines see. It reports to nobody, and opens no page.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from understudy.run.errors import ConfigError, RunError
from understudy.run.executors import EVERY_S, RETRIES, Died, never

REMIND_S = 15.0
"""Between requests to end; the first may come when a process is not yet listening."""
T = TypeVar("T")
R = TypeVar("R")


class RayTasks:
    """Tasks of a Ray cluster, one core each."""

    def __init__(self, address: str, workers: int = 0) -> None:
        """Nothing is started yet.

        Args:
            address: `local` starts Ray on this machine with `workers` cores and ends it afterwards;
                `auto` or HOST:PORT finds one that is there.
            workers: items in work at the same time; 0: as many as there are cores.

        Raises:
            ConfigError: Ray is not installed.
        """
        try:
            import ray
        except ImportError:
            raise ConfigError("--ray needs Ray: pip install understudy[ray]") from None
        self._ray: Any = ray
        self.address, self.workers = address, workers

    def each(
        self, work: Callable[[T], R], items: Sequence[T], stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, R | Died]]:
        """See `Executor`."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        limit = self.workers or len(items)
        begun, told, busy = 0, 0.0, dict[Any, int]()
        while (begun < len(items) and not stop()) or busy:
            while begun < len(items) and len(busy) < limit and not stop():
                busy[remote.remote(items[begun])] = begun
                begun += 1
            if stop() and time.monotonic() >= told:
                # Not at every look: a second SIGINT ends a run that is writing its checkpoint.
                told = time.monotonic() + REMIND_S
                for reference in busy:
                    ray.cancel(reference)
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=EVERY_S)
            for reference in ready:
                index = busy.pop(reference)
                try:
                    yield index, ray.get(reference)
                except ray.exceptions.TaskCancelledError:
                    continue
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
                    yield index, Died(RETRIES + 1)

    def __enter__(self) -> Self:
        """Starts or finds Ray.

        Raises:
            RunError: there is none at the address, or it does not start.
        """
        from ray._common.usage import usage_lib

        usage_lib.set_usage_stats_enabled_via_env_var(False)
        options: dict[str, Any] = {}
        if self.address == "local":
            options = {"num_cpus": self.workers or None, "include_dashboard": False}
        try:
            self._ray.init(address=self.address, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            line = " ".join(str(error).split())[:200]
            raise RunError(
                f"--ray {self.address}: Ray cannot be reached: {line}; a cluster that asks for a "
                "token wants RAY_AUTH_MODE=token here, too"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends what was started here; a cluster that was there goes on without these items."""
        self._ray.shutdown()
