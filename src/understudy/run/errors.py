"""What can go wrong with a configuration or a run directory, each told in one line."""

from understudy.types import UnderstudyError


class ConfigError(UnderstudyError):
    """A configuration that cannot be used; names the key, where it stands and what would do."""


class RunError(UnderstudyError):
    """A run directory that cannot be written, read or continued; names the path."""


class Stopped(UnderstudyError):
    """SIGINT or SIGTERM ended a run early, in good order."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """130 after SIGINT, 143 after SIGTERM."""
