"""API keys: read from the environment, never shown."""

from __future__ import annotations

import os

from understudy.lm.base import LMError


class Secret:
    """A string that prints as `***`, so that no log, repr or traceback can show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    @classmethod
    def from_env(cls, variable: str, *, required_by: str | None = None) -> Secret:
        """Reads an environment variable; empty when unset.

        Args:
            variable: Its name.
            required_by: Who cannot do without it.

        Raises:
            LMError: `required_by` is given and the variable is unset or empty, or its value cannot
                stand in a header.
        """
        text = os.environ.get(variable, "").strip()
        if required_by and not text:
            raise LMError(
                f"{required_by} needs an API key: set the environment variable {variable}"
            )
        if not (text.isascii() and (text == "" or text.isprintable())):
            raise LMError(f"the environment variable {variable} holds characters no API key has")
        return cls(text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")

    def reveal(self) -> str:
        """The string itself, for the one place that sends it."""
        return self._text

    def redact(self, data: bytes) -> bytes:
        """`data` without the secret: a server may echo it in an error or an answer."""
        return data.replace(self._text.encode(), b"***") if self._text else data
