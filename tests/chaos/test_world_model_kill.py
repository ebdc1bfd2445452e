"""World-model training under SIGKILL: whatever the instant, a resumed run is one that was not killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.same import assert_same
from tests.roles.world_model.processes import CASES, path
from understudy.roles.world_model.summary import PARAMETERS

KILLS = 6


@pytest.mark.timeout(900)
def test_many_kills_change_no_bit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.roles.world_model.processes", str(tmp_path), str(KILLS), "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kills, attempts = map(int, done.stdout.split())
    assert kills >= KILLS
    for case in CASES:
        whole = path(tmp_path, case, f"{case}-whole")
        for attempt in range(attempts):
            killed = path(tmp_path, case, f"{case}-killed-{attempt}")
            assert_same(whole, killed, [PARAMETERS])
