"""`understudy view`: the runs below a directory as pages, on this machine alone.

The server listens on the loopback address, answers GET and HEAD, and serves nothing but the pages it makes: no
address is ever turned into a path, it is looked up among the runs that were found. A page in another
window cannot read them under a name of its own (DNS rebinding), as the Host header must be this server's.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from understudy.report.html import Node, document, el
from understudy.report.page import asset, render_page
from understudy.report.read import read_record
from understudy.report.table import Cell, table
from understudy.run.errors import RunError
from understudy.run.files import on_disk
from understudy.run.info import Listed, find_runs

ADDRESS = "127.0.0.1"
log = logging.getLogger("understudy")


class Viewer(ThreadingHTTPServer):
    """Serves pages of the runs and comparisons below `root`."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0) -> None:
        """Listens.

        Args:
            root: where the runs are.
            port: which; 0 takes one that is free.

        Raises:
            RunError: there is no such directory, or the port is taken.
        """
        if not root.is_dir():
            raise RunError(f"{root}: no such directory")
        self.root = root
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise RunError(f"port {port}: {error.strerror}; --port 0 takes a free one") from None

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def places(self) -> dict[str, Path]:
        """Address → the run or the comparison it shows."""
        with on_disk(self.root):
            found = sorted(self.root.rglob("compare.json"))
            found += sorted(path.parent for path in self.root.rglob("run.json"))
        inside = self.root.resolve()
        return {
            f"/run/{quote(path.relative_to(self.root).as_posix())}": path
            for path in found
            if path.resolve().is_relative_to(inside)
        }


class _Handler(BaseHTTPRequestHandler):
    server: Viewer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "understudy", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.headers.get("Host") not in self._names():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "not the name of this server")
            return
        path = urlsplit(self.path).path
        try:
            status, kind, text = self._page(path)
        except RunError as error:
            status, kind, text = HTTPStatus.NOT_FOUND, "text/plain", str(error)
        self._send(status, kind, text)

    def _names(self) -> tuple[str, ...]:
        port = self.server.server_port
        return f"{ADDRESS}:{port}", f"localhost:{port}"

    def _page(self, path: str) -> tuple[HTTPStatus, str, str]:
        stamp = path.startswith("/stamp/")
        wanted = "/" + path.removeprefix("/stamp/") if stamp else path
        # However an address was written, it is compared with those of the runs that there are.
        wanted = quote(unquote(wanted))
        if wanted == "/":
            if stamp:
                return HTTPStatus.OK, "text/plain", _stamp(self.server.root, "**/metrics.jsonl")
            return HTTPStatus.OK, "text/html", index(self.server)
        place = self.server.places().get(wanted)
        if place is None:
            return HTTPStatus.NOT_FOUND, "text/plain", "no such run; / lists them"
        if stamp:
            return HTTPStatus.OK, "text/plain", _stamp(place)
        text = render_page([read_record(place)], live=f"/stamp{wanted}")
        return HTTPStatus.OK, "text/html", text

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode(errors="replace")
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        log.debug(format, *args)


def index(viewer: Viewer) -> str:
    """The page that lists the runs, newest first, and the comparisons."""
    places = {path: address for address, path in viewer.places().items()}
    runs = [run for run in find_runs(viewer.root)[::-1] if run.path in places]
    compared = [(path, places[path]) for path in places if path.name == "compare.json"]
    headers = ["run", "role", "environment", "seed", "started", "last step", "checkpoint"]
    body: list[Node] = [
        el("header", el("h1", "Runs"), el("p", str(viewer.root), class_="quiet")),
        el(
            "main",
            el("section", el("h2", "Comparisons"),
               el("ul", [el("li", el("a", str(path.parent.relative_to(viewer.root)), href=address))
                         for path, address in compared])) if compared else None,
            el("section", el("h2", "Runs, newest first") if compared else None,
               table("Runs", headers, [list(_listed(run, places[run.path])) for run in runs]))
            if runs else el("p", "No run here yet."),
        ),
    ]  # fmt: skip
    data = {"charts": {}, "live": "/stamp/"}
    return document(
        "Runs", body, style=asset("page.css"), script=asset("page.js"), data=data, connect=True
    )


def _listed(run: Listed, address: str) -> Iterator[Cell | str | float | None]:
    yield Cell(el("a", run.path.name, href=address))
    if run.info is None:
        yield from (run.problem, None, None, None, None, None)
        return
    yield from (f"{run.info.role} {run.info.verb}", run.info.env, run.info.seed)
    yield from (run.info.created.replace("T", " ")[:19], run.step, run.checkpoint)


def _stamp(place: Path, pattern: str = "*") -> str:
    """A text that changes with the files below a place."""
    with on_disk(place):
        files = sorted(place.glob(pattern)) if place.is_dir() else [place]
        states = [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()
