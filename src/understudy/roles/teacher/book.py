"""A book of answers: what was said to each text, one JSON line each, appended as it comes.

The first line names the model and how it was asked. The book of a run lies in its directory and
is all that is needed to run again without the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from understudy.run.errors import RunError


@dataclass(frozen=True, slots=True)
class Row:
    """What was answered to one text."""

    text: str
    answers: tuple[tuple[str, float], ...]
    """With their probabilities."""
    raw: str = ""
    """The model's own words, shortened."""
    fallback: bool = False
    """No usable answer came; `answers` is what is done instead."""


@dataclass
class Book:
    """Rows by text, in memory and in a file."""

    path: Path
    key: Mapping[str, str]
    rows: dict[str, Row] = field(default_factory=dict[str, Row])

    @classmethod
    def open(cls, path: Path, key: Mapping[str, str] | None = None) -> Book:
        """Reads a book; begins it where there is none and `key` says whose it is.

        Raises:
            RunError: it cannot be read or written, or holds another model's answers.
        """
        try:
            text = path.read_text(encoding="utf-8") if key is None or path.exists() else ""
            # What follows the last line's end was being written when its writer was killed.
            whole, end, torn = text.rpartition("\n")
            if key is not None and not end and json.dumps(dict(key)).startswith(torn):
                path.parent.mkdir(parents=True, exist_ok=True)
                whole, torn = json.dumps(dict(key)), ""
                path.write_text(whole + "\n", encoding="utf-8")
            if torn and key is not None:
                path.write_text(whole + end, encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RunError(f"{path}: not a book of answers") from error
        lines = whole.splitlines()
        book = cls(path, _header(path, lines[0] if lines else ""))
        for number, line in enumerate(lines[1:], 2):
            row = _read(path, number, line)
            book.rows[row.text] = row
        if key is not None and book.key != key:
            raise RunError(f"{path}: holds the answers of {dict(book.key)}, not of {dict(key)}")
        return book

    def add(self, rows: Sequence[Row]) -> None:
        """Writes rows down."""
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(asdict(row)) + "\n")
                self.rows[row.text] = row


def _header(path: Path, line: str) -> dict[str, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}:1: not a book of answers") from error
    if not isinstance(found, dict) or "model" not in found:
        raise RunError(f"{path}:1: not a book of answers; its first line names the model")
    return {str(name): str(value) for name, value in found.items()}


def _read(path: Path, number: int, line: str) -> Row:
    try:
        found = json.loads(line)
        answers = tuple((str(text), float(p)) for text, p in found["answers"])
        row = Row(str(found["text"]), answers, str(found["raw"]), bool(found["fallback"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RunError(f"{path}:{number}: not a line of a book of answers") from error
    if not all(p >= 0 for _, p in answers) or not abs(sum(p for _, p in answers) - 1.0) < 1e-3:
        raise RunError(f"{path}:{number}: the probabilities are none or do not sum to 1")
    return row
