"""Logs that are whole after a kill and say the same as if there had been none."""

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from understudy.run import metrics as module
from understudy.run.errors import ConfigError, RunError
from understudy.run.metrics import Metrics, read


def _lines(folder: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_one_line_a_step_and_clocks_elsewhere(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.log(1, {"loss": 0.1, "n": 3}, {"seconds": 1.5})
    metrics.log(2, {"loss": np.float32(0.5)})
    metrics.close()
    assert _lines(tmp_path) == [{"step": 1, "loss": 0.1, "n": 3}, {"step": 2, "loss": 0.5}]
    assert _lines(tmp_path, "timing") == [{"step": 1, "seconds": 1.5}]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf})
    metrics.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 1, "a": null, "b": null, "c": null}\n'
    assert math.isnan(read(tmp_path / "metrics.jsonl")[0]["b"])


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floats_come_back_to_the_bit(values: list[float], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    metrics = Metrics(folder)
    for step, value in enumerate(values):
        metrics.log(step, {"x": value})
    metrics.close()
    assert [repr(row["x"]) for row in read(folder / "metrics.jsonl")] == [repr(v) for v in values]


def test_a_log_cut_back_and_continued_equals_one_never_cut(tmp_path: Path) -> None:
    plain, cut = tmp_path / "plain", tmp_path / "cut"
    for folder in (plain, cut):
        folder.mkdir()
        metrics = Metrics(folder)
        for step in range(1, 8):
            metrics.log(step, {"loss": 1 / step}, {"seconds": 0.1})
        metrics.close()
    with (cut / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 8, "lo')  # torn by a kill
    metrics = Metrics(cut)
    assert metrics.last_step == 7
    metrics.truncate_after(4)
    assert metrics.last_step == 4
    assert len(_lines(cut, "timing")) == 4
    for step in range(5, 8):
        metrics.log(step, {"loss": 1 / step})
    metrics.close()
    assert (cut / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes()


def test_every_torn_last_line_is_dropped_when_a_log_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(tmp_path)
    metrics.log(1, {"loss": 0.5})
    metrics.log(2, {"loss": 0.25})
    metrics.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        Metrics(tmp_path).close()
        assert path.read_bytes() == whole[:first]


def test_steps_only_grow(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.log(3, {"a": 1})
    for step in (3, 2):
        with pytest.raises(ValueError, match=f"step {step} logged after step 3"):
            metrics.log(step, {"a": 1})
    with pytest.raises(ValueError, match="'step'"):
        metrics.log(4, {"step": 1})
    metrics.close()
    with pytest.raises(ValueError, match="step 3 logged after step 3"):
        _log_again(tmp_path)


def _log_again(folder: Path) -> None:
    metrics = Metrics(folder)
    try:
        metrics.log(3, {"a": 1})
    finally:
        metrics.close()


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"stop": 2}\n{"step": 3}\n')
    with pytest.raises(RunError, match=rf"^{path}: line 2 is damaged$"):
        read(path)


def test_tensorboard_shows_the_same_and_forgets_what_was_cut(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for step in (1, 2, 3):
        metrics.log(step, {"loss": step / 4})
    metrics.close()
    metrics = Metrics(tmp_path)
    metrics.truncate_after(1)
    metrics.log(2, {"loss": 7.5}, {"seconds": 2.0})
    metrics.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.25), (2, 7.5)]
    assert [(e.step, e.value) for e in events.Scalars("seconds")] == [(2, 2.0)]


def test_wandb_missing_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--run.logger wandb needs wandb; pip install"):
        Metrics(tmp_path, "wandb")
    assert list(tmp_path.iterdir()) == []


def test_wandb_gets_what_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Fake(types.ModuleType):
        def init(self, **settings: Any) -> Any:
            calls.append(settings)
            return self

        def log(self, values: Any, step: int) -> None:
            calls.append((step, values))

        def finish(self) -> None:
            calls.append("finish")

    monkeypatch.setitem(sys.modules, "wandb", Fake("wandb"))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: True)
    metrics = Metrics(tmp_path, "wandb", settings={"lr": 0.1})
    metrics.log(1, {"loss": 2.0}, {"seconds": 3.0})
    metrics.close()
    assert calls[0]["config"] == {"lr": 0.1}
    assert calls[0]["id"].endswith(tmp_path.name)
    assert calls[1:] == [(1, {"loss": 2.0, "seconds": 3.0}), "finish"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics._files["metrics"].close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        metrics._files["metrics"] = full
        with pytest.raises(RunError, match="No space left on device"):
            metrics.log(1, {"loss": 1.0})
    metrics.close()
