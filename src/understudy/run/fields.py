"""The fields of a configuration: frozen dataclasses, flattened to dotted paths, and their types.

A field is a bool, int, float, str, `Literal`, tuple or `dict[str, X]` of these, or a nested
dataclass; `X | None` is allowed where the default is None, because TOML has no null: a key that
is absent from a complete file then means None.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, to be used as `Annotated[float, Range(0, 1)]`."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    """The number must be greater than this (`low` itself is allowed)."""
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        signs = (("≥", self.low), (">", self.above), ("≤", self.high), ("<", self.below))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in signs if math.isfinite(bound))


PositiveInt = Annotated[int, Range(low=1)]
NonNegativeInt = Annotated[int, Range(low=0)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(low=0)]
Probability = Annotated[float, Range(low=0, high=1)]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a configuration."""

    path: str
    """Dotted: `run.root`."""
    hint: Any
    """Its type, with the ranges."""
    bare: Any
    """Its type without the ranges."""
    default: Any
    """`dataclasses.MISSING` where it has none."""
    doc: str


class Mismatch(Exception):
    """A value is not of the asked-for type."""


def leaves(cls: type, prefix: str = "", defaults: Any = None) -> dict[str, Leaf]:
    """All values of a configuration class by dotted path, in the order they are written.

    Args:
        cls: a dataclass.
        prefix: of every path.
        defaults: an instance whose values are the defaults, instead of the class's own.

    Raises:
        TypeError: the class has a field that TOML cannot hold; a mistake in the class.
    """
    found: dict[str, Leaf] = {}
    hints, bare, docs = get_type_hints(cls, include_extras=True), get_type_hints(cls), _docs(cls)
    for field in dataclasses.fields(cls):
        path = prefix + field.name
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if dataclasses.is_dataclass(bare[field.name]):
            inner = None if default is dataclasses.MISSING else default
            found.update(leaves(bare[field.name], path + ".", inner))
            continue
        leaf = Leaf(path, hints[field.name], bare[field.name], default, docs[field.name])
        if _is_optional(leaf.hint) != (_default(field) is None):
            raise TypeError(
                f"{cls.__name__}.{field.name}: `| None` and a default of None go together"
            )
        describe(leaf.hint)
        found[path] = leaf
    return found


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by dotted path."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, f"{prefix}{field.name}."))
        else:
            flat[prefix + field.name] = value
    return flat


def debug_values(cls: type, prefix: str = "") -> dict[str, Any]:
    """What `--debug` sets, by dotted path: a class's DEBUG over those of the classes in it."""
    found: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            found.update(debug_values(hints[field.name], f"{prefix}{field.name}."))
    own: Mapping[str, Any] = getattr(cls, "DEBUG", {})
    return {**found, **{prefix + path: value for path, value in own.items()}}


def build(cls: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    """The configuration that has `values` (all of them, by dotted path); runs each `check`."""
    arguments: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        path = prefix + field.name
        if dataclasses.is_dataclass(hints[field.name]):
            arguments[field.name] = build(hints[field.name], values, path + ".")
        else:
            arguments[field.name] = values[path]
    config = cls(**arguments)
    if hasattr(config, "check"):
        config.check()
    return config


def conform(value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it: an int becomes a float, a list a tuple; nothing else is converted.

    Raises:
        Mismatch: it is of another type, out of range, or a float that is not finite.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = conform(value, args[0])
        return _require(value in args[1], value)
    if origin in (Union, types.UnionType):
        return _conform_union(value, args)
    if origin is Literal:
        same = [option for option in args if type(option) is type(value) and option == value]
        return _require(bool(same), value)
    if origin is tuple:
        return _conform_tuple(value, args)
    if origin is dict:
        _require(isinstance(value, dict), value)
        return {conform(key, str): conform(item, args[1]) for key, item in value.items()}
    return _SCALARS[hint](value)


def describe(hint: Any) -> str:
    """A type in words, for errors and help.

    Raises:
        TypeError: not a type a configuration can have.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(args[1], Range):
        return f"{describe(args[0])} {args[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args if arg is not types.NoneType)
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in args)
    if origin is tuple and args[1:] == (...,):
        return f"a list of {describe(args[0])}"
    if origin is tuple:
        return "a list [" + ", ".join(describe(arg) for arg in args) + "]"
    if origin is dict and args[0] is str:
        return f"a table of {describe(args[1])}"
    if hint in _NAMES:
        return _NAMES[hint]
    raise TypeError(f"{hint} cannot be the type of a configuration's field")


@functools.cache
def _docs(cls: type) -> dict[str, str]:
    docs: dict[str, str] = {field.name: "" for field in dataclasses.fields(cls)}
    for base in reversed(cls.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(base).params:
            docs[param.arg_name] = " ".join((param.description or "").split())
    return docs


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and types.NoneType in get_args(hint)


def _require(ok: bool, value: Any) -> Any:
    if not ok:
        raise Mismatch
    return value


def _conform_union(value: Any, args: tuple[Any, ...]) -> Any:
    if value is None:
        return _require(types.NoneType in args, value)
    for arg in args:
        if arg is not types.NoneType:
            try:
                return conform(value, arg)
            except Mismatch:
                continue
    raise Mismatch


def _conform_tuple(value: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    _require(isinstance(value, (list, tuple)), value)
    if args[1:] == (...,):
        return tuple(conform(item, args[0]) for item in value)
    _require(len(value) == len(args), value)
    return tuple(conform(item, arg) for item, arg in zip(value, args, strict=True))


def _number(value: Any) -> float:
    _require(type(value) in (int, float), value)
    try:
        number = float(value)
    except OverflowError:
        raise Mismatch from None
    return _require(math.isfinite(number), number)


def _text(value: Any) -> str:
    _require(isinstance(value, str), value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Mismatch from None
    return value


def _exactly(kind: type, value: Any) -> Any:
    return _require(type(value) is kind, value)


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    bool: functools.partial(_exactly, bool),
    int: functools.partial(_exactly, int),
    float: _number,
    str: _text,
}
_NAMES: dict[Any, str] = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
