"""Profiles at rest: the aggregates of a cohort as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.data.jsonl import DataError
from understudy.ops.cohort_statistics import Profile, from_json, to_json


def read_profile(path: Path) -> Profile:
    """The profile in a JSON file.

    Raises:
        DataError: no such file, or not a profile; one line.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}") from error


def write_profile(path: Path, whole: Profile) -> None:
    """Writes a profile as JSON, replacing the file whole.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(json.dumps(to_json(whole)) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write ({error.strerror})") from error
