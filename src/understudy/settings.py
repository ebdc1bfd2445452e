"""The settings of the commands that belong to no role; read before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from understudy.run.errors import ConfigError
from understudy.run.fields import PositiveFloat, PositiveInt, Range


@dataclass(frozen=True)
class ListConfig:
    """Lists the runs below a directory, oldest first."""

    POSITIONAL: ClassVar = ("root",)

    root: str = "runs"
    """Where to look."""


@dataclass(frozen=True)
class ReportConfig:
    """Writes one page about runs: curves, answers, failures, videos, costs; it needs no network."""

    POSITIONAL: ClassVar = ("runs",)

    runs: tuple[str, ...] = ()
    """Run directories, directories with a compare.json, or the compare.json itself."""
    out: str | None = None
    """The file; by default report.html in the first of them."""
    title: str = ""
    """Above the page; by default what it is about."""

    def check(self) -> None:
        """Raises ConfigError where nothing is to be reported."""
        if not self.runs:
            raise ConfigError(
                "report needs a run directory: understudy report RUN; `ls` lists runs"
            )


@dataclass(frozen=True)
class ViewConfig:
    """Serves the runs below a directory as pages that follow them, on this machine alone."""

    POSITIONAL: ClassVar = ("root",)

    root: str = "runs"
    """Where to look."""
    port: Annotated[int, Range(low=0, high=65535)] = 0
    """Where to listen; 0 takes a free port."""


@dataclass(frozen=True)
class LMCheckConfig:
    """Tries every promise of a language model with about 60 short answers."""

    POSITIONAL: ClassVar = ("lm",)

    lm: str = "pocket"
    """Any language model: pocket, hf:…, openai:…, http://host:port/v1#MODEL, replay:FILE."""
    max_usd: PositiveFloat = 0.05
    """Most to spend."""


@dataclass(frozen=True)
class EnvListConfig:
    """Lists the language environments."""


@dataclass(frozen=True)
class EnvCheckConfig:
    """Checks a language environment: Gymnasium's own checks, seeded resets, worked answers."""

    POSITIONAL: ClassVar = ("env",)

    env: str = "word-problems"
    """Which; `understudy env list` names them."""
    path: str | None = None
    """JSONL file of the problems, where the environment needs one."""
    problems: PositiveInt = 100
    """Problems whose worked answers are graded, where the task can write them."""
