"""The one string that names a language model, taken apart. Imports nothing heavy."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from understudy.lm.base import LMError

Kind = Literal["pocket", "hf", "openai", "http", "vllm", "replay"]
FORMS = (
    "pocket",
    "hf:NAME_OR_PATH[@REVISION][+adapter=PATH]",
    "openai:MODEL",
    "http://HOST:PORT/v1#MODEL",
    "vllm:NAME_OR_PATH",
    "replay:FILE",
)
LOCAL = ("pocket", "hf")
"""Kinds whose weights are in this process, so that they can be trained."""


@dataclass(frozen=True, slots=True)
class LMSpec:
    """A parsed `--lm` string."""

    kind: Kind
    name: str
    """Model name, path or file."""
    url: str = ""
    """Base URL, of an http endpoint."""
    revision: str | None = None
    adapter: str | None = None

    @property
    def local(self) -> bool:
        """Whether the model runs, and can be trained, in this process."""
        return self.kind in LOCAL


def parse_spec(text: str) -> LMSpec:
    """Takes an LM string apart.

    Raises:
        LMError: it has none of the known forms; the nearest one is named.
    """
    if text == "pocket":
        return LMSpec("pocket", "pocket")
    if re.match(r"https?://", text):
        return _endpoint(text)
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("hf", "openai", "vllm", "replay"):
        raise LMError(f"unknown language model {text!r}{_nearest(text)}; forms: {', '.join(FORMS)}")
    if not rest.strip():
        raise LMError(f"language model {text!r} names no model; write {_form(kind)}")
    if kind == "hf":
        return _hugging_face(text, rest)
    return LMSpec(kind, rest)


def _endpoint(text: str) -> LMSpec:
    url, sharp, model = text.partition("#")
    if not sharp or not model:
        raise LMError(f"language model {text!r} names no model; write {url.rstrip('/')}#MODEL")
    if not re.fullmatch(r"https?://[^/\s@]+(?:/[^\s#?]*)?", url):
        raise LMError(
            f"language model {text!r}: {url!r} is no plain address; write {_form('http')}"
        )
    return LMSpec("http", model, url=url)


def _hugging_face(text: str, rest: str) -> LMSpec:
    name, *options = rest.split("+adapter=")
    if len(options) > 1 or (options and not options[0]) or not name:
        raise LMError(f"language model {text!r}: write {_form('hf')}")
    name, at, revision = name.partition("@") if not name.startswith((".", "/")) else (name, "", "")
    if at and not revision:
        raise LMError(f"language model {text!r}: a revision must follow '@'; write {_form('hf')}")
    return LMSpec("hf", name, revision=revision or None, adapter=options[0] if options else None)


def _form(kind: str) -> str:
    return next(form for form in FORMS if form.startswith(kind))


def _nearest(text: str) -> str:
    word = re.split(r"[:/#]", text, maxsplit=1)[0].lower()
    close = difflib.get_close_matches(
        word, ["pocket", "hf", "openai", "http", "vllm", "replay"], n=1
    )
    return f"; did you mean {_form(close[0])}?" if close else ""
