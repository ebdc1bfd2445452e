"""Episodes at rest: JSON Lines, one episode a line, read back exactly as they were written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.types import Episode, TokenTrace, UnderstudyError


class DataError(UnderstudyError):
    """A data file that cannot be read; the text names the file and the line."""


def append_episodes(path: Path, episodes: Iterable[Episode], **extra: Any) -> None:
    """Appends episodes to a JSONL file; `extra` (JSON values) is put beside every episode."""
    with path.open("a", encoding="utf-8") as file:
        for episode in episodes:
            file.write(json.dumps({**extra, "episode": asdict(episode)}, ensure_ascii=False) + "\n")


def read_episodes(path: Path) -> Iterator[Episode]:
    """The episodes of a JSONL file, in order.

    Raises:
        DataError: no such file, or a line that is no episode; it names the line.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of episodes")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)["episode"]
                yield _episode(row)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not an episode ({error})") from error


def _episode(row: dict[str, Any]) -> Episode:
    tokens = row.pop("tokens")
    lists = {name: tuple(row.pop(name)) for name in ("observations", "actions", "rewards")}
    trace = None if tokens is None else TokenTrace(**{k: tuple(v) for k, v in tokens.items()})
    return Episode(**lists, tokens=trace, **row)
