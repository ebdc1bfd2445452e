"""A sweep of twenty small runs, and one of its processes killed while it is at work."""

import contextlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path

from tests.roles.processes import lines

RECIPE = """
name = "twenty"
root = "."
seeds = [0, 1, 2, 3, 4]

[optimizer.base]
env = "CartPole-v1"
batch = 2
held_out = 20

[optimizer.base.budget]
episodes = 40

[optimizer.base.run]
checkpoint_every = 2

[optimizer.grid]
proposer = ["cma", "random"]
"policy.limit" = [2.0, 6.0]
"""
RUNS = 20
APART = ("run.json", "timing.jsonl", ".lock")
"""What a clock or a process number is in."""


def arguments(folder: Path, *more: str) -> list[str]:
    """The command line; it is to be called in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE)
    return ["sweep", "recipe.toml", "--progress", "false", *more]


def runs(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob("twenty/*/*/*/run.json"))


def same(folder: Path, other: Path) -> None:
    """Asserts that two sweeps have the same runs, bit for bit, clocks aside."""
    ours, theirs = _files(folder), _files(other)
    assert ours.keys() == theirs.keys()
    assert sum(name.endswith("metrics.jsonl") for name in ours) == RUNS
    for name, data in ours.items():
        assert data == theirs[name], name


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for run in runs(folder)
        for file in run.rglob("*")
        if file.is_file() and file.name not in APART and "tfevents" not in file.name
    }


def attempts(run: Path) -> int:
    """How often a run was begun or continued: each time it opens a file of events."""
    return len(list(run.glob("events.out.tfevents*")))


class Killer(threading.Thread):
    """Kills, with SIGKILL, the process that is at a run, once some runs are finished."""

    def __init__(self, folder: Path, *, after: int = 4) -> None:
        super().__init__(daemon=True)
        self.folder, self.after = folder, after
        self.killed: Path | None = None
        self.finished: list[Path] = []
        """The runs that were finished by then."""
        self.stopped = False

    def run(self) -> None:
        while self.killed is None and not self.stopped:
            time.sleep(0.002)
            found = runs(self.folder) if self.folder.exists() else []
            finished = [run for run in found if (run / "finished").exists()]
            if len(finished) < self.after:
                continue
            for run in found:
                if run not in finished and lines(run / "metrics.jsonl") >= 4 and self._kill(run):
                    self.killed, self.finished = run, finished
                    break

    def _kill(self, run: Path) -> bool:
        lock = run / ".lock"
        pid = int((lock.read_text() if lock.exists() else "") or 0)
        if pid in (0, os.getpid()):
            return False
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        return not (run / "finished").exists()

    def __enter__(self) -> "Killer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True
        self.join()


def whole_but_for_a_kill(killer: Killer) -> None:
    """Asserts that one run was broken off and continued, and none that was finished was touched."""
    assert killer.killed is not None
    found = {run: attempts(run) for run in runs(killer.folder)}
    assert len(found) == RUNS
    assert found.pop(killer.killed) == 2
    assert set(found.values()) == {1}
    assert len(killer.finished) >= killer.after


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to
