"""What the language model cost, and the caps that are never passed.

The journal lives in the cache's file. An attempt is written as `sent` at the highest price it can
have before it goes out, and ends as `done` (answered), `refused` (not billed) or `unknown` (perhaps
billed). One that was `sent` when the process died stays so and counts as unknown.

Money is counted in integers, picodollars: $1 per million tokens is 1,000,000 picodollars a token.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from understudy.lm.base import BudgetExceeded, LMError, Reply
from understudy.lm.cache import Cache, insert_answer
from understudy.types import Usage

State = Literal["done", "refused", "unknown"]

PICO = 10**12
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4}|latest)$")
_EXPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def picousd(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The price of some tokens in picodollars, rounded up."""
        million = 10**6
        return math.ceil(self.prompt * million) * prompt_tokens + (
            math.ceil(self.completion * million) * completion_tokens
        )


FREE = Price(0.0, 0.0)


def read_prices(path: Path | None = None) -> dict[str, Price]:
    """The price table of the package, and over it that of a TOML or JSON file.

    Raises:
        LMError: The file cannot be read or has an entry that is not a price.
    """
    bundled = resources.files("understudy.lm").joinpath("prices.toml").read_text(encoding="utf-8")
    tables = [("prices.toml", tomllib.loads(bundled))]
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            tables.append(
                (str(path), json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
            )
        except (OSError, ValueError) as error:
            raise LMError(f"{path}: cannot read the price table: {error}") from error
    return {
        model: _price(where, model, entry)
        for where, table in tables
        for model, entry in table.items()
    }


def _price(where: str, model: str, entry: Any) -> Price:
    if isinstance(entry, dict) and set(entry) == {"prompt", "completion"}:
        values = [entry["prompt"], entry["completion"]]
        if all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v < 1e6 for v in values
        ):
            return Price(*map(float, values))
    raise LMError(
        f"{where}: {model}: a price is {{prompt = …, completion = …}} in dollars per million tokens"
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """An attempt that is about to be made, at its largest."""

    key: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    free: bool = False
    """A model of one's own: tokens count, money does not."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to make one attempt."""

    id: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to record together with its price."""

    document: str
    reply: Reply


class Ledger:
    """Calls, tokens, seconds and money of one cache file. Thread-safe.

    Args:
        cache: Holds the journal.
        prices: Dollars by model name; the package's table by default.
        max_usd: No call is made that could bring the money spent above this.
        max_tokens: The same for prompt and answer tokens together.
        export: Where to write `ledger.json` after calls.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        prices: Mapping[str, Price] | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        export: Path | None = None,
    ):
        for name, cap in (("max-usd", max_usd), ("max-tokens", max_tokens)):
            if cap is not None and not (cap >= 0 and math.isfinite(cap)):
                raise LMError(f"--{name} must be a number of at least 0, not {cap}")
        self.cache = cache
        self.max_usd = max_usd
        self.max_tokens = max_tokens
        self._prices = dict(read_prices() if prices is None else prices)
        self._export = export
        self._exported_at = -math.inf
        self._export_lock = threading.Lock()

    def price(self, model: str) -> Price | None:
        """The price of a model, `None` if the table has none."""
        return self._prices.get(model) or self._prices.get(_DATED.sub("", model))

    def reserve(self, asks: Sequence[Ask]) -> list[Ticket]:
        """Writes down attempts, at their highest price, before they are made.

        Raises:
            BudgetExceeded: They could pass a cap; nothing was written.
        """

        def work(db: sqlite3.Connection) -> list[Ticket]:
            self._check_caps(db, asks)
            return [self._insert(db, ask) for ask in asks]

        return self.cache.transact(work)

    def _check_caps(self, db: sqlite3.Connection, asks: Sequence[Ask]) -> None:
        tokens, money = db.execute(
            "SELECT COALESCE(SUM(prompt_tokens + completion_tokens), 0),"
            " COALESCE(SUM(picousd), 0) FROM totals"
        ).fetchone()
        more = sum(ask.prompt_tokens + ask.completion_tokens for ask in asks)
        if self.max_tokens is not None and tokens + more > self.max_tokens:
            raise BudgetExceeded(
                f"the next call could take {more} tokens and pass --max-tokens {self.max_tokens}"
                f" ({tokens} used or reserved); it was not made"
            )
        cost = sum(self._picousd(a, a.prompt_tokens, a.completion_tokens) for a in asks)
        if self.max_usd is not None and money + cost > math.floor(self.max_usd * PICO):
            raise BudgetExceeded(
                f"the next call could cost ${cost / PICO:.6f} and pass --max-usd {self.max_usd}"
                f" (${money / PICO:.6f} spent or reserved); it was not made"
            )

    def _picousd(self, ask: Ask, prompt_tokens: int, completion_tokens: int) -> int:
        price = FREE if ask.free else self.price(ask.model) or FREE
        return price.picousd(prompt_tokens, completion_tokens)

    def _insert(self, db: sqlite3.Connection, ask: Ask) -> Ticket:
        money = self._picousd(ask, ask.prompt_tokens, ask.completion_tokens)
        amounts = (ask.prompt_tokens, ask.completion_tokens, 0.0, money, 0)
        cursor = db.execute(
            "INSERT INTO attempts VALUES (NULL, ?, ?, 'sent', ?, ?, ?, ?, ?)",
            (ask.key, ask.model, *amounts),
        )
        _add(db, ask.model, "sent", 1, *amounts)
        assert cursor.lastrowid is not None
        return Ticket(cursor.lastrowid, ask)

    def settle(
        self,
        ticket: Ticket,
        state: State,
        *,
        tokens: tuple[int, int] | None = None,
        seconds: float = 0.0,
        estimated: bool = False,
        answer: Answer | None = None,
    ) -> float:
        """Writes how an attempt ended, and its answer, in one transaction.

        Args:
            ticket: What `reserve` gave.
            state: How it ended.
            tokens: Prompt and answer tokens. By default none if refused, else the most there can
                have been.
            seconds: How long it took.
            estimated: The server did not say what it billed.
            answer: Recorded in the cache.

        Returns:
            The price in US dollars.
        """
        ask = ticket.ask
        if state == "refused":
            tokens = (0, 0)
        elif tokens is None:
            tokens = (ask.prompt_tokens, ask.completion_tokens)
        money = self._picousd(ask, *tokens)
        amounts = (*tokens, seconds, money, int(estimated))

        def work(db: sqlite3.Connection) -> None:
            before = db.execute(
                "SELECT prompt_tokens, completion_tokens, seconds, picousd, estimated"
                " FROM attempts WHERE id = ? AND state = 'sent'",
                (ticket.id,),
            ).fetchone()
            if before is None:
                raise LMError(f"{self.cache.where}: attempt {ticket.id} was settled before")
            _add(db, ask.model, "sent", -1, *(-value for value in before))
            _add(db, ask.model, state, 1, *amounts)
            db.execute(
                "UPDATE attempts SET state = ?, prompt_tokens = ?, completion_tokens = ?,"
                " seconds = ?, picousd = ?, estimated = ? WHERE id = ?",
                (state, *amounts, ticket.id),
            )
            if answer is not None:
                usage = replace(answer.reply.usage, usd=money / PICO)
                insert_answer(db, ask.key, answer.document, replace(answer.reply, usage=usage))

        self.cache.transact(work)
        return money / PICO

    def hits(self, model: str, count: int) -> None:
        """Counts calls that the cache answered."""
        if count:
            self.cache.transact(lambda db: _add(db, model, "cached", count, 0, 0, 0.0, 0, 0))

    def usage(self) -> Usage:
        """Everything up to now; what is unknown counts at its highest price."""
        return _usage(self.summary())

    def summary(self) -> dict[str, Any]:
        """The ledger as JSON: totals, and the same by model."""
        rows = self.cache.rows("SELECT * FROM totals ORDER BY model, state")
        total, models = _blank(), dict[str, dict[str, Any]]()
        for model, state, *amounts in rows:
            for part in (total, models.setdefault(model, _blank())):
                _count(part, "unknown" if state == "sent" else state, amounts)
        for model, part in models.items():
            part["priced"] = self.price(model) is not None
        return {
            "schema_version": 1,
            **total,
            "max_usd": self.max_usd,
            "max_tokens": self.max_tokens,
            "models": models,
        }

    def export(self) -> None:
        """Writes `ledger.json`, whole or not at all."""
        if self._export is None:
            return
        with self._export_lock:
            self._exported_at = time.monotonic()
            text = json.dumps(self.summary(), indent=2) + "\n"
            temporary = self._export.with_name(f".{self._export.name}.tmp")
            try:
                with temporary.open("w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._export)
            except OSError as error:
                raise LMError(f"{self._export}: cannot write the ledger: {error}") from error

    def export_soon(self) -> None:
        """Writes `ledger.json` unless that was done a moment ago."""
        if time.monotonic() - self._exported_at >= _EXPORT_EVERY_S:
            self.export()


def read_usage(path: Path) -> Usage:
    """What a `ledger.json` says was spent; nothing where there is none.

    Raises:
        LMError: it is no ledger.
    """
    if not path.is_file():
        return Usage()
    try:
        return _usage(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LMError(f"{path}: not a ledger: {error}") from error


def _usage(books: dict[str, Any]) -> Usage:
    """What a summary of the books comes to."""
    return Usage(
        calls=books["done"] + books["unknown"],
        cached_calls=books["cached"],
        prompt_tokens=books["prompt_tokens"],
        completion_tokens=books["completion_tokens"],
        seconds=books["seconds"],
        usd=books["usd"],
    )


def _add(db: sqlite3.Connection, model: str, state: str, *amounts: float) -> None:
    db.execute("INSERT OR IGNORE INTO totals VALUES (?, ?, 0, 0, 0, 0.0, 0, 0)", (model, state))
    db.execute(
        "UPDATE totals SET calls = calls + ?, prompt_tokens = prompt_tokens + ?,"
        " completion_tokens = completion_tokens + ?, seconds = seconds + ?,"
        " picousd = picousd + ?, estimated = estimated + ? WHERE model = ? AND state = ?",
        (*amounts, model, state),
    )


def _blank() -> dict[str, Any]:
    return {
        "done": 0,
        "refused": 0,
        "unknown": 0,
        "cached": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "seconds": 0.0,
        "usd": 0.0,
        "usd_unknown": 0.0,
        "estimated": 0,
    }


def _count(part: dict[str, Any], state: str, amounts: Sequence[Any]) -> None:
    calls, prompt, completion, seconds, money, estimated = amounts
    part[state] += calls
    part["prompt_tokens"] += prompt
    part["completion_tokens"] += completion
    part["seconds"] += seconds
    part["usd"] += money / PICO
    part["usd_unknown"] += money / PICO if state == "unknown" else 0.0
    part["estimated"] += estimated
