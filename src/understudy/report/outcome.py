"""What came out of a run: its estimates with intervals, what failed and how often, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.data.jsonl import DataError, read_rows
from understudy.report.html import Element, Node, el
from understudy.report.numbers import is_number, number
from understudy.report.read import Row, RunRecord
from understudy.report.table import Cell, estimate, share, table

SHARES = ("accuracy", "success", "correct", "unreadable", "truncated")
SETS = {"test": "held out", "hard": "harder", "sampled": "sampled", "": "training"}
WORDS = {"best": "best return so far", "generation_mean": "mean return of a generation"}
SPENT = ("calls", "tokens", "USD", "seconds")
REMEDIES = {
    "lm-near": "proposals moved away from duplicates",
    "lm-clipped": "proposals cut to their bounds",
    "lm-fallback": "proposals sampled for want of a usable answer",
}


def is_share(name: str) -> bool:
    """Whether a metric is a proportion, drawn from 0 to 100 %."""
    last = name.rsplit("/", 1)[-1]
    return last in SHARES or last.startswith(("share_", "pass_at_"))


def estimated(rows: Sequence[Row]) -> list[str]:
    """The metrics that have an interval."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if f"{name}_low" in names and f"{name}_high" in names]


def titled(name: str) -> str:
    """`test/accuracy` as `accuracy, held out`."""
    first, _, last = name.rpartition("/")
    words = WORDS.get(last, last.replace("_", " "))
    return f"{words}, {SETS.get(first, first)}" if first else words


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float
    n: float | None
    """Episodes or answers it rests on."""


def estimates(run: RunRecord) -> dict[str, list[Estimate]]:
    """Metric → its evaluations in order; a search's winner on episodes no search saw."""
    found: dict[str, list[Estimate]] = {}
    for name in estimated(run.metrics):
        first = name.rpartition("/")[0]
        for row in run.metrics:
            if name in row and f"{name}_low" in row and f"{name}_high" in row:
                n = row.get(f"{first}/answers", row.get(f"{first}/episodes"))
                known = Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"], n)
                found.setdefault(name, []).append(known)
    held = run.documents.get("result.json", {}).get("held_out")
    if held is not None:
        kept = Estimate(held["mean"], held["low"], held["high"], held["episodes"])
        found["test/return of the winner"] = [kept]
    return found


def results(run: RunRecord) -> Element | None:
    """First and last evaluation, with intervals; other shares without."""
    rows: list[list[Cell | str | float | None]] = []
    for name, known in estimates(run).items():
        first, last, as_share = known[0], known[-1], is_share(name)
        before = None
        if len(known) > 1:
            before = estimate(first.value, first.low, first.high, as_share)
        after = estimate(last.value, last.low, last.high, as_share)
        rows.append([titled(name), before, after, last.n])
    if not rows:
        return None
    return table(
        "Evaluations: the first and the last, with 95 % intervals",
        ["what", "first", "last", "answers or episodes"],
        rows,
    )


# ---- failures -----------------------------------------------------------------------------------


def failures(run: RunRecord, problems: list[str]) -> Element | None:
    """What went wrong and how often; None where nothing is counted."""
    rows: list[list[Cell | str | float | None]] = []
    rows += _by_cause(run)
    rows += _counted(run)
    try:
        rows += _proposals(run)
    except DataError as error:
        problems.append(f"failures: {error}")
    if not rows:
        return None
    headers = ["what", "times", "of", "share", "at first"]
    return table("What failed, and how often", headers, rows)


def _by_cause(run: RunRecord) -> list[list[Cell | str | float | None]]:
    """Wrong answers by what is wrong with them, in the last evaluation and the first."""
    rows: list[list[Cell | str | float | None]] = []
    names = dict.fromkeys(name for row in run.metrics for name in row if "/share_" in name)
    for name in names:
        first = name.partition("/")[0]
        having = [row for row in run.metrics if name in row and f"{first}/answers" in row]
        if having:
            last, n = having[-1], having[-1][f"{first}/answers"]
            what = name.partition("/share_")[2]
            rows.append(
                [f"{what}, {SETS.get(first, first)}", round(last[name] * n), n, share(last[name]),
                 share(having[0][name])]
            )  # fmt: skip
    for name in ("unreadable", "truncated", "skipped_groups"):
        having = [row for row in run.metrics if name in row]
        if having:
            mean = sum(row[name] for row in having[-10:]) / len(having[-10:])
            what = f"{name.replace('_', ' ')}, training (last {len(having[-10:])} iterations)"
            rows.append([what, None, None, share(mean), share(having[0][name])])
    return rows


