"""Run directories and comparisons as records: the files as they are, and what was wrong with them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.report.numbers import is_number
from understudy.run.errors import RunError
from understudy.run.files import on_disk
from understudy.run.info import RunInfo, find_runs, read_info
from understudy.run.metrics import read

DOCUMENTS = (
    "teacher.json", "result.json", "generate.json", "fidelity.json", "verdict.json", "truth.json",
    "parameters.json", "lm/ledger.json",
)  # fmt: skip
MAX_BYTES = 32_000_000
"""A larger file is not read, and the page says so."""
LABELS = ("algorithm", "method", "proposer", "core")
"""What a role's comparison calls its rows."""

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run directory as it was found."""

    path: Path
    info: RunInfo
    config: str
    """The text of config.toml."""
    metrics: list[Row]
    """By step: numbers only."""
    timing: list[Row]
    documents: Mapping[str, Any]
    """What its role wrote, by file name."""
    problems: list[str] = field(default_factory=list[str])
    """What could not be read."""

    @property
    def label(self) -> str:
        """How it is called among others."""
        return f"{self.info.role} · {self.info.env} · {self.info.name}"

    @property
    def step(self) -> float | None:
        """The last logged step."""
        return self.metrics[-1]["step"] if self.metrics else None


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """A compare.json, with its runs."""

    path: Path
    env: str
    optimum: Mapping[str, float]
    """The best there is, where it is known."""
    members: list[tuple[str, int, RunRecord]]
    """(label, seed, run)."""
    problems: list[str]

    @property
    def label(self) -> str:
        """How it is called among others."""
        role = f"{self.members[0][2].info.role} " if self.members else ""
        return f"{role}comparison · {self.env}"


Record = RunRecord | ComparisonRecord


def read_record(path: Path) -> Record:
    """A run directory, a directory with a compare.json, or the compare.json itself.

    Raises:
        RunError: it is none of these, or says nothing that can be read.
    """
    if path.is_file() and path.suffix == ".json":
        return read_comparison(path)
    if (path / "run.json").is_file():
        return read_run(path)
    if (path / "compare.json").is_file():
        return read_comparison(path / "compare.json")
    if not path.exists():
        raise RunError(f"{path}: no such run")
    below = [str(run.path) for run in find_runs(path)] if path.is_dir() else []
    hint = f"; there is one at {below[-1]}" if below else ""
    raise RunError(f"{path}: neither a run nor a comparison (no run.json, no compare.json){hint}")


def read_run(path: Path) -> RunRecord:
    """Everything but checkpoints; a file that cannot be read is told in `problems`.

    Raises:
        RunError: run.json is missing or damaged.
    """
    info, problems = read_info(path), list[str]()
    if not isinstance(info.versions, dict) or not isinstance(info.command, list):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RunError(f"{path / 'run.json'}: damaged: versions or command")
    documents: dict[str, Any] = {}
    for name in DOCUMENTS:
        if (path / name).is_file():
            found = _json(path / name, problems)
            if isinstance(found, dict):
                documents[name] = found
            elif found is not None:
                problems.append(f"{path / name}: not a table of names and values")
    return RunRecord(
        path,
        info,
        _text(path / "config.toml", problems),
        _rows(path / "metrics.jsonl", problems),
        _rows(path / "timing.jsonl", problems),
        documents,
        problems,
    )


def read_comparison(file: Path) -> ComparisonRecord:
    """A comparison and those of its runs that are still there.

    Raises:
        RunError: the file is no comparison.
    """
    problems: list[str] = []
    found = _json(file, problems)
    if problems:
        raise RunError(problems[0])
    rows = found.get("runs") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RunError(f"{file}: not a comparison (a list of runs)")
    members: list[tuple[str, int, RunRecord]] = []
    for row in rows:
        label = next((str(row[name]) for name in LABELS if name in row), "?")
        given = Path(str(row.get("run", "")))
        # A folder of runs may have been moved since: then they stand beside the comparison.
        place = given if (given / "run.json").is_file() else file.parent / given.name
        try:
            run = read_run(place)
        except RunError as error:
            problems.append(str(error))
            continue
        seed = row.get("seed", run.info.seed)
        members.append((label, seed if isinstance(seed, int) else run.info.seed, run))
    optimum = found.get("optimum") if isinstance(found, dict) else None
    known = optimum if isinstance(optimum, dict) else {}
    return ComparisonRecord(
        file,
        members[0][2].info.env if members else file.parent.name,
        {str(key): float(value) for key, value in known.items() if is_number(value)},
        members,
        problems,
    )


def columns(rows: Sequence[Row], x: str = "step") -> dict[str, list[tuple[float, float]]]:
    """Metric → its (x, value) pairs, where both are finite numbers."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        at = row.get(x, math.nan)
        for name, value in row.items():
            if name not in ("step", x) and math.isfinite(value) and math.isfinite(at):
                found.setdefault(name, []).append((at, value))
    return found


def _rows(path: Path, problems: list[str]) -> list[Row]:
    if not path.is_file():
        return []
    try:
        lines = read(path)
    except RunError as error:
        problems.append(str(error))
        return []
    rows = [
        {name: float(value) for name, value in line.items() if is_number(value)} for line in lines
    ]
    return [row for row in rows if "step" in row]


def _json(path: Path, problems: list[str]) -> Any:
    text = _text(path, problems)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: not JSON: {error}")
        return None


def _text(path: Path, problems: list[str]) -> str:
    try:
        with on_disk(path):
            if path.stat().st_size > MAX_BYTES:
                problems.append(f"{path}: larger than {MAX_BYTES // 1_000_000} MB, left out")
                return ""
            return path.read_bytes().decode(errors="replace")
    except RunError as error:
        problems.append(str(error))
        return ""
