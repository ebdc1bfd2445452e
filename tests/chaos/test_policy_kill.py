"""Policy training under SIGKILL: whatever the instant, a resumed run is the run that was not killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.processes import CASES, path, prepare
from tests.roles.same import assert_same

KILLS = 20


@pytest.mark.timeout(900)
def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    prepare(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.roles.processes", str(tmp_path), str(KILLS), "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kills, attempts = map(int, done.stdout.split())
    assert kills >= KILLS
    for case in CASES:
        for attempt in range(attempts):
            assert_same(path(tmp_path, f"{case}-whole"), path(tmp_path, f"{case}-killed-{attempt}"))
