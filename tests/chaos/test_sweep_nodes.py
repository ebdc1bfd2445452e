"""A sweep on two Ray nodes that see each other over a wire alone: each in a network namespace of its own."""

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

import understudy
from tests.sweep.twenty import Killer, arguments, runs, same, whole_but_for_a_kill

SPACES = ("understudy-a", "understudy-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 6379
TOKEN = secrets.token_hex(32)
"""Who has it may join."""
RAY = Path(sys.executable).with_name("ray")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def spaces() -> Generator[None]:
    """Two namespaces and the wire between them."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command `ip`")
    try:
        for name in SPACES:
            _ip("netns", "add", name)
        _ip("link", "add", "understudy0", "netns", SPACES[0], "type", "veth",
            "peer", "name", "understudy1", "netns", SPACES[1])  # fmt: skip
        for name, address, end in zip(
            SPACES, ADDRESSES, ("understudy0", "understudy1"), strict=True
        ):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for link in ("lo", end):
                _ip("-n", name, "link", "set", link, "up")
    except PermissionError as error:
        _remove()
        pytest.skip(f"network namespaces are not permitted here: {error}")
    yield
    _remove()


def _remove() -> None:
    for name in SPACES:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _inside(space: str, *words: str, folder: Path, seconds: float = 240) -> str:
    """What a command in a namespace says; it must succeed."""
    env = {
        **os.environ, "PYTHONPATH": str(Path(understudy.__file__).parents[1]),
        "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
    }  # fmt: skip
    done = subprocess.run(
        ["ip", "netns", "exec", space, *words],
        cwd=folder, env=env, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Watcher(threading.Thread):
    """Notes in which namespaces processes have held runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.seen: dict[str, set[str]] = {}
        """Namespace → runs."""
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            for run in runs(self.folder):
                lock = run / ".lock"
                pid = lock.read_text() if lock.exists() and not (run / "finished").exists() else ""
                try:
                    space = os.readlink(f"/proc/{pid}/ns/net") if pid else ""
                except FileNotFoundError:
                    continue
                if space:
                    self.seen.setdefault(space, set()).add(run.name)


@pytest.fixture
def cluster(spaces: None, tmp_path: Path) -> Generator[str]:
    """The address of a head in the first namespace with a node in the second; a core each."""
    few = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
    head = ["--head", f"--port={PORT}", "--include-dashboard=false"]
    address = f"{ADDRESSES[0]}:{PORT}"
    try:
        for space, own, role in zip(
            SPACES, ADDRESSES, (head, [f"--address={address}"]), strict=True
        ):
            _inside(
                space, str(RAY), "start", *role, f"--node-ip-address={own}", *few, folder=tmp_path
            )
        yield address
    finally:
        for pid in _pids():
            os.kill(pid, 9)


def _pids() -> list[int]:
    """Everything that lives in the namespaces."""
    found: list[int] = []
    for name in SPACES:
        words = ["ip", "netns", "pids", name]
        listed = subprocess.run(words, capture_output=True, text=True).stdout.split()
        found += [int(pid) for pid in listed]
    return found


@pytest.mark.timeout(600)
def test_two_nodes_make_the_runs_of_one_process_though_a_worker_is_killed(
    cluster: str, tmp_path: Path
):
    one, two = tmp_path / "one", tmp_path / "two"
    words = [sys.executable, "-m", "understudy.cli"]
    _inside(SPACES[0], *words, *arguments(one), folder=one)
    args, watcher = arguments(two, "--ray", cluster, "--workers", "0"), Watcher(two)
    watcher.start()
    began = time.monotonic()
    with Killer(two) as killer:
        _inside(SPACES[0], *words, *args, folder=two)
    watcher.over.set()
    watcher.join()
    print(
        f"{time.monotonic() - began:.0f} s; runs by node: {[len(s) for s in watcher.seen.values()]}"
    )
    whole_but_for_a_kill(killer)
    same(one, two)
    assert len(watcher.seen) == 2, "one node did it all"
