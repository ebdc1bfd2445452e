"""A run directory: one writer, never overwritten, resumed as if nothing had happened."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.run.configs import ToyConfig
from tests.run.toy import train
from understudy.run import run as module
from understudy.run.config import RunConfig, load
from understudy.run.errors import ConfigError, RunError, Stopped
from understudy.run.info import find_runs, read_info
from understudy.run.run import Run

TOY = ["-m", "tests.run.toy", "toy", "train"]


def _config(root: Path, **changes: Any) -> ToyConfig:
    run = RunConfig(root=str(root), checkpoint_every=5, **changes.pop("run", {}))
    return replace(ToyConfig(run=run), **changes)


def _create(config: ToyConfig) -> Run:
    return Run.create("toy", config.env, config, config.run)


def _result(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """What must be equal to the bit: the metrics and the newest checkpoint."""
    step = json.loads((path / "checkpoints" / "latest").read_bytes())["step"]
    files = (path / "checkpoints" / str(step)).iterdir()
    return (path / "metrics.jsonl").read_bytes(), {file.name: file.read_bytes() for file in files}


def test_layout(tmp_path: Path) -> None:
    config = _config(tmp_path, env="propose/cartpole", seed=3, steps=7)
    path = train(config)
    assert path.parent == tmp_path / "toy" / "propose-cartpole"
    assert re.fullmatch(r"\d{8}-\d{6}-s3", path.name)
    names = {p.name for p in path.iterdir() if "tfevents" not in p.name}
    assert names == {
        ".lock", "config.toml", "run.json", "metrics.jsonl", "timing.jsonl",
        "checkpoints", "lm", "episodes", "media", "finished",
    }  # fmt: skip
    assert load(ToyConfig, ["--config", str(path / "config.toml")]) == config
    info = read_info(path)
    assert (info.role, info.verb, info.env, info.seed) == ("toy", "train", "propose/cartpole", 3)
    assert info.command == ["toy"]
    assert info.threads == torch.get_num_threads()
    assert (
        info.versions["torch"] == torch.__version__.split("+")[0] or "+" in info.versions["torch"]
    )
    assert len((path / "metrics.jsonl").read_text().splitlines()) == 7


def test_runs_of_one_second_do_not_collide(tmp_path: Path) -> None:
    paths = set[Path]()
    for _ in range(3):
        with _create(_config(tmp_path)) as run:
            paths.add(run.path)
    assert len(paths) == 3


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    config = _config(tmp_path, run={"name": "one"})
    _create(config).close()
    before = (tmp_path / "toy/toy/one/run.json").read_bytes()
    with pytest.raises(RunError, match=r"toy/toy/one: exists; choose another --run.name"):
        _create(config)
    assert (tmp_path / "toy/toy/one/run.json").read_bytes() == before


def test_one_writer(tmp_path: Path) -> None:
    with _create(_config(tmp_path)) as run:
        code = f"from pathlib import Path; from understudy.run.run import Run; Run.open(Path({str(run.path)!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1
        expected = f"{run.path}: another process (pid {os.getpid()}) is writing this run"
        assert done.stderr.splitlines()[-1].endswith(expected)
        with pytest.raises(RunError, match="another process"):
            Run.open(run.path)
    Run.open(run.path).close()


@pytest.mark.parametrize("root", ["file/runs", "/proc/runs", "file"])
def test_places_that_cannot_be_written(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(RunError, match=f"^{root}") as caught:
        _create(_config(Path(root)))
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told_before_the_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunError, match=rf"^{tmp_path}/toy/toy: 64 MB needed, 1 MB free$"):
        _create(_config(tmp_path))


def test_a_missing_logger_is_told_before_the_run_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs wandb"):
        _create(_config(tmp_path, run={"logger": "wandb"}))
    assert list(tmp_path.iterdir()) == []


def test_half_plus_half_is_the_whole_to_the_bit(tmp_path: Path) -> None:
    whole = train(_config(tmp_path, steps=20))
    half = train(_config(tmp_path, steps=10))
    config = _config(tmp_path, steps=20)
    again = train(replace(config, run=replace(config.run, resume=str(half))))
    assert again == half
    assert _result(half) == _result(whole)
    resumed = load(ToyConfig, ["--config", str(half / "config.toml")])
    assert (resumed.steps, resumed.run.resume) == (20, None)


def test_a_resume_without_any_checkpoint_starts_again(tmp_path: Path) -> None:
    with _create(_config(tmp_path, steps=6)) as run:
        run.log(1, {"mean": 1e9})
        run.log(2, {"mean": 1e9})
    config = _config(tmp_path, steps=6)
    train(replace(config, run=replace(config.run, resume=str(run.path))))
    assert _result(run.path) == _result(train(config))


def test_a_resume_past_a_damaged_checkpoint_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = train(_config(tmp_path, steps=12))
    expected = _result(path)
    damaged = path / "checkpoints" / "12" / "walk.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    config = _config(tmp_path, steps=12)
    train(replace(config, run=replace(config.run, resume=str(path))))
    assert caplog.messages == [
        f"{damaged}: damaged; an older checkpoint is used where this one was needed"
    ]
    assert _result(path) == expected


def test_another_number_of_threads_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = train(_config(tmp_path, steps=1))
    monkeypatch.setattr(module.checkpoints, "threads", lambda: 77)
    Run.open(path).close()
    assert "and now has 77" in caplog.text


def test_a_resumed_run_goes_on_as_it_was(tmp_path: Path) -> None:
    path = train(_config(tmp_path, steps=5))
    config = _config(tmp_path, steps=5, learning_rate=0.5, run={"resume": str(path)})
    with pytest.raises(
        RunError, match=r"was started with learning_rate = 0.001, not 0.5; .* steps, run"
    ):
        train(config)
    Run.open(path).close()  # it is not left locked


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not a run directory (it has no run.json)"),
        (b"{", "run.json: damaged"),
        (b"[]", "run.json: damaged"),
        (b'{"schema": 1}', "run.json: damaged"),
        (b'{"schema": 9}', "written in format 9; this version reads 1"),
    ],
)
def test_what_is_no_run(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=re.escape(words)):
        Run.open(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_find_runs(tmp_path: Path) -> None:
    path = train(_config(tmp_path, steps=7))
    (tmp_path / "toy" / "toy" / "bad").mkdir()
    (tmp_path / "toy" / "toy" / "bad" / "run.json").write_text("{")
    bad, good = find_runs(tmp_path)
    assert bad.problem
    assert (good.path, good.step, good.checkpoint) == (path, 7, 7)
    with pytest.raises(RunError, match="no such directory"):
        find_runs(tmp_path / "nowhere")


# ---- signals ------------------------------------------------------------------------------------


def _signalled(run: Run, *signals: signal.Signals, error: Exception | None = None) -> None:
    with run:
        assert not run.stop_requested
        for number in signals:
            os.kill(os.getpid(), number)
            assert run.stop_requested
        if error is not None:
            raise error


def test_a_signal_asks_for_a_stop_and_a_second_interrupts(tmp_path: Path) -> None:
    run = _create(_config(tmp_path))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="stopped by SIGTERM; to go on: understudy resume") as caught:
        _signalled(run, signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        _signalled(Run.open(run.path), signal.SIGINT, signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        _signalled(Run.open(run.path), signal.SIGINT, error=ZeroDivisionError())
    Run.open(run.path).close()


def _started(root: Path) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in root.glob("toy/toy/*/media/started"):
            return path.parent.parent
        time.sleep(0.02)
    raise TimeoutError("the toy did not start")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(_config(tmp_path_factory.mktemp("whole"), steps=60))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_stopped_from_outside_and_resumed(
    tmp_path: Path, number: signal.Signals, code: int, uninterrupted: Path
) -> None:
    flags = ["--steps", "60", "--run.root", str(tmp_path), "--run.checkpoint_every", "5"]
    process = subprocess.Popen(
        [sys.executable, *TOY, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOY_SECONDS": "0.05"},
    )
    path = _started(tmp_path)
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    if number != signal.SIGKILL:
        line = f"understudy: stopped by {number.name}; to go on: understudy resume {path}"
        assert err == line + "\n"
        last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        assert json.loads((path / "checkpoints" / "latest").read_bytes())["step"] == last < 60
    config = load(ToyConfig, ["--config", str(path / "config.toml"), "--run.resume", str(path)])
    train(config)
    assert _result(path) == _result(uninterrupted)
