"""Configuration: a frozen dataclass, filled from defaults, `--debug`, `--config FILE` and flags.

Each layer overrides the one before. Whatever is wrong ends in one `ConfigError` of one line. A
configuration class may have

- `DEBUG`, a ClassVar mapping of dotted field to the value it takes under `--debug`;
- `POSITIONAL`, a ClassVar tuple of fields that may be given without their flag, in that order
  (the last takes all that is left if it is a tuple); `config` stands for `--config FILE`;
- `check(self)`, which raises `ConfigError` for combinations that are impossible;
- `MAY_CHANGE`, a ClassVar tuple of fields that a resumed run may have changed (see `run.run`).
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from jsonargparse import ArgumentParser

from understudy.run.errors import ConfigError
from understudy.run.fields import (
    Leaf,
    Mismatch,
    PositiveInt,
    Range,
    build,
    conform,
    debug_values,
    describe,
    leaves,
)

__all__ = ["ConfigError", "RunConfig", "dump", "load"]

C = TypeVar("C")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class RunConfig:
    """Where a run is kept and how it is logged."""

    root: str = "runs"
    """Directory under which run directories are made, as ROOT/ROLE/ENV/NAME."""
    name: str | None = None
    """Name of the run directory; by default the time of the start and the seed."""
    resume: str | None = None
    """A run directory to continue from its newest checkpoint, instead of a new run."""
    logger: Literal["none", "wandb"] = "none"
    """Where metrics go besides metrics.jsonl and TensorBoard."""
    checkpoint_every: PositiveInt = 50
    """Steps between checkpoints."""
    keep: Annotated[int, Range(low=2)] = 2
    """Newest checkpoints kept, besides the best one."""
    progress: bool = True
    """Show progress."""
    device: str = "cpu"
    """Where networks and local models compute: cpu, cuda, cuda:N, or auto (cuda where there is one)."""

    def check(self) -> None:
        """Raises ConfigError where the name could not be a directory's, or the device is none."""
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ConfigError(
                f"run.name must be letters, digits, '.', '_' or '-', at most 100, not {_show(self.name)}"
            )
        if not DEVICE.fullmatch(self.device):
            raise ConfigError(
                f"run.device must be cpu, cuda, cuda:N or auto, not {_show(self.device)}"
            )

    def check_workers(self, workers: int) -> None:
        """Raises ConfigError where several processes would train elsewhere than on the CPU."""
        if workers > 1 and self.device != "cpu":
            raise ConfigError("workers: processes add up gradients on the CPU; give no run.device")


def load(cls: type[C], args: Sequence[str], *, prog: str = "understudy") -> C:
    """The configuration that command-line arguments describe.

    Args:
        cls: a frozen dataclass.
        args: `--field value`, `--field=value`, `--group.field value`, a bare `--flag` for true,
            and `--config FILE.toml`, `--debug`, `--help` (which prints and exits).
        prog: the command, for `--help`.

    Raises:
        ConfigError: with one line that names what is wrong, where, and the nearest valid name.
    """
    schema = leaves(cls)
    flags = _Flags(cls, schema)
    given = flags.split(args)
    if given.help:
        _parser(cls, schema, prog).print_help()
        raise SystemExit(0)
    values = {path: leaf.default for path, leaf in schema.items()}
    if given.debug:
        for path, value in debug_values(cls).items():
            values[path] = conform(value, schema[path].hint)
    if given.config is not None:
        values.update(_read(Path(given.config), schema))
    _parse_flags(_parser(cls, schema, prog), schema, given.values, values)
    missing = [path for path, value in values.items() if value is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"--{missing[0]} is missing ({describe(schema[missing[0]].hint)})")
    try:
        return build(cls, values)
    except ConfigError as error:
        where = f"{given.config}: " if given.config is not None and not given.values else ""
        raise ConfigError(f"{where}{error}") from None


