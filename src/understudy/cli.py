"""The command line: a table from command to configuration and function; parsing only.

`COMMANDS` is read before anything heavy is imported: an entry imports its configuration to parse it
and its function to run it, so `--help` needs no torch. Errors that the user can mend: one line, exit 2.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from understudy import __version__, settings
from understudy.lm.spec import parse_spec
from understudy.run.config import load
from understudy.run.errors import ConfigError, RunError, Stopped
from understudy.types import UnderstudyError

ROLES = ("policy", "teacher", "optimizer", "world_model", "simulator")


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    summary: str
    config: Callable[[], type]
    """Imports the configuration class."""
    run: Callable[[Any], Path | None]
    """Imports and calls what the command does; returns the path of what it made, if any."""
    resumable: bool = False
    """Whether `understudy resume` calls it again; its configuration then has a `run`."""


def _module(room: str, part: str) -> Any:
    """A module of a role, or of another room; imported here, once it is needed."""
    parent = "understudy.roles" if room in ROLES else "understudy"
    return import_module(f"{parent}.{room}.{part}")


def _config(role: str, name: str) -> Callable[[], type]:
    """The configuration class `name` of `roles.ROLE.config`."""
    return lambda: getattr(_module(role, "config"), name)


def _command(
    role: str, name: str, describe: str | None = None, picture: str | None = None
) -> Callable[[Any], Path | None]:
    """A function of a room's `commands`, and those of its `summary` that say what came out.

    `describe` is in words, `picture` in curves; a `check` raises where it is not what was asked for.
    """

    def run(config: Any) -> Path | None:
        # A typo in an LM's string costs nothing: nothing heavy is imported yet.
        base = getattr(config, "base", config)
        texts = [getattr(base, key, None) for key in ("lm", "distill")]
        for text in (*texts, getattr(getattr(base, "reward", None), "judge", None)):
            if isinstance(text, str):
                parse_spec(text)
        made = getattr(_module(role, "commands"), name)(config)
        summary = _module(role, "summary")
        if describe is not None:
            print(getattr(summary, describe)(made))
        if picture is not None:
            curves, ylabel, *options = getattr(summary, picture)(made)
            _draw(curves, made.with_suffix(".png"), ylabel, *options)
        if isinstance(made, Path) and hasattr(summary, "check"):
            summary.check(made)
        return made if isinstance(made, Path) else None

    return run


def _above(room: str, summary: str, config: str, run: str) -> Command:
    """A command of what stands above the roles."""
    return Command(summary, _config(room, config), _command(room, run, "describe"))


def _draw(curves: Mapping[str, Any], out: Path, ylabel: str, options: Any = None) -> None:
    """A comparison's picture."""
    draw = _module("report", "curves").draw
    _show(lambda: draw(curves, out, ylabel=ylabel, title=out.parent.name, **(options or {})))


def _show(picture: Callable[[], Path]) -> None:
    """Without matplotlib the text is all there is, and that is said."""
    try:
        print(picture())
    except RunError as error:
        print(error)


def _dreaming(config: Any) -> Path | None:
    """An agent's evaluation, and the picture of the dream that it leaves."""
    made = _command("world_model", "run_eval", "describe")(config)
    if made is not None:
        dream, out = _module("world_model", "dream").load_dream(made), made / "media/dream.png"
        draw = _module("report", "dreams").draw_dream
        _show(lambda: draw(dream.actual, dream.dreamt, dream.seen, out))
    return made


# ---- what is not a role -------------------------------------------------------------------------


def _list(config: settings.ListConfig) -> None:
    for run in _module("run", "info").find_runs(Path(config.root)):
        if run.info is None:
            print(f"{run.path}  {run.problem}")
        else:
            logged = "nothing logged" if run.step is None else f"step {run.step}"
            saved = "no checkpoint" if run.checkpoint is None else f"checkpoint {run.checkpoint}"
            print(f"{run.path}  {run.info.created}  {run.info.verb}  {logged}  {saved}")


def _report(config: settings.ReportConfig) -> Path:
    page, runs = _module("report", "page"), [Path(run) for run in config.runs]
    out = Path(config.out) if config.out else page.default_out(runs)
    return page.write_report(runs, out, config.title)


