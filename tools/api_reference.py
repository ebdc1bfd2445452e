"""Writes docs/api.md from the public names and what a user implements; --check says if it is old."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/api.md"
EXTENSIONS = {
    "A language model": [
        ("understudy.lm.base", "ChatLM"),
        ("understudy.lm.base", "ChoiceLM"),
        ("understudy.lm.base", "TokenLM"),
        ("understudy.lm.base", "TrainableLM"),
        ("understudy.lm.base", "Request"),
        ("understudy.lm.base", "Reply"),
    ],
    "An environment": [
        ("understudy.envs.base", "Task"),
        ("understudy.envs.base", "Demonstrates"),
        ("understudy.envs.base", "Problem"),
        ("understudy.envs.base", "Grade"),
        ("understudy.rollout.world", "World"),
        ("understudy.rollout.world", "Turn"),
    ],
    "An algorithm": [
        ("understudy.roles.policy.train", "train"),
        ("understudy.roles.teacher.train", "train"),
        ("understudy.roles.optimizer.train", "train"),
        ("understudy.roles.optimizer.proposers", "Proposer"),
    ],
    "A world model's core": [
        ("understudy.roles.world_model.cores.base", "Core"),
        ("understudy.roles.world_model.cores.check", "check_core"),
    ],
    "A study": [("understudy.envs.study.declare", "Study"), ("understudy.envs.study.load", "load")],
}
"""What a user writes, by what it is for; a study is a TOML file that is read into a `Study`."""


def document(thing: Any, name: str) -> list[str]:
    """One function or class: its signature, its docstring, and a class's own methods."""
    kind = "class " if inspect.isclass(thing) else ""
    lines = ["```text", kind + name + signature(thing), "```", "", text_of(thing)]
    if not inspect.isclass(thing):
        return lines
    for method, value in vars(thing).items():
        bare = value.fget if isinstance(value, property) else inspect.unwrap(_function(value))
        if method.startswith("_") or not inspect.isfunction(bare):
            continue
        call = "" if isinstance(value, property) else signature(bare)
        lines += ["", "```text", f".{method}{call}", "```", "", text_of(bare)]
    return lines


def _function(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def signature(thing: Any) -> str:
    """Arguments as they are written; nothing for a protocol or an error, which are not called so."""
    protocol = getattr(thing, "_is_protocol", False)
    if inspect.isclass(thing) and (protocol or issubclass(thing, Exception)):
        return ""
    said = inspect.signature(thing)
    words, star = list[str](), False
    for parameter in said.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            words.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        words.append(_argument(parameter))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            words[-1] += ", /"
    end = "" if inspect.isclass(thing) else f" -> {_type(said.return_annotation)}"
    whole = f"({', '.join(words)}){end}"
    if len(whole) <= 80:
        return whole
    return "(" + "".join(f"\n    {word}," for word in words) + f"\n){end}"


def _argument(parameter: inspect.Parameter) -> str:
    name = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
    if parameter.annotation is not parameter.empty:
        name += f": {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return name
    plain = isinstance(parameter.default, int | float | str | tuple | None)
    return f"{name} = {parameter.default!r}" if plain else f"{name} = …"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def text_of(thing: Any) -> str:
    """A docstring as markdown: sections in bold, arguments as a list."""
    lines: list[str] = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            lines += [f"**{line[:-1]}**", ""]
        elif found := re.fullmatch(r"    ([\w*, ]+): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        else:
            lines.append(line.strip() if line.startswith("    ") else line)
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    package = import_module("understudy")
    lines = [
        "# API reference",
        "",
        "Made by `python tools/api_reference.py` from the docstrings. The names of the first part stay;",
        "those of the second are what you implement or call to [bring your own](extending.md).",
        "",
        "## `understudy`",
    ]
    for name in sorted(package.__all__, key=str.lower):
        lines += ["", f"### `{name}`", "", *document(getattr(package, name), name)]
    lines += ["", "## Extension points"]
    for title, things in EXTENSIONS.items():
        lines += ["", f"### {title}"]
        for module, name in things:
            thing = getattr(import_module(module), name)
            lines += ["", f"#### `{module}.{name}`", "", *document(thing, name)]
    return "\n".join(lines) + "\n"


def main(args: list[str]) -> int:
    """Writes the page, or with --check compares it."""
    made = page()
    if "--check" not in args:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE.name} is old: python tools/api_reference.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
