"""What a run directory says of itself, in `run.json`; read without torch."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.run.errors import RunError
from understudy.run.files import on_disk, unseal
from understudy.run.metrics import read

PACKAGES = (
    "understudy",
    "torch",
    "numpy",
    "transformers",
    "safetensors",
    "gymnasium",
    "llguidance",
)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a run was started."""

    role: str
    verb: str
    """`understudy ROLE VERB` started it, and continues it."""
    env: str
    name: str
    seed: int
    command: list[str]
    created: str
    """ISO 8601, UTC."""
    threads: int
    """Threads of torch; another number gives other bits."""
    git: str | None
    """Commit of the working directory, with `-dirty` if it had changes."""
    versions: dict[str, str]
    schema: int = 1


def to_bytes(info: RunInfo) -> bytes:
    """The content of `run.json`."""
    return json.dumps(dataclasses.asdict(info), indent=1).encode() + b"\n"


def read_info(folder: Path) -> RunInfo:
    """Reads `run.json`.

    Raises:
        RunError: there is none, it is damaged, or a newer version wrote it.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(f"{folder}: not a run directory (it has no run.json)")
    with on_disk(path):
        data = path.read_bytes()
    try:
        fields: dict[str, Any] = json.loads(data)
        if fields["schema"] != 1:
            raise RunError(f"{path}: written in format {fields['schema']}; this version reads 1")
        return RunInfo(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: damaged: {error}") from None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_commit() -> str | None:
    """Commit of the working directory; None outside a repository or without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `understudy ls`."""

    path: Path
    info: RunInfo | None
    step: int | None
    """The last logged step."""
    checkpoint: int | None
    problem: str = ""


def find_runs(root: Path) -> list[Listed]:
    """The runs below `root`, oldest first; damaged ones with what is wrong.

    Raises:
        RunError: there is no such directory.
    """
    if not root.is_dir():
        raise RunError(f"{root}: no such directory")
    with on_disk(root):
        folders = sorted(path.parent for path in root.rglob("run.json"))
    listed = [_list(folder) for folder in folders]
    return sorted(listed, key=lambda run: run.info.created if run.info else "")


def _list(folder: Path) -> Listed:
    try:
        info = read_info(folder)
        lines = read(folder / "metrics.jsonl")
    except RunError as error:
        return Listed(folder, None, None, None, str(error))
    latest = folder / "checkpoints" / "latest"
    body = unseal(latest.read_bytes()) if latest.is_file() else None
    return Listed(
        folder, info, lines[-1]["step"] if lines else None, body["step"] if body else None
    )