def dump(config: Any) -> str:
    """A configuration as TOML, complete: `--config` reads back an equal one.

    A value of None is a comment, as TOML has no null.
    """
    plain: list[str] = []
    tables: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            tables += _dump_table(value, field.name)
        else:
            plain.append(_dump_line(field.name, value))
    return "\n".join(plain + tables) + "\n"


def _dump_table(config: Any, header: str) -> list[str]:
    lines, inner = ["", f"[{header}]"], list[str]()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            inner += _dump_table(value, f"{header}.{field.name}")
        else:
            lines.append(_dump_line(field.name, value))
    return lines + inner


def _dump_line(name: str, value: Any) -> str:
    return f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but TOML also wants DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str, names: Sequence[str], prefix: str = "") -> str:
    """The end of an error line: the valid name that was perhaps meant."""
    last = name.rsplit(".", 1)[-1]
    close = [other for other in names if other.rsplit(".", 1)[-1] == last]
    close = close or difflib.get_close_matches(name.replace("-", "_"), names, 1)
    return f"; did you mean '{prefix}{close[0]}'?" if close else "; --help lists the valid names"


# ---- files --------------------------------------------------------------------------------------


def _read(path: Path, schema: Mapping[str, Leaf]) -> dict[str, Any]:
    text = _read_text(path)
    try:
        # With a line end after it, an error in the last line gets its number too.
        table = tomllib.loads(text + "\n")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid TOML: {type(error).__name__}: {error}") from None
    values: dict[str, Any] = {}
    for key, value in _entries(table, schema, path, text):
        leaf = schema[key]
        try:
            values[key] = conform(value, leaf.hint)
        except Mismatch:
            raise ConfigError(
                f"{path}: '{key}' must be {describe(leaf.hint)}, not {_show(value)}{_line(text, key)}"
            ) from None
    return values