def _view(config: settings.ViewConfig) -> None:
    with _module("report", "serve").Viewer(Path(config.root), config.port) as viewer:
        print(f"{viewer.address}  shows the runs in {config.root}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            viewer.serve_forever()


def _lm_check(config: settings.LMCheckConfig) -> None:
    with _module("lm", "open").opened(config.lm, max_usd=config.max_usd) as lm:
        report = _module("lm", "check").check_lm(lm)
    for promise in report.checked:
        print(f"tried: {promise}")
    if report.problems:
        raise _module("lm", "base").LMError(f"{config.lm}: {'; '.join(report.problems)}")
    print(f"{config.lm}: keeps all {len(report.checked)} promises")


def _env_list(_: settings.EnvListConfig) -> None:
    others = ("reasoning-gym/NAME", "propose/GYMNASIUM_ID", "simulate/STUDY.toml")
    print("\n".join([*_module("envs", "registry").names(), *others]))


def _env_check(config: settings.EnvCheckConfig) -> None:
    check, text_env = _module("envs", "check"), _module("envs", "text_env").TextEnv
    options = {} if config.path is None else {"path": config.path}
    task = _module("envs", "registry").make_task(config.env, split="train", **options)
    check.check_task(task, problems=config.problems)
    for mode in ("whole", "stepwise"):
        check.check_env(text_env(task, mode=mode))
    print(f"{config.env}: {len(task)} training problems; keeps all rules")


_PLANNED = {
    "policy": "PolicyConfig",
    "teacher": "TeacherConfig",
    "optimizer": "OptimizerConfig",
    "world_model": "WorldModelConfig",
    "simulator": "StudyConfig",
}
COMMANDS: dict[str, Command] = {
    "policy train": Command(
        "Train a language model by reinforcement learning.",
        _config("policy", "PolicyConfig"),
        _command("policy", "run_train", "describe"),
        resumable=True,
    ),
    "policy eval": Command(
        "Evaluate any language model on held-out problems.",
        _config("policy", "EvalConfig"),
        _command("policy", "run_eval", "describe"),
    ),
    "policy compare": Command(
        "Algorithms side by side under one budget, with intervals.",
        _config("policy", "CompareConfig"),
        _command("policy", "run_compare", "describe_comparison"),
    ),
    "policy grade": Command(
        "Grade the answers in a JSONL file.",
        _config("policy", "GradeConfig"),
        _command("policy", "run_grade", "describe_grades"),
    ),
    "policy pretrain": Command(
        "Make a small language model from nothing.",
        _config("policy", "PretrainConfig"),
        _command("policy", "run_pretrain"),
        resumable=True,
    ),
    "teacher train": Command(
        "Train a small student that a language model teaches.",
        _config("teacher", "TeacherConfig"),
        _command("teacher", "run_train", "describe"),
        resumable=True,
    ),
    "teacher eval": Command(
        "A teacher's, or a student's, held-out report card.",
        _config("teacher", "EvalConfig"),
        _command("teacher", "run_eval", "describe"),
    ),
    "teacher compare": Command(
        "Teacher, PPO, PPO with it, cloning, side by side.",
        _config("teacher", "CompareConfig"),
        _command("teacher", "run_compare", "describe_comparison", "curves"),
    ),
    "optimizer train": Command(
        "Search a policy's parameters in a control environment.",
        _config("optimizer", "OptimizerConfig"),
        _command("optimizer", "run_train", "describe"),
        resumable=True,
    ),
    "optimizer compare": Command(
        "Proposers side by side under one budget, with intervals.",
        _config("optimizer", "CompareConfig"),
        _command("optimizer", "run_compare", "describe_comparison", "curves"),
    ),
    "optimizer eval": Command(
        "Evaluate a policy that a search has saved.",
        _config("optimizer", "EvalConfig"),
        _command("optimizer", "run_eval", "describe_eval"),
    ),
    "simulator profile": Command(
        "Aggregates of a study's data: all that is told of it.",
        _config("simulator", "ProfileConfig"),
        _command("simulator", "run_profile"),
    ),
    "simulator generate": Command(
        "A cohort of people played by a language model.",
        _config("simulator", "GenerateConfig"),
        _command("simulator", "run_generate", "describe_cohort"),
        resumable=True,
    ),
    "simulator assess": Command(
        "How faithful a cohort is to a reference.",
        _config("simulator", "AssessConfig"),
        _command("simulator", "run_assess", "describe_fidelity"),
    ),
    "simulator learn": Command(
        "A policy from cohorts, offline.",
        _config("simulator", "LearnPolicyConfig"),
        _command("simulator", "run_learn"),
    ),
    "simulator evaluate": Command(
        "Judge policies off-policy, or say that one cannot tell.",
        _config("simulator", "JudgePoliciesConfig"),
        _command("simulator", "run_evaluate", "describe_verdict"),
    ),
    "simulator run": Command(
        "All of it: a cohort, its fidelity, policies, the verdict.",
        _config("simulator", "StudyConfig"),
        _command("simulator", "run_study", "describe_study"),
        resumable=True,
    ),
    "world_model train": Command(
        "Learn a latent world model and act by training inside it.",
        _config("world_model", "WorldModelConfig"),
        _command("world_model", "run_train", "describe"),
        resumable=True,
    ),
    "world_model eval": Command(
        "Held-out episodes of a trained agent, and a dream.",
        _config("world_model", "EvalConfig"),
        _dreaming,
    ),
    "world_model compare": Command(
        "Sequence cores side by side under one budget.",
        _config("world_model", "CompareConfig"),
        _command("world_model", "run_compare", "describe_comparison", "curves"),
    ),
    "compare": _above("compare", "Grids of runs, and one table.", "GridConfig", "run_compare"),
    "compare table": _above("compare", "A grid's table once more.", "TableConfig", "run_table"),
    "sweep": _above("sweep", "Settings × seeds, on workers.", "SweepConfig", "run_sweep"),
    "tune": Command(
        "Search a role's settings, on workers.",
        lambda: _module("sweep", "tune_config").TuneConfig,
        _command("sweep", "run_tune", "describe"),
    ),
    "slurm": _above("sweep", "Print a Slurm job for a sweep.", "SlurmConfig", "make_job"),
    **{
        f"plan {role}": Command(
            "What a run would take.",
            _config(role, name),
            _command("plan", f"plan_{role}", "describe"),
        )
        for role, name in _PLANNED.items()
    },
    "demo": _above("demo", "All five roles, small and offline.", "DemoConfig", "run_demo"),
    "report": Command(
        "One page about runs: curves, answers, failures, costs.",
        lambda: settings.ReportConfig,
        _report,
    ),
    "view": Command(
        "Show runs in a browser, while they train.", lambda: settings.ViewConfig, _view
    ),
    "lm check": Command(
        "See that a model keeps its promises.", lambda: settings.LMCheckConfig, _lm_check
    ),
    "env list": Command("List the environments.", lambda: settings.EnvListConfig, _env_list),
    "env check": Command(
        "See that an environment is sound.", lambda: settings.EnvCheckConfig, _env_check
    ),
    "ls": Command("List runs.", lambda: settings.ListConfig, _list),
}


def main(argv: Sequence[str] | None = None, commands: Mapping[str, Command] = COMMANDS) -> int:
    """Runs one command; returns the exit code.

    0 is success, 2 an error of the user's, 130 and 143 an end by SIGINT and SIGTERM.
    """
    try:
        made = dispatch(list(sys.argv[1:] if argv is None else argv), commands)
        if made is not None:
            print(made)
        sys.stdout.flush()
    except UnderstudyError as error:
        print(f"understudy: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code if isinstance(error, Stopped) else 2
    except KeyboardInterrupt:
        print("understudy: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def dispatch(args: list[str], commands: Mapping[str, Command] = COMMANDS) -> Path | None:
    """Runs one command; returns the path of what it made, if any."""
    if args[:1] == ["--version"]:
        print(f"understudy {__version__}")
        return None
    if not args or args[0] in ("-h", "--help"):
        print(_usage({**commands, "resume RUN": _RESUME}))
        return None
    if args[0] == "resume":
        return _resume(args[1:], commands)
    for length in (2, 1):
        name = " ".join(args[:length])
        if name in commands and len(args) >= length:
            command = commands[name]
            config = load(command.config(), args[length:], prog=f"understudy {name}")
            return command.run(config)
    verbs = {name: command for name, command in commands.items() if name.split()[0] == args[0]}
    if verbs and (len(args) == 1 or args[1] in ("-h", "--help")):
        print(_usage(verbs))
        return None
    raise ConfigError(_unknown(args, verbs or commands))


def _resume(args: list[str], commands: Mapping[str, Command]) -> Path | None:
    """Calls a run's own command again, with its configuration and whatever flags are added."""
    if not args or args[0].startswith("-"):
        raise ConfigError("resume needs a run directory: understudy resume RUN; `ls` lists runs")
    folder = Path(args[0])
    info = _module("run", "info").read_info(folder)
    name = f"{info.role} {info.verb}"
    command = commands.get(name)
    if command is None or not command.resumable:
        raise RunError(f"{folder}: a run of `{name}` cannot be resumed")
    flags = ["--config", str(folder / "config.toml"), *args[1:], "--run.resume", str(folder)]
    return command.run(load(command.config(), flags, prog="understudy resume RUN"))


_RESUME = Command("Continue a run from its newest checkpoint.", lambda: object, lambda _: None)


def _usage(commands: Mapping[str, Command]) -> str:
    width = max(len(name) for name in commands)
    lines = [f"  {name:{width}}  {command.summary}" for name, command in commands.items()]
    end = "understudy COMMAND --help tells its settings."
    return "\n".join(["usage: understudy COMMAND …", "", *lines, "", end])


def _unknown(args: Sequence[str], commands: Mapping[str, Command]) -> str:
    name = " ".join(word for word in args[:2] if not word.startswith("-"))
    names = [*commands, "resume"]
    close = difflib.get_close_matches(name, names, 1) or difflib.get_close_matches(
        args[0], [known.split()[0] for known in names], 1
    )
    hint = f"did you mean '{close[0]}'?" if close else "understudy --help lists the commands"
    return f"unknown command {name[:60]!r}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
