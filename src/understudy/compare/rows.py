"""What the runs below a directory came to, read from their own files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.compare.roles import SUMMARIES
from understudy.run.cell import Contender
from understudy.run.errors import RunError
from understudy.run.info import read_info
from understudy.run.outcome import Cost, Learning, Score
from understudy.run.run import FINISHED


@dataclass(frozen=True)
class Row:
    """A finished run, or what a run measured beside itself."""

    role: str
    env: str
    contender: str
    lm: str | None
    seed: int
    run: str
    """Its directory, below the grid's."""
    score: Score
    baseline: bool
    """Whether it is a figure beside a run's own: no course, and no cost of its own."""
    learning: Learning
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "role": self.role, "env": self.env, "contender": self.contender, "lm": self.lm,
            "seed": self.seed, "run": self.run, "baseline": self.baseline,
            "score": asdict(self.score), "cost": asdict(self.cost),
        }  # fmt: skip


def read_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """The finished runs below a directory, in an order that follows from what they are.

    Returns:
        The rows, and the directories of runs that are unfinished or have no figure.

    Raises:
        RunError: no such directory, or a run in it is damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such directory")
    rows: dict[tuple[str, str, str, int], Row] = {}
    left_out: list[str] = []
    for file in sorted(folder.rglob("run.json")):
        path = file.parent
        role = read_info(path).role
        if role not in SUMMARIES:
            continue
        score = SUMMARIES[role].score(path) if (path / FINISHED).is_file() else None
        if score is None:
            left_out.append(path.relative_to(folder).as_posix())
            continue
        for row in _rows(folder, path, role, score):
            known = rows.setdefault((row.role, row.env, row.contender, row.seed), row)
            if known is not row and not row.baseline:
                raise RunError(f"{path}: the same method and seed as {folder / known.run}")
    return [rows[key] for key in sorted(rows)], left_out


def _rows(folder: Path, path: Path, role: str, score: Score) -> list[Row]:
    info, summary = read_info(path), SUMMARIES[role]
    who: Contender = summary.contender(path)
    where = path.relative_to(folder).as_posix()
    seed, env = info.seed, info.env
    none = Learning("", ())
    return [
        Row(
            role, env, who.label, who.lm, seed, where, score, False,
            summary.learning(path), summary.cost(path),
        ),
        *(
            Row(role, env, name, None, seed, where, beside, True, none, Cost())
            for name, beside in summary.beside(path).items()
        ),
    ]  # fmt: skip
