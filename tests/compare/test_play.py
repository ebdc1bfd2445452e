"""How the runs of a grid or a sweep are played."""

import os
import signal
from pathlib import Path

import pytest

from understudy.compare.config import GridConfig
from understudy.compare.play import Ending, play_all
from understudy.run.config import load
from understudy.run.errors import Stopped
from understudy.run.executors import Processes


class _Told(Processes):
    """Gets SIGTERM; its workers, who are told in another way, end as by SIGINT."""

    def each(self, work, items, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        yield 0, Ending(signal=130)


def test_the_exit_code_is_of_the_signal_that_came_here(tmp_path: Path) -> None:
    config = load(GridConfig, ["--optimizer.envs", '["CartPole-v1"]', "--root", str(tmp_path)])
    cells = config.cells(str(tmp_path))
    with _Told(2) as executor, pytest.raises(Stopped, match=r"0 of \d+ runs are done") as error:
        play_all(cells, tmp_path, executor, label="grid", progress=False)
    assert error.value.exit_code == 143
