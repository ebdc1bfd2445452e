"""Optuna's studies: where trials of settings are kept, so that processes and machines can share them.

Optuna is an extra (`pip install understudy[optuna]`), and its databases have drivers of their own.
"""

from __future__ import annotations

import importlib
import re
import time
import warnings
from pathlib import Path
from typing import Any

from understudy.run.errors import RunError

HEARTBEAT_S = 15
"""Between signs of life of a trial in a database; after four without, it is given up."""
ATTEMPTS = 5
"""At opening a database, which several processes may be making at the same time."""


def optuna_or_error() -> Any:
    """The module.

    Raises:
        RunError: it is not installed.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError:
        raise RunError("tuning needs Optuna: pip install understudy[optuna]") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def without_password(storage: str) -> str:
    """A storage's name as it may be shown and written down."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", storage)


def opened_study(storage: str, name: str, *, heartbeat: bool = False) -> Any:
    """The study of that name, made if it is not there; its values are maximised.

    Args:
        storage: a database as SQLAlchemy names it (`sqlite:///FILE`, `postgresql://…`), or the path
            of a journal, a file that several machines may append to.
        name: of the study in it.
        heartbeat: let trials of `optimize` give signs of life, where it is a database.

    Raises:
        RunError: Optuna or a database's driver is not installed, or it cannot be opened.
    """
    optuna = optuna_or_error()
    for left in reversed(range(ATTEMPTS)):
        try:
            kept = _storage(optuna, storage, heartbeat)
            return optuna.create_study(
                study_name=name, storage=kept, direction="maximize", load_if_exists=True
            )
        except ImportError as error:
            what = f"the database's driver is not installed: {error}"
            raise RunError(f"{without_password(storage)}: {what}") from None
        except Exception as error:  # drivers have errors of their own, with no common kind
            if not left:
                line = without_password(" ".join(str(error).split()))[:200]
                raise RunError(
                    f"{without_password(storage)}: the storage cannot be opened: {line}"
                ) from error
            time.sleep(0.2)
    raise AssertionError("the last attempt returns or raises")


def _storage(optuna: Any, storage: str, heartbeat: bool) -> Any:
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(storage)
        return optuna.storages.JournalStorage(backend)
    options: dict[str, Any] = {}
    if storage.startswith("sqlite"):
        # Who writes the file makes others wait; five seconds, as by default, may be too short.
        # No connection is kept, so none is left open.
        pool: Any = importlib.import_module("sqlalchemy.pool")
        options = {"connect_args": {"timeout": 60}, "poolclass": pool.NullPool}
    if not heartbeat:
        return optuna.storages.RDBStorage(storage, engine_kwargs=options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat
        return optuna.storages.RDBStorage(
            storage,
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=4 * HEARTBEAT_S,
        )
