"""A report: one page that holds all it shows, opens from a disk and loads nothing.

`write_report` makes a file of it, `render_page` the text. What is in a run directory is hostile until
shown: see `html`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.report.chart import Charts
from understudy.report.html import Element, Node, cut, document, el
from understudy.report.learning import beside, compared, curves, everything, last_values
from understudy.report.media import dream, media
from understudy.report.numbers import number
from understudy.report.outcome import SPENT, cost, failures, results, spent
from understudy.report.read import ComparisonRecord, Record, RunRecord, read_record
from understudy.report.samples import samples
from understudy.report.study import fidelity, verdict
from understudy.report.table import Cell, table
from understudy.run.errors import RunError
from understudy.run.files import on_disk, replace_file

MOST_RUNS = 12
"""Runs that are shown whole; further ones have their line in the table and the charts."""
MOST_DETAILED = 8
"""Large headings, up to which the contents name the small ones too."""
ODD = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What reading a file of another shape than expected raises."""


@dataclass(slots=True)
class _Page:
    """What is gathered while a page is written."""

    charts: Charts = field(default_factory=Charts)
    contents: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    """(level, id, title)."""

    def heading(self, level: int, title: str) -> Element:
        """A heading that the contents lead to."""
        name = f"s{len(self.contents)}"
        self.contents.append((level, name, cut(title, 120)))
        return el(f"h{level}", cut(title), id=name)


def write_report(runs: Sequence[Path], out: Path, title: str = "", lead: Node = None) -> Path:
    """Writes one page about run directories and comparisons.

    Args:
        runs: run directories, directories with a compare.json, or the compare.json itself.
        out: the file.
        title: above the page; by default what it is about.
        lead: what came out, shown first.

    Returns:
        `out`.

    Raises:
        RunError: there is nothing to report, one of `runs` is neither, or `out` cannot be written.
    """
    text = render_page([read_record(path) for path in runs], title, lead)
    with on_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, text.encode())
    return out


def default_out(runs: Sequence[Path]) -> Path:
    """Where a report goes if nothing else is said: into the first of its directories."""
    return (runs[0] if runs[0].is_dir() else runs[0].parent) / "report.html"


def render_page(
    records: Sequence[Record], title: str = "", lead: Node = None, *, live: str | None = None
) -> str:
    """The page's text.

    Args:
        records: what it is about.
        title: above it.
        lead: what came out, shown first.
        live: an address on the same server whose answer changes when the page should be loaded anew.

    Raises:
        RunError: there are no records.
    """
    if not records:
        raise RunError("a report needs at least one run directory")
    page = _Page()
    title = title or (records[0].label if len(records) == 1 else _count(records))
    runs = [record for record in records if isinstance(record, RunRecord)]
    parts: list[Node] = []
    if lead is not None:
        parts.append(el("section", page.heading(2, "What came out"), lead))
    if len(runs) > 1:
        parts.append(_together(runs, page))
    alone = len(records) == 1
    parts += [_comparison(r, page, alone) for r in records if isinstance(r, ComparisonRecord)]
    parts += [_run(run, page, alone) for run in runs[:MOST_RUNS]]
    left = len(runs) - MOST_RUNS
    if left > 0:
        parts.append(el("p", f"{left} more runs are in the table above only."))
    body = [
        el("header", _back() if live else None, el("h1", title), _subtitle(live)),
        el("div", _contents(page), el("main", parts), class_="columns"),
        _footer(),
    ]
    data = {"charts": page.charts.data, "live": live}
    return document(
        title, body, style=asset("page.css"), script=asset("page.js"), data=data,
        connect=live is not None,
    )  # fmt: skip


def _count(records: Sequence[Record]) -> str:
    compared = sum(isinstance(record, ComparisonRecord) for record in records)
    told = {"run": len(records) - compared, "comparison": compared}
    return " and ".join(f"{n} {what}{'s' * (n > 1)}" for what, n in told.items() if n)


@cache
def asset(name: str) -> str:
    """A file of this package."""
    return (resources.files("understudy.report") / name).read_text(encoding="utf-8")


def _back() -> Element:
    return el("p", el("a", "← all runs", href="/"))


def _subtitle(live: str | None) -> Element:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    what = "Follows the run; read" if live else "Written"
    return el("p", f"{what} {now} by understudy {__version__}", class_="quiet")


def _contents(page: _Page) -> Element:
    # Of many runs, the runs alone.
    deepest = 2 if sum(level == 2 for level, _, _ in page.contents) > MOST_DETAILED else 3
    entries = [
        el("li", el("a", title, href=f"#{name}"), class_=f"l{level}")
        for level, name, title in page.contents
        if level <= deepest
    ]
    return el(
        "nav",
        el("details", el("summary", "Contents"), el("ol", entries), open=True),
        aria_label="contents",
    )


def _footer() -> Element:
    return el(
        "footer",
        el("p", "Intervals are of 95 %: Wilson's for shares, the bootstrap for means. Charts show the numbers under "
           "the pointer, or by the arrow keys; tables sort by a click on a header. metrics.jsonl in the run "
           "directory has every number, and TensorBoard reads the same directory."),
    )  # fmt: skip


