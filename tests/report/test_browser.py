"""The page in a real browser: it works, it is accessible, and no text in a run does anything."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.report import runs
from tests.report.browser import chromium, needs_chromium, opened
from tests.report.hostile import TEXTS
from understudy.report.html import visible
from understudy.report.media import png
from understudy.report.page import write_report
from understudy.report.serve import Viewer

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def rich(root: Path) -> list[Path]:
    """Two runs with something in every section."""
    policy = runs.start(root / "policy-a")
    (policy / "episodes").mkdir()
    rows = [runs.episode(f"What is {n} + {n}?", f"#### {2 * n}", n % 2 == 0) for n in range(9)]
    runs.metrics(policy / "episodes" / "000001.jsonl", rows)
    runs.calls(policy / "lm" / "cache.sqlite", [("Is 3 odd?", "yes")])
    runs.ledger(policy / "lm" / "ledger.json")
    (policy / "media").mkdir()
    (policy / "media" / "frame.png").write_bytes(png(np.zeros((20, 30, 3), np.uint8)))
    frames, steps = np.random.default_rng(0).random((12, 8, 8, 3)), np.arange(12.0)
    dream = {"image": frames, "x": steps}
    arrays = {f"{kind}.{name}": value for kind in ("actual", "dreamt") for name, value in dream.items()}  # fmt: skip
    save_file({**arrays, "seen": np.array(4)}, policy / "media" / "dream.safetensors")
    return [policy, runs.start(root / "policy-b", seed=1)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rich")
    return write_report(rich(root), root / "report.html")


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")]
)
def test_it_loads_fits_and_is_accessible(browser: Any, report: Path, width: int, scheme: str):
    from axe_playwright_python.sync_playwright import Axe

    # axe is put into the page as a script, which the page's own policy forbids.
    with opened(browser, report.as_uri(), width=width, color_scheme=scheme, bypass_csp=True) as (page, seen):  # fmt: skip
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Of any weight, not the serious ones alone.
        found = Axe().run(page).response["violations"]
        assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == []
        assert seen.nothing(), seen
        assert {url.partition(":")[0] for url in seen.requests} <= {"file", "data"}
        assert sum(url.startswith("file:") for url in seen.requests) == 1


def test_axe_would_have_found_a_fault(browser: Any, report: Path):
    from axe_playwright_python.sync_playwright import Axe

    with opened(browser, report.as_uri(), bypass_csp=True) as (page, _):
        page.evaluate("document.querySelector('img').removeAttribute('alt')")
        assert "image-alt" in {v["id"] for v in Axe().run(page).response["violations"]}


def test_the_pointer_and_the_arrow_keys_show_the_numbers(browser: Any, report: Path):
    with opened(browser, report.as_uri()) as (page, seen):
        plot = page.locator("article .plot").first
        box = plot.bounding_box()
        plot.hover(position={"x": box["width"] * 0.98, "y": 60})
        assert "updates 20" in plot.locator(".tip").inner_text()
        assert "75.0 % [65.0 %, 85.0 %]" in plot.locator(".tip").inner_text()
        plot.hover(position={"x": box["width"] * 0.5, "y": 60})
        assert "updates 10" in plot.locator(".tip").inner_text()
        plot.hover(position={"x": box["width"] * 0.98, "y": 60})
        plot.focus()
        page.keyboard.press("ArrowLeft")
        assert "50.0 % [40.0 %, 60.0 %]" in plot.locator(".tip").inner_text()
        page.keyboard.press("Escape")
        assert plot.locator(".tip").count() == 0
        assert seen.nothing()


def test_a_table_sorts_by_number(browser: Any, report: Path):
    with opened(browser, report.as_uri()) as (page, _):
        table = page.locator("section", has=page.get_by_role("heading", name="What failed")).first.locator("table")  # fmt: skip

        def shown() -> list[float]:
            texts = table.locator("tbody td:nth-child(4)").all_inner_texts()
            return [float(text.removesuffix(" %")) for text in texts]

        table.get_by_role("button", name="share").click()
        assert shown() == sorted(shown())
        assert len(set(shown())) > 2
        table.get_by_role("button", name="share").click()
        assert shown() == sorted(shown(), reverse=True)
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_on_paper_everything_is_open_and_the_contents_are_gone(browser: Any, report: Path):
    with opened(browser, report.as_uri(), width=720, color_scheme="dark") as (page, _):
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= 720
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.locator("main details:not([open])").count() == 0
        assert not page.locator("nav").is_visible()
        assert page.pdf()[:5] == b"%PDF-"


# ---- hostile texts ------------------------------------------------------------------------------


def poke(page: Any) -> None:
    """Does all that a reader may do."""
    page.evaluate(
        """() => {
          document.querySelectorAll('details').forEach(part => part.open = true);
          for (const plot of document.querySelectorAll('.plot')) {
            plot.dispatchEvent(new PointerEvent('pointermove', {clientX: 300, bubbles: true}));
            plot.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}));
          }
          document.querySelectorAll('thead button').forEach(button => button.click());
          document.querySelectorAll('main a[href^="#"], nav a').forEach(link => link.click());
        }"""
    )
    page.wait_for_timeout(300)


def check_harmless(page: Any, seen: Any, address: str) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("({}).hacked") is None
    assert seen.nothing(), seen
    others = [url for url in seen.requests if not url.startswith(("data:", address))]
    assert others == []
    # No element and no attribute that a report does not make itself.
    assert page.locator("script").count() == 2
    assert page.locator("link").count() == 1
    foreign = "iframe, object, embed, form, input, link:not([rel=icon]), base, audio, math, style ~ style, textarea, animate"
    assert page.locator(foreign).count() == 0
    handlers = """() => [...document.querySelectorAll('*')].flatMap(e => [...e.attributes])
      .filter(a => a.name.startsWith('on') || a.name === 'srcdoc' || /^\\s*javascript:/i.test(a.value))
      .filter(a => !['aria-label', 'data-v'].includes(a.name)).map(a => a.name + '=' + a.value)"""
    assert page.evaluate(handlers) == []


@pytest.mark.parametrize("bypass", [False, True], ids=["policy on", "policy off"])
def test_sixty_hostile_texts_do_nothing_in_any_place(browser: Any, tmp_path: Path, bypass: bool):
    assert len(set(TEXTS)) == 60
    out = write_report(runs.everywhere(tmp_path, TEXTS), tmp_path / "report.html", TEXTS[0])
    with opened(browser, out.as_uri(), bypass_csp=bypass) as (page, seen):
        poke(page)
        check_harmless(page, seen, out.as_uri())
        # They are all there, as the answers they are.
        answers = page.evaluate(
            "[...document.querySelectorAll('.sample dd pre')].map(e => e.textContent)"
        )
        for text in TEXTS:
            shown = visible(text[:4000])
            assert any(answer.startswith(shown) for answer in answers), text[:80]
        assert page.title() == visible(TEXTS[0])


def test_the_corpus_does_harm_where_nothing_is_escaped(browser: Any, tmp_path: Path):
    """Or the test above would prove nothing."""
    harmful = 0
    with opened(browser, "about:blank") as (page, _):
        for number in (0, 1, 2, 5, 6, 7, 12, 13):
            file = tmp_path / f"{number}.html"
            file.write_text(f"<!doctype html><p>{TEXTS[number]}</p>", encoding="utf-8")
            page.goto(file.as_uri())
            harmful += page.evaluate("window.hacked") == 1
    assert harmful >= 5


def test_the_policy_stops_what_escaping_might_miss(browser: Any, report: Path, tmp_path: Path):
    text = report.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    attack = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><img src=http://evil.test/a>"  # fmt: skip
    broken.write_text(text.replace("</main>", attack + "</main>"), encoding="utf-8")
    with opened(browser, broken.as_uri()) as (page, seen):
        assert page.evaluate("window.hacked") is None
        assert sum("Content Security Policy" in line for line in seen.console) >= 3


# ---- view ---------------------------------------------------------------------------------------


@contextmanager
def serving(root: Path) -> Iterator[Viewer]:
    with Viewer(root) as viewer:
        thread = threading.Thread(target=viewer.serve_forever)
        thread.start()
        try:
            yield viewer
        finally:
            viewer.shutdown()
            thread.join()


def test_a_run_is_followed_while_it_is_written(browser: Any, tmp_path: Path):
    run = runs.start(tmp_path / "policy" / "word-problems" / "a")
    with serving(tmp_path) as viewer, opened(browser, viewer.address) as (page, seen):
        page.get_by_role("link", name="a", exact=True).click()
        page.locator("summary", has_text="config.toml").click()
        assert "75.0 %" in page.locator("main").inner_text()
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(runs.evaluation(30, 0.8)) + "\n")
        page.get_by_text("80.0 % [70.0 %, 90.0 %]").wait_for(timeout=20_000)
        # What the reader had opened is open.
        assert page.locator("details[open] > summary", has_text="config.toml").count() == 1
        page.get_by_role("link", name="← all runs").click()
        assert page.get_by_role("link", name="a", exact=True).is_visible()
        assert seen.nothing(), seen
        assert {re.sub(r"^(http://127\.0\.0\.1:\d+/).*", r"\1", url) for url in seen.requests} == {
            viewer.address
        }


def test_the_list_of_runs_is_accessible(browser: Any, tmp_path: Path):
    from axe_playwright_python.sync_playwright import Axe

    runs.start(tmp_path / "policy" / "word-problems" / "a")
    with serving(tmp_path) as viewer:
        for width in (1280, 390):
            with opened(browser, viewer.address, width=width, bypass_csp=True) as (page, seen):
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert Axe().run(page).response["violations"] == []
                assert seen.nothing(), seen


def test_hostile_names_of_directories_do_nothing_on_the_server(browser: Any, tmp_path: Path):
    names = [text.replace("/", "∕").replace("\x00", "") for text in TEXTS if len(text) < 200]
    folders = {name.encode()[:200].decode(errors="ignore") for name in names} - {""}
    for folder in folders:
        runs.start(tmp_path / folder, role=folder, env=folder)
    with serving(tmp_path) as viewer, opened(browser, viewer.address) as (page, seen):
        poke(page)
        check_harmless(page, seen, viewer.address)
        links = page.locator("tbody a")
        assert links.count() == len(folders) > 40
        for place in (0, len(folders) // 2, len(folders) - 1):
            with opened(browser, viewer.address) as (other, at):
                other.locator("tbody a").nth(place).click()
                assert other.get_by_role("heading", name="Results").is_visible()
                check_harmless(other, at, viewer.address)
