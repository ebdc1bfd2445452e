"""A real browser, where there is one: headless Chromium, and what a page did in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)  # fmt: skip

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"
)


@dataclass
class Seen:
    """What a page did."""

    console: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])
    dialogs: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])

    def nothing(self) -> bool:
        return not (self.console or self.errors or self.dialogs)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, address: str, *, width: int = 1280, **options: Any) -> Iterator[tuple[Any, Seen]]:  # fmt: skip
    """A page in a window of its own, and what it does while it is open."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page, seen = context.new_page(), Seen()

    def dismiss(dialog: Any) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("dialog", dismiss)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(address)
    yield page, seen
    context.close()