def _attempt(title: str, make: Callable[[], Any], problems: list[str]) -> Any:
    """What `make` makes; a run's file of an odd shape costs that part alone, and is told."""
    try:
        return make()
    except ODD as error:
        problems.append(f"{title}: a file of the run has another shape than expected ({error!r})")
        return None


# ---- several ------------------------------------------------------------------------------------


def _together(runs: Sequence[RunRecord], page: _Page) -> Element:
    heading = page.heading(2, "Runs")
    rows: list[list[Cell | str | float | None]] = [
        [
            run.info.name,
            run.info.role,
            run.info.env,
            run.info.seed,
            run.step,
            _time(run.info.created),
            *spent(run),
        ]
        for run in runs
    ]
    headers = ["run", "role", "environment", "seed", "last step", "started", *SPENT]
    problems: list[str] = []
    charts = _attempt("Curves", lambda: beside(runs, page.charts), problems)
    return el(
        "section",
        heading,
        _problems(problems),
        table("The runs of this page", headers, rows),
        charts,
    )


def _comparison(found: ComparisonRecord, page: _Page, alone: bool) -> Element:
    """A comparison's sections, and how its runs were set up."""
    level, members = (2 if alone else 3), found.members
    head = None if alone else page.heading(2, found.label)
    rows: list[list[Cell | str | float | None]] = [
        [label, seed, run.info.name, run.step, _time(run.info.created), *spent(run)]
        for label, seed, run in members
    ]
    headers = ["what", "seed", "run", "last step", "started", *SPENT]
    problems = list(found.problems)
    sections: dict[str, Callable[[], Node]] = {
        "Results": lambda: last_values(found),
        "Learning curves": lambda: compared(found, page.charts),
        "Runs": lambda: table("Runs of the comparison", headers, rows),
    }
    parts: list[Node] = []
    for title, make in sections.items():
        made = _attempt(title, make, problems)
        if made is not None:
            parts.append(el("section", page.heading(level, title), made))
    parts += [_setup(run, page, "Configuration of the first run", level) for *_, run in members[:1]]
    where = el("p", str(found.path), class_="quiet")
    return el("article", head, where, _problems(problems), parts, class_="run")


def _time(created: str) -> str:
    """ISO 8601 as people write it."""
    return created.replace("T", " ").replace("+00:00", " UTC")


# ---- one ----------------------------------------------------------------------------------------


def _run(run: RunRecord, page: _Page, alone: bool) -> Element:
    """A run's sections; one that cannot be made is told with the run's problems."""
    level = 2 if alone else 3
    problems = list(run.problems)
    sections: dict[str, Callable[[], Node]] = {
        "Results": lambda: results(run),
        "Learning curves": lambda: curves(run, page.charts),
        "Verdict": lambda: verdict(run),
        "Fidelity": lambda: fidelity(run, page.charts),
        "Dream and reality": lambda: dream(run, page.charts, problems),
        "Pictures and videos": lambda: media(run, problems),
        "What failed": lambda: failures(run, problems),
        "Prompts and answers": lambda: samples(run, problems),
        "Cost": lambda: cost(run),
        "All metrics": lambda: everything(run, page.charts),
    }
    head = None if alone else page.heading(2, run.label)
    parts: list[Node] = []
    for title, make in sections.items():
        made = _attempt(title, make, problems)
        if made is not None and made != [None, None]:
            parts.append(el("section", page.heading(level, title), made))
    return el(
        "article",
        head,
        _facts(run),
        _problems(problems),
        parts,
        _setup(run, page, "Configuration and environment", level),
        class_="run",
    )


def _facts(run: RunRecord) -> Element:
    info = run.info
    facts = {
        "started with": f"{info.role} {info.verb}",
        "environment": info.env,
        "seed": str(info.seed),
        "last step": "nothing logged" if run.step is None else number(run.step),
        "started": _time(info.created),
        "directory": str(run.path),
    }
    return el(
        "dl", [el("div", el("dt", k), el("dd", cut(v))) for k, v in facts.items()], class_="facts"
    )


def _problems(problems: Sequence[str]) -> Element | None:
    if not problems:
        return None
    return el(
        "aside",
        el("strong", "Not all could be shown"),
        el("ul", [el("li", cut(p)) for p in problems]),
    )


def _setup(run: RunRecord, page: _Page, title: str, level: int = 3) -> Element:
    """All that is needed to repeat a run."""
    info = run.info
    known = {
        "git": info.git or "not a repository",
        "threads": str(info.threads),
        **{str(name): str(version) for name, version in info.versions.items()},
    }
    command = shlex.join(str(word) for word in info.command)
    again = (
        f"understudy {info.role} {info.verb} --config {shlex.quote(str(run.path / 'config.toml'))}"
    )
    return el(
        "section",
        page.heading(level, title),
        el("p", "Started by"),
        el("pre", el("code", command)),
        el("p", "The same again, with every setting as it was"),
        el("pre", el("code", again)),
        el("details", el("summary", "config.toml"), el("pre", el("code", run.config or "(empty)"))),
        el("details", el("summary", "Environment"),
           table("Versions and threads", ["what", "version"], [[k, v] for k, v in known.items()])),
    )  # fmt: skip
