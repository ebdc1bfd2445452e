"""What executors are given to do, in new processes: small, and imported without torch."""

import os
import signal
import sys
import time
from pathlib import Path

from understudy.run.executors import Processes


def square(number: int) -> int:
    time.sleep(0.05 if number % 2 else 0.0)
    return number * number


def dies_once(path: str) -> str:
    """Its process kills itself where the file is not yet there."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def raises(number: int) -> int:
    if number:
        raise ValueError(f"no {number}")
    return number


def until_told(folder: str) -> str:
    """Waits for SIGTERM, as a run does."""
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    Path(folder, str(os.getpid())).touch()
    while not came:
        time.sleep(0.01)
    return "told"


if __name__ == "__main__":
    with Processes(2) as executor:
        list(executor.each(until_told, [sys.argv[1]] * 2))
