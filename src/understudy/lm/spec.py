"""The one string that names a language model, read without loading anything.

This module imports no torch, so that a command line can refuse a typo at once.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from os.path import expanduser
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from understudy.lm.base import LMError

Kind = Literal["pocket", "hf", "openai", "http", "vllm", "replay"]

FORMS: dict[str, str] = {
    "pocket": "pocket",
    "hf": "hf:NAME_OR_PATH[@REVISION][+adapter=PATH]",
    "openai": "openai:MODEL",
    "http": "http://HOST:PORT/v1#MODEL",
    "https": "https://HOST/v1#MODEL",
    "vllm": "vllm:NAME_OR_PATH",
    "replay": "replay:FILE[#MODEL]",
}
"""What may be written, by what comes before the colon."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_PAIR = re.compile(r"[\w.-]+/[\w.-]+")
_OPTION = re.compile(r"\+(\w+)=")


@dataclass(frozen=True, slots=True)
class LMSpec:
    """A language model, named but not opened."""

    kind: Kind
    name: str = ""
    """The model's name, or the folder or file it is in; empty for `pocket` and some recordings."""
    revision: str | None = None
    """`hf` only: a branch, tag or commit."""
    adapter: Path | None = None
    """`hf` only: a folder with a LoRA adapter."""
    url: str | None = None
    """`http` only: the address up to and with `/v1`."""
    file: Path | None = None
    """`replay` only: the recording."""

    @property
    def has_weights(self) -> bool:
        """Whether the model runs in this process and can be trained."""
        return self.kind in ("pocket", "hf")


def parse_spec(text: str) -> LMSpec:
    """Reads a string such as `hf:NAME@REVISION` or `http://localhost:8000/v1#MODEL`.

    Raises:
        LMError: The string has none of the known forms; the message names the nearest one.
    """
    if not text or text != text.strip() or any(not c.isprintable() for c in text):
        raise LMError(
            f"--lm {text!r}: empty, or with white space around it or control characters in it; {_known()}"
        )
    head, colon, rest = text.partition(":")
    if head in ("http", "https"):
        return _http(text)
    if head == "pocket" and not colon:
        return LMSpec("pocket")
    if head not in FORMS or head == "pocket":
        raise LMError(f"no language model {text!r}: {_nearest(text, head)}")
    if not rest:
        raise LMError(f"--lm {text}: nothing after {head!r}; write {FORMS[head]}")
    if head == "hf":
        return _hf(text, rest)
    if head == "replay":
        file, _, model = rest.partition("#")
        if not file:
            raise LMError(f"--lm {text}: no file; write {FORMS['replay']}")
        return LMSpec("replay", model, file=Path(file).expanduser())
    if " " in rest:
        raise LMError(f"--lm {text}: a model's name has no space; write {FORMS[head]}")
    return LMSpec("openai" if head == "openai" else "vllm", rest)


def _hf(text: str, rest: str) -> LMSpec:
    before, _, adapter = rest.partition("+adapter=")
    option = _OPTION.search(before)
    if option is not None:
        raise LMError(f"--lm {text}: unknown option {option[1]!r}; the only one is +adapter=PATH")
    if "+adapter=" in rest and not adapter:
        raise LMError(f"--lm {text}: no path after +adapter=; write {FORMS['hf']}")
    folder = Path(adapter).expanduser() if adapter else None
    if _is_path(before):
        return LMSpec("hf", expanduser(before), adapter=folder)
    name, at, revision = before.partition("@")
    if not name:
        raise LMError(f"--lm {text}: no model is named; write {FORMS['hf']}")
    if at and not re.fullmatch(r"[\w./-]+", revision):
        raise LMError(f"--lm {text}: {revision!r} is no revision; write {FORMS['hf']}")
    if not _HUB_NAME.fullmatch(name) and not Path(name).is_dir():
        raise LMError(f"--lm {text}: {name!r} is neither a folder nor a name such as ORG/MODEL")
    return LMSpec("hf", name, revision or None, folder)


def _is_path(name: str) -> bool:
    """Whether `name` is a folder for sure; an @ in it is then no revision."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).is_dir()


def _http(text: str) -> LMSpec:
    scheme = text.partition(":")[0]
    address, _, model = text.partition("#")
    try:
        parts = urlsplit(address)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        # not repeated: what comes before the @ may be a key
        raise LMError("--lm: no user name or key in an address; keys come from the environment")
    if not parts.hostname or not port_is_fine or " " in address:
        raise LMError(f"--lm {text}: no host or a bad port; write {FORMS[scheme]}")
    if parts.query:
        raise LMError(f"--lm {text}: an address has no query; write {FORMS[scheme]}")
    if not model:
        raise LMError(f"--lm {text}: no #MODEL at the end; write {FORMS[scheme]}")
    return LMSpec("http", model, url=address.rstrip("/"))


def _nearest(text: str, head: str) -> str:
    if _HUB_PAIR.fullmatch(text) or Path(text).is_dir():
        return f"did you mean hf:{text}? {_known()}"
    near = difflib.get_close_matches(head.lower(), FORMS, n=1, cutoff=0.5)
    return f"did you mean {FORMS[near[0]]}? {_known()}" if near else _known()


def _known() -> str:
    return "known forms: " + ", ".join(FORMS.values())
