"""Thousands of calls over a line that fails all the time, with a kill in the middle."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.client import QUICK, prompts, requests
from tests.chaos.server import FAULTS, answer_to, chaos_server
from understudy.lm.base import BudgetExceeded
from understudy.lm.cache import Cache
from understudy.lm.endpoint import EndpointLM
from understudy.lm.ledger import Ledger, Price

CALLS = 2000


def start_client(url: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.client", url, str(folder), str(CALLS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
    )


def attempts(folder: Path) -> list[tuple[str, str]]:
    """(prompt, state) of every attempt, in the order in which they were begun."""
    db = sqlite3.connect(folder / "cache.sqlite")
    by_key = {
        key: json.loads(text)["messages"][-1][1]
        for key, text in db.execute("SELECT key, request FROM answers")
    }
    rows = db.execute("SELECT key, state FROM attempts ORDER BY id").fetchall()
    db.close()
    return [(by_key.get(key, key), state) for key, state in rows]


def test_a_kill_among_faults_loses_nothing_and_buys_nothing_twice(tmp_path):
    with chaos_server(fault_rate=0.4, seed=7) as server:
        client = start_client(server.url, tmp_path)
        deadline = time.monotonic() + 120
        while sum(server.delivered.values()) < CALLS // 3 and time.monotonic() < deadline:
            assert client.poll() is None, client.stderr.read()
            time.sleep(0.01)
        os.kill(client.pid, signal.SIGKILL)
        client.communicate()
        at_kill = attempts(tmp_path)
        in_flight = sum(state == "sent" for _, state in at_kill)
        answered = {prompt for prompt, state in at_kill if state == "done"}
        received_at_kill = {prompt: server.received[prompt] for prompt in answered}
        assert 0 < len(answered) < CALLS
        assert in_flight <= 64

        client = start_client(server.url, tmp_path)
        out, err = client.communicate(timeout=240)
        assert client.returncode == 0, err

    # nothing is lost or mixed up
    assert out.split("\n")[:-1] == [answer_to(prompt) for prompt in prompts(CALLS)]
    # what was answered before the kill was not sent again
    assert {prompt: server.received[prompt] for prompt in answered} == received_at_kill
    rows = attempts(tmp_path)
    states = Counter(state for _, state in rows)
    # one answer received and paid for by each prompt, and nothing sent after it
    assert Counter(p for p, state in rows if state == "done") == Counter(prompts(CALLS))
    last = dict(rows)
    assert set(last.values()) == {"done"}
    # the server's bill: all that is done, all that is unknown because of a fault of ours, and those
    # of the requests cut off by the kill that had reached it
    assert states["sent"] == in_flight
    certain = states["done"] + states["unknown"]
    assert certain <= sum(server.billed.values()) <= certain + in_flight
    assert states["done"] <= sum(server.delivered.values()) <= states["done"] + in_flight
    # every fault was met, and the repetition stayed near 1 / (1 - 0.4)
    assert set(server.met) == {"", *FAULTS}
    assert sum(server.received.values()) / CALLS < 1.8

    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["done"] == CALLS
    assert ledger["cached"] == len(answered)
    assert ledger["unknown"] == states["unknown"] + states["sent"]
    assert ledger["refused"] == states["refused"]


def test_without_a_kill_the_ledger_is_the_servers_bill(tmp_path):
    ledger = Ledger(Cache(tmp_path / "cache.sqlite"))
    with (
        chaos_server(fault_rate=0.4, seed=3, faults={**FAULTS, "slow": 0}) as server,
        EndpointLM(server.url, "m", ledger=ledger, max_in_flight=32, retry=QUICK) as lm,
    ):
        lm.chat(requests(200))
        billed, received = server.billed, server.received
    rows = attempts(tmp_path)
    assert Counter(p for p, state in rows if state != "refused") == billed
    assert Counter(p for p, _ in rows) == received
    assert ledger.summary()["done"] == 200


@pytest.mark.parametrize("cap", ["usd", "tokens"])
def test_no_cap_is_passed_with_64_in_flight(tmp_path, cap):
    # the server bills 10 + 5 tokens a call: at $1 and $2 per million that is 20 microdollars
    caps = {"max_usd": 0.008} if cap == "usd" else {"max_tokens": 6000}
    ledger = Ledger(Cache(tmp_path / "cache.sqlite"), prices={"m": Price(1.0, 2.0)}, **caps)
    with (
        chaos_server(fault_rate=0.2, seed=5, latency=0.2, faults={"500": 1, "reset": 1}) as server,
        EndpointLM(server.url, "m", ledger=ledger, max_in_flight=64, retry=QUICK) as lm,
    ):
        with pytest.raises(BudgetExceeded, match=f"pass --max-{cap}"):
            lm.chat(requests(400))
        billed = sum(server.billed.values())
    total = ledger.summary()
    assert billed == total["done"] + total["unknown"]
    worst = 10 + 9 + 16 + 64  # no unknown attempt can have cost more prompt tokens than this
    assert total["usd"] <= 0.008 if cap == "usd" else total["prompt_tokens"] <= 6000
    spent = total["usd"] if cap == "usd" else total["prompt_tokens"] + total["completion_tokens"]
    limit = 0.008 if cap == "usd" else 6000
    one_call = (worst + 2 * 16) / 1e6 if cap == "usd" else worst + 16
    # not above the cap, and not stopped while one more call would have fitted
    assert limit - one_call - 15 * (cap == "tokens") <= spent <= limit
    assert server.most_in_flight > 8
