"""Episodes at rest: JSON Lines, one episode a line, read back exactly as they were written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.data.jsonl import DataError, read_rows, write_rows
from understudy.types import Episode, TokenTrace


def write_episodes(path: Path, episodes: Iterable[Episode], **extra: Any) -> None:
    """Writes episodes to a JSONL file; `extra` (JSON values) is put beside every episode."""
    write_rows(path, ({**extra, "episode": asdict(episode)} for episode in episodes))


def read_episodes(path: Path) -> Iterator[Episode]:
    """The episodes of a JSONL file, in order.

    Raises:
        DataError: no such file, or a line that is no episode; it names the line.
    """
    for number, row in read_rows(path, required=("episode",)):
        try:
            yield from_row(row["episode"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: not an episode ({error})") from error


def from_row(found: Mapping[str, Any]) -> Episode:
    """The episode that `dataclasses.asdict` made this of, also after JSON.

    Raises:
        ValueError, KeyError, TypeError: it made it of none.
    """
    row = dict(found)
    tokens = row.pop("tokens")
    lists = {name: tuple(row.pop(name)) for name in ("observations", "actions", "rewards")}
    trace = None if tokens is None else TokenTrace(**{k: tuple(v) for k, v in tokens.items()})
    return Episode(**lists, tokens=trace, **row)