def _counted(run: RunRecord) -> list[list[Cell | str | float | None]]:
    """What a role's files count."""
    found: list[tuple[str, float, float]] = []
    card = run.documents.get("teacher.json")
    if card:
        found.append(("advice without a usable answer", card["fallbacks"], card["asked"]))
        trial = card.get("trial")
        if trial:
            found.append(("teacher failed its trial", int(not trial["passed"]), 1))
    cohort = run.documents.get("generate.json")
    if cohort:
        found.append(("answers that fit no form", cohort["unusable"], cohort["asked"]))
    ledger = run.documents.get("lm/ledger.json")
    if ledger:
        calls = ledger["done"] + ledger["refused"] + ledger["unknown"]
        found.append(("calls refused by the model's server", ledger["refused"], calls))
        found.append(("calls whose answer was lost", ledger["unknown"], calls))
    return [[what, n, of, share(n / of if of else None), None] for what, n, of in found]


def _proposals(run: RunRecord) -> list[list[Cell | str | float | None]]:
    file = run.path / "trials.jsonl"
    if not file.is_file():
        return []
    made = Counter(str(row.get("proposer")) for _, row in read_rows(file))
    asked = sum(made[name] for name in ("lm", *REMEDIES))
    return [
        [what, made[name], asked, share(made[name] / asked), None]
        for name, what in REMEDIES.items()
        if asked
    ]


# ---- cost ---------------------------------------------------------------------------------------


def spent(run: RunRecord) -> list[Cell | str | float | None]:
    """Calls, tokens, USD and seconds of a run, for a row of a table; `SPENT` heads them."""
    books = run.documents.get("lm/ledger.json", {})

    def amount(*keys: str) -> float:
        return sum(books[key] for key in keys if is_number(books.get(key)))

    seconds = sum(row.get("seconds", 0.0) for row in run.timing) or sum(_times(run).values())
    return [
        amount("done", "unknown"),
        amount("prompt_tokens", "completion_tokens"),
        amount("usd"),
        Cell(number(round(seconds, 1)), seconds) if run.timing else None,
    ]


def cost(run: RunRecord) -> Node:
    """Calls, tokens and money by model; time by what it was spent on; sizes."""
    rows: list[list[Cell | str | float | None]] = [
        [name, Cell(f"{number(round(total, 2))} s", total)] for name, total in _times(run).items()
    ]
    for name, n in run.documents.get("parameters.json", {}).items():
        rows.append([f"parameters, {name}", n])
    for name, n in run.documents.get("result.json", {}).get("spent", {}).items():
        rows.append([f"search: {name}", n])
    return [
        _ledger(run.documents.get("lm/ledger.json"), run),
        table("Time and size", ["what", "amount"], rows) if rows else None,
    ]


def _times(run: RunRecord) -> dict[str, float]:
    """Seconds by name, added up over the run; rates are left out."""
    total: dict[str, float] = {}
    for row in run.timing:
        for name, value in row.items():
            if name != "step" and "per_" not in name:
                total[name] = total.get(name, 0.0) + value
    return {f"time, {name}": value for name, value in total.items()}


def _ledger(books: Any, run: RunRecord) -> Node:
    if not books:
        text = "No call to a language model was counted: it was trained or sampled in this process"
        return el("p", f"{text}, or there was none. Money: 0 USD.") if run.metrics else None
    headers = ["model", "calls", "from the cache", "refused", "lost", "tokens in", "tokens out",
               "seconds", "USD"]  # fmt: skip
    rows = [_books(name, found) for name, found in books["models"].items()]
    if len(rows) != 1:
        rows.append(_books("all", books))
    unpriced = [name for name, found in books["models"].items() if not found.get("priced", True)]
    note = f"No price is known of {', '.join(unpriced)}: counted as 0." if unpriced else None
    return [
        table("Language models: calls, tokens and money", headers, rows),
        el("p", el("small", note)) if note else None,
    ]


def _books(name: str, found: dict[str, Any]) -> list[Cell | str | float | None]:
    keys = ("done", "cached", "refused", "unknown", "prompt_tokens", "completion_tokens", "seconds", "usd")  # fmt: skip
    return [name, *(found[key] for key in keys)]
