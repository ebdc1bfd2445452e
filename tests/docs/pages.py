"""README and docs as what can be run in them: fenced blocks, commands, code spans.

What a block's first line says after the backticks decides what becomes of it:

| fence | rule |
|---|---|
| `sh` | every line is run, `understudy` with `--debug` |
| `sh not-run: REASON` | every line is read as a command of ours, and not run |
| `python`, `python in RUN` | run in an empty directory, or in that run's |
| `toml COMMAND` | settings of that command |
| `toml pyproject.toml` | a package's entry points |
| `text` | for reading: it holds no command |
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.cli import COMMANDS
from understudy.run.config import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`(understudy [^`\n]+)`(?!`)")
PROGRAMS = ("understudy ", "python ", "make ", "pip ")
NOT_RUN = "sh not-run: "


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    info: str
    body: str

    @property
    def commands(self) -> list[str]:
        """Its lines without remarks; a line that ends in a backslash goes on."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [bare for line in lines if (bare := re.sub(r"(^|\s)# .*", "", line).strip())]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """All fenced blocks of all pages."""
    for path in PAGES:
        text, page = path.read_text(), str(path.relative_to(ROOT))
        for found in FENCE.finditer(text):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found["info"], found["body"])


def spans() -> Iterator[tuple[str, str]]:
    """(page, command) of each command that stands between backticks in a sentence."""
    for path in PAGES:
        for command in SPAN.findall(FENCE.sub("", path.read_text())):
            yield str(path.relative_to(ROOT)), command


def words_of(command: str) -> tuple[str, list[str]]:
    """A command's name and its arguments."""
    words = shlex.split(command)[1:]
    if words[:1] == ["resume"]:
        return "resume", words[1:]
    for length in (2, 1):
        if (name := " ".join(words[:length])) in COMMANDS:
            return name, words[length:]
    if len(words) == 1 and any(name.startswith(f"{words[0]} ") for name in COMMANDS):
        return words[0], []  # a family of commands, named
    raise ValueError(f"no command of ours: {command}")


def parse(command: str) -> None:
    """Reads a command as the command line does, recipes included; nothing is run."""
    name, args = words_of(command)
    if name == "resume":
        assert args, command
        assert not args[0].startswith("-"), command
        return
    load(COMMANDS[name].config(), args)
