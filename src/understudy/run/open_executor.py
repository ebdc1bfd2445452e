"""Who does a command's work: this process, processes of this machine, or Ray."""

from __future__ import annotations

from understudy.run.errors import ConfigError
from understudy.run.executors import Executor, Processes, Serial
from understudy.run.ray_tasks import RayTasks


def opened(workers: int = 1, ray: str | None = None) -> Executor:
    """The executor of a command's settings.

    Args:
        workers: items done at the same time; 1 without Ray is this process. With Ray, 0 leaves their
            number to the cluster.
        ray: `local` starts Ray for this once, an address finds one that is there.

    Raises:
        ConfigError: Ray is not installed, or there are to be no workers.
    """
    if ray is not None:
        return RayTasks(ray, workers)
    if workers < 1:
        raise ConfigError("workers: at least 1; 0 leaves it to Ray, and needs --ray")
    return Serial() if workers == 1 else Processes(workers)
