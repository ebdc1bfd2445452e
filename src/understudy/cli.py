"""The command line: a table of commands, parsing, and errors as one line. Imports no torch."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.lm.spec import parse_spec
from understudy.run.config import ConfigError, load
from understudy.run.info import find_runs, read_info
from understudy.types import UnderstudyError


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command needs: the class of its settings and the function that does it."""

    config: str
    """module:Class, light to import."""
    function: str
    """module:function, imported only when the settings are known to be right."""
    help: str
    after: str = ""
    """module:function that describes the run directory which `function` returned."""


POLICY = "understudy.roles.policy"
ROLES: dict[str, dict[str, Command]] = {
    "policy": {
        "train": Command(
            f"{POLICY}.config:PolicyConfig", f"{POLICY}.commands:run_train",
            "train a language model by RL in a language environment", f"{POLICY}.summary:describe",
        ),
        "eval": Command(
            f"{POLICY}.config:EvalConfig", f"{POLICY}.commands:run_eval",
            "evaluate any language model on held-out problems", f"{POLICY}.summary:describe",
        ),
        "compare": Command(
            f"{POLICY}.config:CompareConfig", f"{POLICY}.commands:run_compare",
            "algorithms side by side under one budget, with intervals", f"{POLICY}.summary:describe_comparison",
        ),
        "grade": Command(
            f"{POLICY}.config:GradeConfig", f"{POLICY}.commands:run_grade",
            "grade answers in a JSONL file", f"{POLICY}.summary:describe_grades",
        ),
        "pretrain": Command(
            f"{POLICY}.config:PretrainConfig", f"{POLICY}.commands:run_pretrain",
            "make a small language model from nothing",
        ),
    },
}  # fmt: skip
TOOLS = {
    "resume": "RUN: go on with a run that was stopped",
    "lm": "check STRING: see whether a language model keeps the rules",
    "env": "list | check ID: the language environments",
    "ls": "[ROOT]: the runs",
}


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command; an error the user can mend is one line on stderr and exit code 2."""
    logging.basicConfig(format="understudy: %(message)s", level=logging.WARNING)
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = _dispatch(words)
    except UnderstudyError as error:
        print(f"understudy: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("understudy: stopped; the last checkpoint is whole", file=sys.stderr)
        code = 130
    sys.exit(code)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"understudy {__version__}")
        return 0
    tools: dict[str, Callable[[list[str]], int]] = {
        "resume": _resume, "lm": _lm, "env": _env, "ls": _ls,
    }  # fmt: skip
    if words[0] in tools:
        return tools[words[0]](words[1:])
    return _role(_one_of("command", words[0], [*ROLES, *tools]), words[1:])


def _role(role: str, words: list[str]) -> int:
    verbs = ROLES[role]
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: understudy {role} VERB [--help] …\n")
        print("\n".join(f"  {verb:<10} {command.help}" for verb, command in verbs.items()))
        return 0
    verb = _one_of(f"{role} verb", words[0], list(verbs))
    command = verbs[verb]
    config = load(_import(command.config), words[1:], prog=f"understudy {role} {verb}")
    return _run(command, config)


def _run(command: Command, config: Any) -> int:
    for name in ("lm", "distill"):
        if text := getattr(config, name, None):
            parse_spec(text)  # a typo costs nothing: nothing heavy is imported yet
    outcome = _import(command.function)(config)
    path, code = outcome if isinstance(outcome, tuple) else (outcome, 0)
    print(_import(command.after)(path) if command.after else f"run directory: {path}")
    if code:
        print(f"stopped; go on with: understudy resume {path}", file=sys.stderr)
    return code


def _resume(words: list[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        raise ConfigError("resume takes one run directory: understudy resume RUN")
    folder = Path(words[0])
    info = read_info(folder)
    command = ROLES.get(info.role, {}).get(info.verb)
    if command is None:
        raise ConfigError(f"{folder}: a run of '{info.role} {info.verb}' cannot be resumed")
    args = ["--config", str(folder / "config.toml"), "--run.resume", str(folder)]
    return _run(command, load(_import(command.config), args, prog="understudy resume"))


def _lm(words: list[str]) -> int:
    if len(words) != 2 or words[0] != "check":
        raise ConfigError("lm takes: understudy lm check STRING")
    parse_spec(words[1])
    report = _import("understudy.lm.check:check_spec")(words[1])
    print(report)
    return 0 if report.good else 1


def _env(words: list[str]) -> int:
    if words == ["list"]:
        print("\n".join(_import("understudy.envs.registry:names")()))
        return 0
    if len(words) != 2 or words[0] != "check":
        raise ConfigError("env takes: understudy env list, or understudy env check ID")
    problems = _import("understudy.envs.check:check_registered")(words[1])
    print("\n".join(problems) or f"{words[1]}: keeps all rules")
    return 1 if problems else 0


def _ls(words: list[str]) -> int:
    for run in find_runs(Path(words[0] if words else "runs")):
        if run.info is None:
            print(f"{run.path}  {run.problem}")
        else:
            print(f"{run.path}  {run.info.role} {run.info.verb}  step {run.step}  {run.info.created}")
    return 0


def _overview() -> str:
    lines = ["usage: understudy COMMAND …", "", "A language model in any part of the RL loop.", ""]
    for role, verbs in ROLES.items():
        lines += [f"  {role} {verb:<10} {command.help}" for verb, command in verbs.items()]
    lines += [f"  {name:<17} {text}" for name, text in TOOLS.items()]
    return "\n".join([*lines, "", "understudy COMMAND --help shows its settings."])


def _one_of(what: str, word: str, known: list[str]) -> str:
    if word in known:
        return word
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"unknown {what} {word!r}{hint}; there are {', '.join(known)}")


def _import(path: str) -> Any:
    """An object by `module:name`, imported now."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
