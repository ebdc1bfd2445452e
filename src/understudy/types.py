"""The records every layer passes on, and the one error they share. No imports from the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


class UnderstudyError(Exception):
    """Something the user can mend; the text is one clear line, shown without a traceback."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a language model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What some calls to a language model cost."""

    calls: int = 0
    """Calls that reached the model."""
    cached_calls: int = 0
    """Calls answered from the cache, which cost nothing."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Time spent waiting for the model."""
    usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """The tokens behind an episode's actions, exactly as they were sampled.

    All sequences but `prompt_ids` have length L, the tokens that follow the prompt.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural-log probability of each token under the distribution it was drawn from."""
    sampled: tuple[bool, ...]
    """False where the environment put the token there (calculator results, observations)."""
    steps: tuple[int, ...]
    """The environment step (0 .. T-1) whose action each token belongs to."""


@dataclass(frozen=True, slots=True)
class Episode:
    """T steps in one environment: T actions and rewards, T + 1 observations."""

    env: str
    observations: tuple[Any, ...]
    actions: tuple[Any, ...]
    rewards: tuple[float, ...]
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the environment said of the episode: problem id, grade, …"""
    tokens: TokenTrace | None = None
    schema_version: int = 1
