"""HTML that text cannot break out of: elements whose text and attributes are always escaped.

What a model wrote is shown, never performed. Characters that would hide or reorder what stands
around them (control characters, directional overrides) are shown by name.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Node = Any
"""An `Element`, a text, a number, None (nothing), or a sequence of these."""

_TAGS = re.compile(
    "a|article|aside|bdi|button|circle|code|d[dlt]|details|div|fig(?:ure|caption)|footer|g|h[1-4]|header|img|li|line|main"
    "|nav|ol|p|path|polyline|pre|section|small|span|strong|summary|svg|table|tbody|td|text|th|thead|tr|ul|video"
)
_VOID = frozenset({"img"})
_ATTRIBUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_LINKS = {
    "href": re.compile(r"#[\w.-]+|/(?!/)[\w./%~-]*"),
    "src": re.compile(
        r"data:(?:image/(?:png|gif|jpeg|webp)|video/(?:mp4|webm));base64,[\w+/=]*", re.ASCII
    ),
}
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True)
class Element:
    """One element; made by `el`."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]


def el(tag: str, *children: Node, **attributes: str | float | bool | None) -> Element:
    """An element with escaped children and attributes.

    Args:
        tag: its name.
        children: text, numbers, elements, None, or sequences of these.
        attributes: `class_` is class, `aria_label` is aria-label; None and False are left out,
            True has no value.

    Raises:
        ValueError: a tag or an attribute that a report does not need: scripts, handlers, styles, and
            links that leave the page or its server.
    """
    if not _TAGS.fullmatch(tag):
        raise ValueError(f"html: no <{tag}> in a report")
    pairs: list[tuple[str, str]] = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        text = "" if value is True else f"{value:.6g}" if isinstance(value, float) else str(value)
        if not _ATTRIBUTE.fullmatch(name) or name in ("style", "srcdoc") or name.startswith("on"):
            raise ValueError(f"html: no attribute {name!r} in a report")
        if name in _LINKS and not _LINKS[name].fullmatch(text):
            raise ValueError(f"html: {name}={text[:40]!r} leads out of a report")
        pairs.append((name, text))
    return Element(tag, tuple(pairs), children)


def visible(text: str) -> str:
    """`text` with what cannot be seen, or moves what can, shown by name."""
    return _HIDDEN.sub(_name, text.replace("\r\n", "\n"))


def cut(text: str, most: int = 300) -> str:
    """At most so many characters of `text`, and how many were left out."""
    rest = len(text) - most
    return text if rest <= 0 else f"{text[:most]} … ({rest} more characters)"


def _name(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return f"⟨U+{code:04X}⟩"


def render(node: Node) -> str:
    """The markup of a node."""
    return "".join(_parts(node))


def _parts(node: Node) -> Iterator[str]:
    if node is None:
        return
    if isinstance(node, Element):
        given = "".join(
            f' {name}="{html.escape(visible(value))}"' if value else f" {name}"
            for name, value in node.attributes
        )
        yield f"<{node.tag}{given}>"
        if node.tag not in _VOID:
            for child in node.children:
                yield from _parts(child)
            yield f"</{node.tag}>"
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            yield from _parts(child)
    else:
        yield html.escape(visible(str(node)))


def data_block(value: Any) -> str:
    """`value` as JSON that can stand in a script element of type application/json."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII only
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def document(
    title: str, body: Node, *, style: str, script: str, data: Any, connect: bool = False
) -> str:
    """A whole page that may run `script` and nothing else, and load nothing.

    Args:
        title: of the page.
        body: what it shows.
        style: its style sheet.
        script: its program.
        data: what the program reads, as JSON.
        connect: whether the program may ask the server that the page came from.
    """
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            "media-src data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            *(["connect-src 'self'"] if connect else []),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        # Or a browser asks the server for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{render(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{render(body)}\n"
        f'<script type="application/json" id="data">{data_block(data)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
