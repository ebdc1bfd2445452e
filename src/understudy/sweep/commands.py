"""What the command line runs for sweeps."""

from __future__ import annotations

from pathlib import Path

from understudy.compare.play import CONFIG, play_all, unfinished
from understudy.run.config import dump
from understudy.run.executors import Executor
from understudy.run.files import on_disk, replace_file
from understudy.run.open_executor import opened
from understudy.run.run import locked
from understudy.sweep.config import SlurmConfig, SweepConfig, shrunk
from understudy.sweep.slurm import script
from understudy.sweep.table import write_table


def run_sweep(config: SweepConfig) -> Path:
    """Makes every run that is not there yet, then the table; returns the table's JSON file.

    Runs that fail are in the table; no other stops for them (see `table.failed`).

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
        return _run(config, root, executor)


def make_job(config: SlurmConfig) -> str:
    """A Slurm job for a sweep, as text."""
    return script(config)


def _run(config: SweepConfig, root: Path, executor: Executor) -> Path:
    cells = config.cells(str(root))
    list(unfinished(cells, root))  # whoever has other settings there keeps the file that says which
    with on_disk(root):
        replace_file(root / CONFIG, dump(config).encode())
    with executor:
        failures = play_all(
            cells, root, executor,
            label=f"sweep {config.name}", threads=config.threads, progress=config.progress,
        )  # fmt: skip
    return write_table(root, cells, failures)
