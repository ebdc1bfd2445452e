"""A page of finished runs."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

from understudy.run.files import on_disk, replace_file


def write_report(runs: Sequence[Path], out: Path, title: str = "") -> Path:
    """Writes an HTML page that lists some runs; returns its path.

    Raises:
        RunError: it cannot be written.
    """
    lines = [
        f'<li><a href="{html.escape(os.path.relpath(run, out.parent))}">{html.escape(run.name)}</a></li>'
        for run in runs
    ]
    head = f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
    page = f"{head}<h1>{html.escape(title)}</h1><ul>{''.join(lines)}</ul>\n"
    with on_disk(out):
        replace_file(out, page.encode())
    return out
