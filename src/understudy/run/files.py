"""Writing files so that a kill or a power cut leaves the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from understudy.run.errors import RunError


@contextlib.contextmanager
def on_disk(path: Path) -> Generator[None]:
    """Turns an operating system's error about `path` into a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or path}: {error.strerror or error}") from error


def require_space(folder: Path, size: int) -> None:
    """Raises RunError where fewer than `size` bytes are free in `folder`."""
    with on_disk(folder):
        free = shutil.disk_usage(folder).free
    if free < size:
        raise RunError(f"{folder}: {size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")


def sync(path: Path) -> None:
    """Returns when a file's or a directory's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and returns when it is on the disk (its name is not, until `sync(parent)`)."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Gives `path` new content in one step."""
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.unlink(missing_ok=True)
    write_synced(temporary, data)
    temporary.replace(path)
    sync(path.parent)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Mapping[str, Any]) -> bytes:
    """`value` as JSON that reads back equal, floats to the last bit.

    Raises:
        TypeError: it would not read back equal (tuples, keys that are no strings, NaN, arrays).
    """
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise TypeError(f"not JSON: {error}") from None
    if json.loads(text) != value:
        raise TypeError("JSON would change it: use lists for tuples and strings for keys")
    return text.encode()


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON in a file that is replaced whole.

    Raises:
        RunError: the disk is full or the directory cannot be written; it names the path.
    """
    with on_disk(path):
        replace_file(path, (json.dumps(value, indent=1) + "\n").encode())


def seal(body: Mapping[str, Any]) -> bytes:
    """`body` as readable JSON that carries its own SHA-256."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, sort_keys=True, indent=1).encode() + b"\n"


def unseal(data: bytes) -> dict[str, Any] | None:
    """What was sealed, or None if one bit of it changed."""
    try:
        body = json.loads(data)
        del body["sha256"]
        return body if seal(body) == data else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
