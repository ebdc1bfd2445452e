"""Every item gets one answer, in any order, from whatever process, also when processes die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweep import jobs
from understudy.run.config import ConfigError
from understudy.run.executors import RETRIES, Died, Processes, Serial, signals
from understudy.run.open_executor import opened


def test_all_give_the_same_answers():
    wanted = [(i, i * i) for i in range(9)]
    with Serial() as executor:
        assert list(executor.each(jobs.square, range(9))) == wanted
    with Processes(2) as executor:
        for _ in range(2):  # the processes are kept
            assert sorted(executor.each(jobs.square, range(9))) == wanted


def test_an_item_is_begun_again_where_its_process_died(tmp_path: Path):
    files = [str(tmp_path / str(i)) for i in range(3)]
    with Processes(2) as executor:
        assert sorted(executor.each(jobs.dies_once, files)) == list(enumerate(files))


def test_one_that_always_dies_is_given_up_and_takes_no_other_with_it():
    with Processes(2) as executor:
        found = dict(executor.each(jobs.dies, range(4)))
    assert found == {0: 0, 1: Died(RETRIES + 1), 2: 2, 3: 3}
    assert str(found[1]) == "its process died 3 times"


def test_what_work_raises_ends_the_whole():
    with pytest.raises(ValueError, match=r"no [123]"), Processes(2) as executor:
        list(executor.each(jobs.raises, range(4)))


def test_a_stop_begins_no_more_and_tells_those_at_work(tmp_path: Path):
    def told() -> bool:
        return len(list(tmp_path.iterdir())) == 2

    with Processes(2) as executor:
        found = list(executor.each(jobs.until_told, [str(tmp_path)] * 5, told))
    assert sorted(found) == [(0, "told"), (1, "told")]


def test_workers_do_not_outlive_their_leader(tmp_path: Path):
    leader = subprocess.Popen([sys.executable, "-m", jobs.__name__, str(tmp_path)], env=_env())
    try:
        while len(list(tmp_path.iterdir())) < 2:
            assert leader.poll() is None
            time.sleep(0.02)
    finally:
        leader.kill()
        leader.wait()
    pids = [int(file.name) for file in tmp_path.iterdir()]
    for _ in range(200):
        if not any(_alive(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise AssertionError("a worker is still there")


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_signals_are_noted_and_then_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with signals() as came:
        os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before
    with signals(catch=False):
        assert signal.getsignal(signal.SIGTERM) == before


def test_what_is_opened():
    assert isinstance(opened(), Serial)
    assert isinstance(opened(3), Processes)
    with pytest.raises(ConfigError, match="needs --ray"):
        opened(0)
