"""Every answer of a language model, once, in one SQLite file that survives a kill.

The file is the recording that `replay:` reads, and it also holds the ledger's journal, so that an
answer and its price are written in one transaction and can never disagree.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from understudy.lm import structured
from understudy.lm.base import LMError, Reply, Request
from understudy.types import Usage

T = TypeVar("T")

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, reply TEXT NOT NULL,
    checksum TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    picousd INTEGER NOT NULL, estimated INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS totals (
    model TEXT NOT NULL, state TEXT NOT NULL, calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    picousd INTEGER NOT NULL, estimated INTEGER NOT NULL, PRIMARY KEY (model, state)
);
"""


def request_json(model: str, request: Request) -> str:
    """The request as canonical JSON: all that decides its answer, and nothing else."""
    return json.dumps(
        {
            "model": model,
            "messages": [[message.role, message.content] for message in request.messages],
            "schema": structured.document(request.schema),
            "sampling": asdict(request.sampling),
            "sample_index": request.sample_index,
            **({} if request.steer is None else {"steer": request.steer.rules}),
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def key_of(document: str) -> str:
    """SHA-256 of a canonical request."""
    return hashlib.sha256(document.encode()).hexdigest()


def insert_answer(db: sqlite3.Connection, key: str, document: str, reply: Reply) -> None:
    """Writes an answer within a transaction; the first answer to a request stays."""
    usage = asdict(reply.usage)
    steered = {"steered": reply.steered} if reply.steered else {}
    text = json.dumps(
        {"text": reply.text, "finish_reason": reply.finish_reason, "usage": usage, **steered},
        sort_keys=True,
    )
    db.execute(
        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
        (key, json.loads(document)["model"], document, text, key_of(key + document + text)),
    )


def _connect_readonly(path: Path, options: dict[str, Any]) -> sqlite3.Connection:
    """Opens a recording, also where nothing can be written beside it (a read-only disk).

    SQLite keeps an index beside a file in WAL mode even to read it. Where it cannot, the file is read
    as one that nobody changes, which is only true if no journal is left to be read with it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, **options)
    try:
        db.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        journal = path.with_name(f"{path.name}-wal")
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        if journal.exists() and journal.stat().st_size:
            raise LMError(
                f"{path}: cannot be read without writing beside it, because a run was cut off in it;"
                " copy it and its -wal file to a folder that can be written"
            ) from error
        return sqlite3.connect(f"{uri}&immutable=1", uri=True, **options)
    except BaseException:
        db.close()
        raise
    return db


class Cache:
    """Answers by request key. Thread-safe; several processes may share the file.

    Args:
        path: The SQLite file, made when missing; `None` keeps everything in memory.
        readonly: Open an existing file and never write.

    Raises:
        LMError: The file cannot be opened or written, is damaged, or is not a cache.
    """

    def __init__(self, path: Path | None, *, readonly: bool = False):
        self.path = path
        self._lock = threading.RLock()
        with self._errors():
            self._db = self._open(path, readonly)

    def _open(self, path: Path | None, readonly: bool) -> sqlite3.Connection:
        options: dict[str, Any] = {
            "timeout": 60.0,
            "isolation_level": None,
            "check_same_thread": False,
        }
        if path is None:
            db = sqlite3.connect(":memory:", **options)
        elif readonly:
            db = _connect_readonly(path, options)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, **options)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in ({SCHEMA_VERSION} if readonly else {0, SCHEMA_VERSION}):
                raise LMError(f"{self.where}: not a recording of this version of understudy")
            if not readonly:
                db.execute("PRAGMA journal_mode = WAL")
                # FULL: an intent must be on the disk before money is spent on it
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(_TABLES)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    @property
    def where(self) -> str:
        """The file's name for messages."""
        return str(self.path) if self.path else "the cache in memory"

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Turns what SQLite and the file system say into one line that names the file."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LMError(f"{self.where}: {error}") from error

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one transaction that is on the disk when this returns.

        Called within `work`, it joins that transaction.
        """
        with self._lock, self._errors():
            if self._db.in_transaction:
                return work(self._db)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return result

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of a reading query."""
        with self._lock, self._errors():
            return self._db.execute(query, values).fetchall()

    def get(self, key: str) -> Reply | None:
        """The recorded answer, at no cost; `None` if there is none.

        Raises:
            LMError: The recorded answer is damaged.
        """
        found = self.rows("SELECT request, reply, checksum FROM answers WHERE key = ?", (key,))
        if not found:
            return None
        document, text, checksum = found[0]
        if key_of(f"{key}{document}{text}") != checksum:
            raise LMError(
                f"{self.where}: the answer {key[:12]} is damaged; restore or delete the file"
            )
        reply = json.loads(text)
        return Reply(
            reply["text"],
            finish_reason=reply["finish_reason"],
            usage=Usage(cached_calls=1),
            first=Usage(**reply["usage"]),
            steered=tuple(
                tuple((piece, p) for piece, p in seen) for seen in reply.get("steered", ())
            ),
        )

    def put(self, key: str, document: str, reply: Reply) -> None:
        """Records an answer durably; the first answer to a request stays."""
        self.transact(lambda db: insert_answer(db, key, document, reply))

    def models(self) -> list[str]:
        """Names of the models whose answers are here."""
        return [row[0] for row in self.rows("SELECT DISTINCT model FROM answers ORDER BY model")]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()
