"""JSON Lines in and out; a bad row is an error that names its file and line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.types import UnderstudyError


class DataError(UnderstudyError):
    """A data file that cannot be read or written; the text names the file and the line."""


def read_rows(
    path: Path, *, required: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSONL file with their line numbers; blank lines are passed over.

    Raises:
        DataError: no such file, or a line that is no JSON object with the required keys.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _row(path, number, line, required)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
            ) from error


def _row(path: Path, number: int, line: str, required: tuple[str, ...]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: not a JSON object")
    missing = [key for key in required if key not in row]
    if missing:
        raise DataError(
            f"{path}:{number}: no {' and no '.join(map(repr, missing))}; it has {sorted(row)}"
        )
    return row


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSONL, replacing the file only once all are written.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        temporary.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        temporary.unlink(missing_ok=True)
        reason = error.reason if isinstance(error, UnicodeEncodeError) else error.strerror
        raise DataError(f"{path}: cannot write ({reason})") from error
