"""Text cannot break out of a page."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from tests.report.hostile import TEXTS
from understudy.report.html import data_block, document, el, render, visible


class Parsed(HTMLParser):
    """What a parser of HTML sees in a markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.one_of(st.sampled_from(TEXTS), st.text()))
def test_text_and_attributes_stay_what_they_are(text: str):
    seen = Parsed(render(el("p", text, title=text)))
    assert [tag for tag, _ in seen.tags] == ["p"]
    assert seen.text == visible(text)
    assert seen.tags[0][1] == [("title", visible(text) or None)]


def test_children_are_escaped_at_every_depth():
    assert render(el("ul", [el("li", "<b>"), None, [el("li", 3)]], class_="a\"b")) == (
        '<ul class="a&quot;b"><li>&lt;b&gt;</li><li>3</li></ul>'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a␀b"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("\ud800", "⟨U+D800⟩"),
        ("\x7f\x85", "⟨U+007F⟩⟨U+0085⟩"),
        ("line\r\nline\tend", "line\nline\tend"),
        ("é 漢字 שלום 👩‍🚀", "é 漢字 שלום 👩‍🚀"),
    ],
)
def test_what_hides_or_reorders_is_shown_by_name(text: str, shown: str):
    assert visible(text) == shown
    visible(text).encode()


@pytest.mark.parametrize(
    ("tag", "attributes"),
    [
        ("script", {}),
        ("iframe", {}),
        ("p", {"onclick": "x"}),
        ("p", {"style": "x"}),
        ("a", {"href": "javascript:x"}),
        ("a", {"href": "//evil.test"}),
        ("a", {"href": "https://evil.test"}),
        ("img", {"src": "data:image/svg+xml;base64,aa"}),
        ("img", {"src": "http://evil.test"}),
        ("video", {"src": "data:text/html;base64,aa"}),
        ("p", {"a b": "x"}),
    ],
)
def test_what_no_report_needs_cannot_be_made(tag: str, attributes: dict[str, str]):
    with pytest.raises(ValueError, match="html:"):
        el(tag, **attributes)


@given(st.recursive(st.one_of(st.sampled_from(TEXTS), st.text()), st.lists))
def test_data_in_a_page_reads_back_and_ends_no_element(value: object):
    block = data_block(value)
    assert json.loads(block) == value
    assert not re.search(r"[<>&\u2028\u2029]", block)


def test_the_policy_allows_this_program_and_this_style_alone():
    page = document("t", "x", style="p { }", script="go()", data={}, connect=False)
    policy = html.unescape(re.search(r'Policy" content="([^"]*)"', page)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "img-src", "media-src", "style-src", "script-src",
                          "base-uri", "form-action"}  # fmt: skip
    for rule, text in (("script-src", "go()"), ("style-src", "p { }")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "connect-src 'self'" in document("t", "", style="", script="", data={}, connect=True)
