"""The parts of the demo: a small grid for each role, run by a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from understudy.compare.config import GridConfig, shrunk
from understudy.compare.grid import folder_of, unfinished
from understudy.compare.play import CONFIG
from understudy.compare.roles import SUMMARIES, place
from understudy.compare.table import TABLE
from understudy.run.cell import Cell
from understudy.run.config import dump
from understudy.run.errors import RunError
from understudy.run.files import on_disk, replace_file
from understudy.run.outcome import Learning
from understudy.run.run import FINISHED

LOG = "log.txt"
State = Literal["waiting", "running", "done", "failed"]


@dataclass
class Part:
    """One role's part."""

    role: str
    config: GridConfig
    state: State = "waiting"
    process: subprocess.Popen[bytes] | None = None
    finished: set[Path] = field(default_factory=set[Path])
    """Runs that are known to be finished: they are not read again."""

    def __post_init__(self) -> None:
        self.root = folder_of(self.config)
        self.cells = shrunk(self.config).cells(str(self.root))
        if (self.root / TABLE).is_file() and not list(unfinished(shrunk(self.config), self.root)):
            self.state = "done"

    @property
    def contender(self) -> str:
        """Whose result it is: the first of its methods."""
        return self.cells[0].contender.label

    def start(self) -> None:
        """Begins or continues it, in a process with one thread."""
        with on_disk(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            (self.root / TABLE).unlink(missing_ok=True)
            replace_file(self.root / CONFIG, dump(self.config).encode())
            with (self.root / LOG).open("ab") as log:
                self.process = subprocess.Popen(
                    command(self.root / CONFIG), stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
        self.state = "running"

    def poll(self) -> None:
        """Notes how its process ended, if it did."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process = None
            self.state = "done" if code == 0 else "failed"

    def stop(self) -> None:
        """Asks its process for a checkpoint and an end, and waits for them."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process, self.state = None, "waiting"

    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return sum(self._share(cell) for cell in self.cells) / len(self.cells)

    def _share(self, cell: Cell) -> float:
        path = place(self.root, cell)
        if path in self.finished:
            return 1.0
        if (path / FINISHED).is_file():
            self.finished.add(path)
            return 1.0
        # What stands in the log of a run that is being made may be anything up to all of it.
        return min(0.99, SUMMARIES[cell.role].share_done(path)) if _begun(path) else 0.0

    def learning(self) -> Learning:
        """The course of the contender's newest run that has one."""
        found = Learning("", ())
        for cell in self.cells:
            path = place(self.root, cell)
            if cell.contender.label == self.contender and _begun(path):
                new = SUMMARIES[cell.role].learning(path)
                found = new if new.points else found
        return found

    def failure(self) -> RunError:
        """The last thing that its process said."""
        file = self.root / LOG
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return RunError(f"{self.role}: {last.removeprefix('understudy: ')} ({file})")


def command(file: Path) -> Sequence[str]:
    """The command line that runs a part: `env` sets the threads before torch is imported."""
    words = ["compare", "--config", str(file), "--wait", "--progress", "false"]
    return ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "understudy.cli", *words]


def _begun(path: Path) -> bool:
    return (path / "run.json").is_file() and (path / "metrics.jsonl").is_file()
