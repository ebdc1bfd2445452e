"""What the command line runs for sweeps and searches over settings."""

from __future__ import annotations

from pathlib import Path

from understudy.compare.play import make
from understudy.run.files import on_disk
from understudy.run.open_executor import opened
from understudy.run.run import locked
from understudy.sweep.config import SlurmConfig, SweepConfig, shrunk
from understudy.sweep.slurm import script
from understudy.sweep.table import write_table
from understudy.sweep.tune import search
from understudy.sweep.tune_config import TuneConfig, shrunk as smaller


def run_sweep(config: SweepConfig) -> Path:
    """Makes every run that is not there yet, then the table; returns the table's JSON file.

    Runs that fail are in the table; no other stops for them (see `summary.check`).

    Raises:
        RunError: a run in the sweep's directory was made with other settings, another process is at
            it, or Ray cannot be reached.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    config = shrunk(config)
    root, executor = Path(config.root) / config.name, opened(config.workers, config.ray)
    with on_disk(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        cells = config.cells(str(root))
        return write_table(root, cells, make(config, cells, root, executor, f"sweep {config.name}"))


def run_tune(config: TuneConfig) -> Path:
    """Makes every trial that is not there yet; returns the table's JSON file. See `tune.search`.

    Raises:
        RunError: another process is at it, or Ray cannot be reached; and as `tune.search` says.
        Stopped: a signal asked for it; calling the same again goes on.
    """
    config = smaller(config)
    root, executor = Path(config.root) / config.name, opened(config.workers, config.ray)
    with on_disk(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        return search(config, root, executor)


def make_job(config: SlurmConfig) -> str:
    """A Slurm job for a sweep, as text."""
    return script(config)
