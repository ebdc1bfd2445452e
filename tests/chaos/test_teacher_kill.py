"""Teacher training under SIGKILL: whatever the instant, a resumed run is the run that was not killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.same import assert_same
from tests.roles.teacher.processes import CASES, path
from understudy.roles.teacher.summary import REPORT_CARD

KILLS = 8


@pytest.mark.timeout(900)
def test_many_kills_change_no_bit(tmp_path: Path) -> None:
    pytest.importorskip("minigrid")
    done = subprocess.run(
        [sys.executable, "-m", "tests.roles.teacher.processes", str(tmp_path), str(KILLS), "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kills, attempts = map(int, done.stdout.split())
    assert kills >= KILLS
    for case in CASES:
        whole = path(tmp_path, case, f"{case}-whole")
        card = [] if case == "ppo" else [REPORT_CARD]
        for attempt in range(attempts):
            assert_same(whole, path(tmp_path, case, f"{case}-killed-{attempt}"), card)
