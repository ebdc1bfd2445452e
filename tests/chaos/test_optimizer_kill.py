"""A search with a language model under SIGKILL: nothing is asked twice, and no bit is another."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.server import chaos_server
from tests.roles.optimizer.processes import CASES, path
from tests.roles.optimizer.scripted import Scripted
from understudy.run.checkpoint import load

KILLS = 6
SAME = ("metrics.jsonl", "trials.jsonl", "best_policy.json", "result.json")


@pytest.mark.timeout(600)
def test_many_kills_ask_nothing_twice_and_change_no_bit(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted(), latency=0.02) as server:
        done = subprocess.run(
            [sys.executable, "-m", "tests.roles.optimizer.processes", str(tmp_path), server.url,
             str(KILLS), "0"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    kills, attempts = map(int, done.stdout.split())
    assert kills >= KILLS
    asked = Counter(_question(body) for body in server.bodies)
    for case in CASES:
        whole = path(tmp_path, case, f"{case}-whole")
        assert _answers(whole) >= 8
        for attempt in range(attempts):
            other = path(tmp_path, case, f"{case}-killed-{attempt}")
            for name in SAME:
                assert (whole / name).read_bytes() == (other / name).read_bytes(), (other, name)
            a, b = load(whole / "checkpoints"), load(other / "checkpoints")
            assert a is not None
            assert b is not None
            assert (a.step, a.state) == (b.step, b.state)
            mine = {q: n for q, n in asked.items() if q[0] == other.name}
            # Each question has one answer in the books. Where it was asked more often, the process
            # was killed before it heard the answer, and the books have that as unknown.
            assert len(mine) == _answers(other) == _answers(whole)
            assert sum(mine.values()) <= _answers(other) + _books(other)["unknown"]


def _question(body: dict) -> tuple[str, str, int]:
    return body["model"], body["messages"][-1]["content"], body["seed"]


def _books(run: Path) -> dict:
    return json.loads((run / "lm" / "ledger.json").read_text())


def _answers(run: Path) -> int:
    return _books(run)["done"]
