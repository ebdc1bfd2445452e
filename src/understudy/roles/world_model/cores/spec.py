"""The one string that names a sequence core, and how large it is, read without making anything.

This module imports no torch, so that a command line can refuse a typo at once.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from understudy.types import UnderstudyError

RECURRENT = ("gru", "block_gru")
FRESH: dict[str, Literal["llama", "gpt2", "gpt_neox", "mamba", "mamba2"]] = {
    "llama": "llama",
    "gpt2": "gpt2",
    "gpt_neox": "gpt_neox",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "slots": "gpt2",
}
"""Bodies that are made with random weights, and the architecture of each."""
LOADED = ("pocket", "hf:NAME_OR_PATH[@REVISION]")
OPTIONS = ("lora", "frozen", "random")


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """How large a core is."""

    width: int = 256
    """Features of the output h; a loaded body brings its own."""
    hidden: int = 0
    """Features of the GRUs' projections; 0: the width (GRU), the width of a block (block GRU)."""
    blocks: int = 8
    """Of the block GRU."""
    parts: tuple[int, ...] = ()
    """Widths of the token's parts, which the block GRU projects one by one; () for one part."""
    layers: int = 2
    """Of a fresh body."""
    heads: int = 4
    """Of a fresh body."""
    window: int = 32
    """Tokens that attention sees; steps from which an attention or Mamba state is rebuilt."""
    state_size: int = 16
    """Of a fresh Mamba, per channel."""
    slots: int = 3
    """Of the slots core, beside the one that is read."""
    lora_rank: int = 8
    """Of an adapter (`+lora`)."""


class CoreError(UnderstudyError):
    """A core cannot be made as asked, or does not keep the contract."""


def parse_core(spec: str) -> tuple[str, frozenset[str]]:
    """A core's name and its options, which are words behind a + at the end.

    Raises:
        CoreError: the string names no core; the message names the nearest one.
    """
    name, options = spec, list[str]()
    while match := re.search(r"\+(\w+)$", name):
        options.append(match[1])
        name = name[: match.start()]
    known = (*RECURRENT, *FRESH)
    if name != "pocket" and not re.match(r"hf:.", name) and name not in known:
        raise CoreError(f"no core {spec!r}: {_nearest(name, known)}")
    for option in options:
        if name in known:
            raise CoreError(
                f"core {spec}: {name} is made fresh and trained whole, without +{option}"
            )
        if option not in OPTIONS:
            near = difflib.get_close_matches(option, OPTIONS, n=1, cutoff=0.3) or OPTIONS
            raise CoreError(f"core {spec}: no option +{option}; did you mean +{near[0]}?")
    if {"lora", "frozen"} <= set(options) or len(set(options)) < len(options):
        raise CoreError(f"core {spec}: choose one of +lora and +frozen, once")
    return name, frozenset(options)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    known = (*known, *LOADED)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if "/" in name:
        near = [f"hf:{name}"]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}There are {', '.join(known)}"
