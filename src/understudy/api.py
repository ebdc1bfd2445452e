"""understudy from Python: every command in one call, and what its run left behind.

run = understudy.launch("teacher train", env="SimpleDoorKey", steps=20_000)
returns = [row["success"] for row in understudy.read_metrics(run) if "success" in row]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.cli import dispatch
from understudy.run.metrics import read


def launch(command: str, /, **settings: Any) -> Path:
    """Runs a command of the command line, prints what it prints, and returns what it made.

    Args:
        command: without `understudy`: "policy train", "simulator run", "report", …
        settings: its flags; a group is a mapping (`distill={"steps": 20_000}`), `config` names a
            recipe, `debug=True` shrinks everything to seconds.

    Returns:
        The run directory or the file, as the command's page says; the working directory where a
        command makes nothing.

    Raises:
        UnderstudyError: one line that says what is wrong, and where; nothing was spent.
    """
    made = dispatch([*command.split(), *flags(settings)])
    return Path() if made is None else made


def resume(folder: str | Path, /, **settings: Any) -> Path:
    """Continues a run from its newest checkpoint; a finished one is left as it is.

    Raises:
        UnderstudyError: no run, or one that cannot be continued.
    """
    return dispatch(["resume", str(folder), *flags(settings)]) or Path(folder)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """What a run logged, a mapping for each step: `step` and the names of its page.

    Raises:
        UnderstudyError: no such run, or a damaged log.
    """
    return read(Path(folder) / "metrics.jsonl")


def flags(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`--name=value` for each setting; a mapping's entries have its name before theirs."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flags(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" == "debug":
            yield from ["--debug"] if value else []
        else:
            text = value if isinstance(value, str | Path) else json.dumps(value)
            yield f"--{prefix}{name}={text}"