def _read_text(path: Path) -> str:
    if not path.is_file():
        names = [other.name for other in path.parent.glob("*.toml")]
        close = difflib.get_close_matches(path.name, names, 1)
        hint = f"; did you mean '{path.with_name(close[0])}'?" if close else ""
        raise ConfigError(f"{path}: no such file{hint}")
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if data is None:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes, not a configuration")
    if data.startswith(b"\xef\xbb\xbf"):
        raise ConfigError(
            f"{path}: starts with a byte order mark; save it as UTF-8 without (line 1)"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: not UTF-8 (line {line})") from None


def _entries(
    table: Mapping[str, Any], schema: Mapping[str, Leaf], path: Path, text: str, prefix: str = ""
) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        key = prefix + name
        if key in schema:
            found.append((key, value))
            continue
        if not any(other.startswith(key + ".") for other in schema):
            raise ConfigError(
                f"{path}: unknown key {_show(key)}{_nearest(key, list(schema))}{_line(text, key)}"
            )
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: '{key}' must be a table [{key}]{_line(text, key)}")
        found += _entries(value, schema, path, text, key + ".")
    return found


def _line(text: str, key: str) -> str:
    """` (line N)` where `key` is set; empty where it is written in a way not looked for."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line):
            table = header[1] + "."
            if header[1] == key:
                return f" (line {number})"
        elif (entry := re.match(r"\s*([^=]*?)\s*=", line)) and table + entry[1] == key:
            return f" (line {number})"
    return ""


# ---- flags --------------------------------------------------------------------------------------


@dataclass
class _Given:
    """Command-line arguments, taken apart."""

    values: list[tuple[str, str]]
    """(dotted path, text); for a table's entry the path has one part more."""
    config: str | None = None
    debug: bool = False
    help: bool = False


class _Flags:
    """Takes command-line arguments apart, before their types are looked at."""

    def __init__(self, cls: type, schema: Mapping[str, Leaf]) -> None:
        self.schema = schema
        self.positional = _positional(cls)

    def split(self, args: Sequence[str]) -> _Given:
        given, loose, rest = _Given([]), list[str](), list(args)
        while rest:
            word = rest.pop(0)
            if word in ("-h", "--help"):
                given.help = True
            elif word == "--debug":
                given.debug = True
            elif word.startswith("--") and len(word) > 2:
                self._flag(word, rest, given)
            else:
                loose.append(word)
        self._assign(loose, given)
        return given

    def _flag(self, word: str, rest: list[str], given: _Given) -> None:
        name, equals, text = word[2:].partition("=")
        leaf = self.schema.get(name)
        entry = self.schema.get(name.rpartition(".")[0])
        is_entry = entry is not None and describe(entry.bare).startswith("a table")
        if name != "config" and leaf is None and not is_entry:
            valid = [*self.schema, "config", "debug", "help"]
            raise ConfigError(f"unknown flag {_show('--' + name)}{_nearest(name, valid, '--')}")
        if not equals and leaf is not None and leaf.bare is bool and rest[:1] not in _BOOLEANS:
            text = "true"
        elif not equals:
            if not rest:
                raise ConfigError(f"--{name} needs a value")
            text = rest.pop(0)
        if name != "config":
            given.values.append((name, text))
        elif given.config is not None:
            raise ConfigError("--config is given twice")
        else:
            given.config = text

    def _assign(self, loose: list[str], given: _Given) -> None:
        for path in self.positional:
            if not loose:
                return
            if path == "config":
                self._flag("--config", [loose.pop(0)], given)
                continue
            if describe(self.schema[path].bare).startswith("a list"):
                given.values.insert(0, (path, json.dumps(loose)))
                return
            given.values.insert(0, (path, loose.pop(0)))
        if loose:
            raise ConfigError(f"unexpected argument {_show(loose[0])}; a value needs its --flag")


_BOOLEANS = (["true"], ["false"])


def _parse_flags(
    parser: ArgumentParser,
    schema: Mapping[str, Leaf],
    given: Sequence[tuple[str, str]],
    values: dict[str, Any],
) -> None:
    """Reads each text as its field's type, over what `values` has."""
    for name, text in given:
        path = name if name in schema else name.rpartition(".")[0]
        leaf = schema[path]
        try:
            parsed = parser.parse_args([f"--{name}={text}"], defaults=False)[path]
            value = conform(parsed, leaf.hint)
        except (argparse.ArgumentError, Mismatch):
            raise ConfigError(
                f"--{name} must be {describe(leaf.hint)}, not {_show(text)}"
            ) from None
        if path != name:
            value = {**values[path], **value}
        values[path] = value


def _parser(cls: type, schema: Mapping[str, Leaf], prog: str) -> ArgumentParser:
    positional = "".join(f" [{_placeholder(path, schema)}]" for path in _positional(cls))
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog}{positional} [--SETTING VALUE ...]",
        description=" ".join((cls.__doc__ or "").split()),
        formatter_class=argparse.HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
        parser_mode="json",
    )
    parser.add_argument("--config", metavar="FILE.toml", help="Read settings from a file.")
    parser.add_argument("--debug", action="store_true", help="Shrink everything to seconds.")
    for path, leaf in schema.items():
        default = None if leaf.default is dataclasses.MISSING else leaf.default
        name = path.rpartition(".")[2].upper()
        parser.add_argument(
            f"--{path}", type=leaf.bare, default=default, metavar=name, help=_help(leaf)
        )
    return parser


def _help(leaf: Leaf) -> str:
    """What a setting is, its form, its default as it stands in a TOML file."""
    if leaf.default is dataclasses.MISSING:
        default = "must be given"
    elif leaf.default is None:
        default = "not set by default"
    else:
        default = f"default {_toml(leaf.default)}"
    return f"{leaf.doc} [{describe(leaf.hint)}; {default}]".replace("%", "%%")


def _positional(cls: type) -> Sequence[str]:
    return getattr(cls, "POSITIONAL", ())


def _placeholder(path: str, schema: Mapping[str, Leaf]) -> str:
    if path == "config":
        return "FILE.toml"
    many = describe(schema[path].bare).startswith("a list")
    return f"{path.rpartition('.')[2].upper()}{' ...' if many else ''}"
