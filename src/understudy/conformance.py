"""Promises of the training commands, tried: for whoever adds a role or changes one."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from understudy.cli import COMMANDS, Command, main
from understudy.run.config import load
from understudy.run.errors import RunError
from understudy.run.metrics import read

KEPT = (".jsonl", ".toml", ".json", ".safetensors")
CLOCKS = "timing.jsonl"


def check_role(
    name: str, *flags: str, commands: Mapping[str, Command] = COMMANDS, folder: Path | None = None
) -> Path:
    """Runs a training command small and sees that it keeps its promises.

    Its configuration is accepted back by `--config`; it logs forwards and leaves a checkpoint at its
    end; resuming it when it is done changes nothing; the same seed gives the same numbers, and
    another seed others.

    Args:
        name: the command, e.g. `teacher train`.
        flags: more of its flags, e.g. `--advice.who expert`, beside `--debug`.
        commands: where the command is looked up.
        folder: where the runs are made; by default they are thrown away.

    Returns:
        The directory of the first run.

    Raises:
        RunError: a promise is not kept; which one.
    """
    command = commands.get(name)
    if command is None or not command.resumable:
        trains = ", ".join(k for k, c in commands.items() if c.resumable)
        raise RunError(f"{name!r} is no command that trains; there are {trains}")
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return check_role(name, *flags, commands=commands, folder=Path(temporary))
    path = _run(name, flags, commands, folder / "one")
    config = command.config()
    given = ["--debug", *flags, "--run.progress", "false", "--run.root", str(folder / "one")]
    settings = load(config, ["--config", str(path / "config.toml")])
    _demand(settings == load(config, given), name, "its config.toml is not its configuration")
    info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    _demand(f"{info['role']} {info['verb']}" == name, name, "its run says it is another command's")
    steps = [row["step"] for row in read(path / "metrics.jsonl")]
    _demand(len(steps) > 1, name, "it logs fewer than two steps")
    _demand(all(a < b for a, b in itertools.pairwise(steps)), name, "its steps do not rise")
    last = path / "checkpoints" / f"{int(steps[-1])}"
    _demand(last.is_dir(), name, "it leaves no checkpoint at its end")
    before = _contents(path)
    _main(["resume", str(path), "--run.progress", "false"], commands)
    _demand(_contents(path) == before, name, "resuming it when it is done changes it")
    numbers = before[Path("metrics.jsonl")]
    again = _run(name, flags, commands, folder / "again")
    other = _run(name, (*flags, "--seed", "1"), commands, folder / "other")
    same = (again / "metrics.jsonl").read_bytes() == numbers
    _demand(same, name, "the same seed gives other numbers")
    differs = (other / "metrics.jsonl").read_bytes() != numbers
    _demand(differs, name, "another seed gives the same numbers")
    return path


def _run(name: str, flags: tuple[str, ...], commands: Mapping[str, Command], root: Path) -> Path:
    args = [*name.split(), "--debug", *flags, "--run.progress", "false", "--run.root", str(root)]
    _main(args, commands)
    found = sorted(root.rglob("run.json"))
    _demand(len(found) == 1, name, f"it makes {len(found)} run directories")
    return found[0].parent


def _main(args: list[str], commands: Mapping[str, Command]) -> None:
    code = main(args, commands)
    if code != 0:
        raise RunError(f"understudy {' '.join(args)} ends with exit code {code}")


def _contents(path: Path) -> dict[Path, bytes]:
    """All files but what a clock wrote."""
    files = [f for f in path.rglob("*") if f.suffix in KEPT and f.name != CLOCKS]
    return {f.relative_to(path): f.read_bytes() for f in files}


def _demand(kept: bool, name: str, otherwise: str) -> None:
    if not kept:
        raise RunError(f"{name}: {otherwise}")
