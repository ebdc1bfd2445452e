"""`understudy view` shows runs to this machine, and nothing else to anyone."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report import runs
from understudy.report.serve import Viewer
from understudy.run.errors import RunError


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    root = tmp_path / "root"
    runs.start(root / "policy" / "env" / "first run")
    runs.start(tmp_path / "outside")
    (tmp_path / "secret.json").write_text("secret")
    rows = [{"algorithm": "grpo", "run": str(tmp_path / "outside")}]
    (tmp_path / "compare.json").write_text(json.dumps(rows))
    (root / "compare.json").symlink_to(tmp_path / "compare.json")
    (root / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    with Viewer(root) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(
    viewer: Viewer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, str]:
    """Status and body; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{viewer.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


RUN = "/run/policy/env/first%20run"


def test_it_lists_runs_and_shows_them(viewer: Viewer):
    status, body = ask(viewer, "/")
    assert status == 200
    assert f'href="{RUN}"' in body
    status, body = ask(viewer, RUN)
    assert status == 200
    assert "75.0 %" in body
    assert "connect-src 'self'" in body
    assert ask(viewer, RUN, host=f"localhost:{viewer.server_port}")[0] == 200
    assert ask(viewer, RUN, method="HEAD") == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        "/run/../../secret.json", "/run/%2e%2e/%2e%2e/secret.json", "/run/..%2f..%2foutside", "/run//etc/passwd",
        "/run/policy/env/first%20run/metrics.jsonl", "/run/policy/env/first%20run/../first%20run",
        "/run/linked", "/run/compare.json", "/run/", "/stamp/run/../../outside", "/stamp/etc", "//etc/passwd", "/run/%00", "/run/%ff",
        "/favicon.ico",
    ],
)  # fmt: skip
def test_no_address_leads_anywhere_else(viewer: Viewer, path: str):
    status, body = ask(viewer, path)
    assert status == 404
    assert "secret" not in body
    assert "75.0 %" not in body


@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "127.0.0.1", "127.0.0.1:1", "[::1]"])
def test_another_name_for_this_server_is_refused(viewer: Viewer, host: str):
    status, body = ask(viewer, RUN, host=host)
    assert status == 403
    assert "75.0 %" not in body


def test_nothing_can_be_sent(viewer: Viewer):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(viewer, RUN, method=method)[0] == 501


def test_it_listens_on_the_loopback_address_alone(viewer: Viewer):
    assert viewer.socket.getsockname()[0] == "127.0.0.1"
    assert viewer.address == f"http://127.0.0.1:{viewer.server_port}/"


def test_the_stamp_changes_with_the_run(viewer: Viewer):
    for page in (RUN, "/"):
        before = ask(viewer, f"/stamp{page}")
        assert before[0] == 200
        assert ask(viewer, f"/stamp{page}") == before
        with (viewer.root / "policy/env/first run/metrics.jsonl").open("a") as file:
            file.write(json.dumps(runs.evaluation(30, 0.8)) + "\n")
        assert ask(viewer, f"/stamp{page}") != before
    assert "80.0 %" in ask(viewer, RUN)[1]


def test_a_taken_port_and_a_missing_directory_are_one_clear_line(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RunError, match=r"port .*takes a free one"):
            Viewer(tmp_path, other.getsockname()[1])
    with pytest.raises(RunError, match="no such directory"):
        Viewer(tmp_path / "missing")
