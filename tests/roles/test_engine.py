"""`policy train --sampler.engine vllm`, on an engine that is a real small model."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.pages import ROOT
from tests.lm.vllm_stand_in import Engine, StandIn
from tests.roles.processes import arguments, path, prepare
from tests.roles.same import assert_same
from understudy.cli import main
from understudy.data.store import read_episodes
from understudy.roles.policy.config import PolicyConfig, SamplerConfig
from understudy.run.config import ConfigError
from understudy.run.metrics import read
from understudy.run.run import Run

NEW = ("engine_gap", "engine_gap_max", "is_weight", "is_truncated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("engine")
    prepare(made)
    return made


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.distributed", module)
    return module


def by_vllm(folder: Path, case: str, name: str, iterations: int = 12) -> list[str]:
    return [*arguments(folder, case, name, iterations), "--sampler.engine", "vllm"]


@pytest.mark.parametrize("case", ["grpo", "rloo"])
def test_a_run_by_vllm_is_on_policy_throughout(
    case: str, folder: Path, vllm: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{case}-engine"
    assert main([*by_vllm(folder, case, name, 5), "--sampler.sleep", "true"]) == 0
    rows = read(path(folder, name) / "metrics.jsonl")
    assert [set(NEW) <= row.keys() for row in rows] == [False, *[True] * 5]
    for row in rows[1:]:
        # Weights change every iteration, and the engine has them every time.
        assert 0 < row["engine_gap"] <= row["engine_gap_max"] < 1e-4
        assert row["is_weight"] == pytest.approx(1.0, abs=1e-5)
        assert row["is_truncated"] == 0
        assert row.get("logprob_gap", 0) < 1e-4
    (engine,) = vllm.engines
    assert engine.over
    assert engine.asleep
    assert engine.calls.count("reload_weights") == engine.calls.count("sleep") > 5
    episodes = list(read_episodes(path(folder, name) / "episodes" / "000000.jsonl"))
    assert any(not s for e in episodes for s in e.tokens.sampled)  # the calculator has written
    own = f"{case}-own"
    assert main(arguments(folder, case, own, 5)) == 0
    plain = read(path(folder, own) / "metrics.jsonl")
    assert not any(set(NEW) & row.keys() for row in plain)
    assert rows[1].keys() - plain[1].keys() == set(NEW)
    page = (ROOT / "docs/roles/policy.md").read_text()
    assert all(f"`{metric}`" in page for metric in NEW)
    assert plain[0]["test/accuracy"] == rows[0]["test/accuracy"]  # greedy, by the same weights


def test_debug_needs_no_more_than_the_option(
    tmp_path: Path, vllm: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--debug", "--sampler.engine", "vllm", "--run.root", str(tmp_path)]
    assert main(["policy", "train", *options, "--run.name", "debug"]) == 0
    rows = read(tmp_path / "policy" / "word-problems" / "debug" / "metrics.jsonl")
    assert rows[-1]["engine_gap"] < 1e-4


def test_the_update_is_the_own_samplers_where_both_draw_alike(
    folder: Path, vllm: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same answers, weights of 1 but for rounding: the same model but for rounding."""
    from tests.lm.test_vllm_sampler import PLACES
    from understudy.lm import vllm_sampler
    from understudy.lm.sampler import uniforms

    seeds: list[int] = []

    def seed(seed: int, key: int, place: int) -> int:
        seeds.extend([] if seed in seeds else [seed])
        return (seeds.index(seed) * PLACES + key) * PLACES + place

    def noise(self: Engine, seed: int, length: int) -> Any:
        rest, place = divmod(seed, PLACES)
        return uniforms(seeds[rest // PLACES], [rest % PLACES], place + length)[0, place:]

    monkeypatch.setattr(vllm_sampler, "_seed", seed)
    monkeypatch.setattr(Engine, "noise", noise)
    assert main(by_vllm(folder, "grpo", "alike", 3)) == 0
    assert main(arguments(folder, "grpo", "alone", 3)) == 0
    alike, alone = (read(path(folder, n) / "metrics.jsonl") for n in ("alike", "alone"))
    for mine, theirs in zip(alike, alone, strict=True):
        for name in theirs.keys() - {"logprob_gap"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-4), name


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    folder: Path, vllm: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new engine has weights of no meaning: it must be given the checkpoint's."""
    assert main(by_vllm(folder, "grpo", "whole")) == 0
    logged, stops = Run.log, [7, 3]

    def stop(run: Run, step: int, *args: Any, **named: Any) -> None:
        logged(run, step, *args, **named)
        if stops and step == stops[-1]:
            stops.pop()
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "log", stop)
    run, args = path(folder, "stopped"), by_vllm(folder, "grpo", "stopped")
    for _ in range(2):
        assert main(args) == 143
        args = ["resume", str(run), "--run.progress", "false"]
    assert main(args) == 0
    assert len(vllm.engines) == 4
    assert_same(path(folder, "whole"), run)


def test_an_engine_that_draws_otherwise_stops_the_run(
    folder: Path, vllm: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm.temper = 2.0
    assert main(by_vllm(folder, "rloo", "hot")) == 2
    said = capsys.readouterr().err.strip()
    assert "the engine draws from other probabilities than the trainer's" in said
    assert "sampler.max_gap 0.1" in said
    assert "\n" not in said
    assert vllm.engines[0].over
    assert len(read(path(folder, "hot") / "metrics.jsonl")) == 1  # nothing was trained on


def test_what_is_off_but_within_the_limit_is_weighed(
    folder: Path, vllm: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm.temper = 1.3
    changes = ["--sampler.max_gap", "2", "--sampler.truncate", "1.1"]
    assert main([*by_vllm(folder, "grpo", "warm", 3), *changes]) == 0
    for row in read(path(folder, "warm") / "metrics.jsonl")[1:]:
        assert 0.01 < row["engine_gap"] < row["engine_gap_max"]
        assert 0.05 < row["is_truncated"] < 1
        assert 0.5 < row["is_weight"] < 1.1
        # The trainer's old log-probabilities are its own.
        assert row.get("logprob_gap", 0) < 1e-4


def test_weights_reach_the_gradient(
    folder: Path, vllm: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm.temper = 1.5
    trained = []
    for cap in ("0", "1.5", "1.0"):
        changes = ["--sampler.max_gap", "2", "--sampler.truncate", cap]
        assert main([*by_vllm(folder, "grpo", f"cap-{cap}", 2), *changes]) == 0
        trained.append(read(path(folder, f"cap-{cap}") / "metrics.jsonl")[1])
    assert trained[0]["sampled_tokens"] == trained[1]["sampled_tokens"]
    assert len({row["grad_norm"] for row in trained}) == 3
    assert trained[0]["is_truncated"] == 0
    assert trained[0]["is_weight"] > trained[1]["is_weight"] > trained[2]["is_weight"]


def test_without_vllm_nothing_is_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert main(by_vllm(folder, "grpo", "missing")) == 2
    assert 'pip install "understudy[vllm]"' in capsys.readouterr().err
    assert not path(folder, "missing").exists()


@pytest.mark.parametrize(
    "changes", [{"workers": 2}, {"workers": 2, "shard": True}, {"replay": "x", "algorithm": "grpo"}]
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"sampler.engine: vllm draws answers in this process"):
        PolicyConfig(sampler=SamplerConfig("vllm"), **changes).check()
    PolicyConfig(**changes).check()


def test_the_stand_in_draws_what_it_says() -> None:
    """Else the tests above would prove nothing: its log-probabilities are a plain model's."""
    from tests.lm.local_cases import plain_logprobs
    from understudy.lm.base import Sampling
    from understudy.lm.fake import tiny_model
    from understudy.lm.vllm_sampler import VllmSampler

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "vllm", StandIn())
        lm = tiny_model(4)
        sampler = VllmSampler(lm)
        sampler.sync()
        (group,) = sampler.sample([lm.encode("x")], Sampling(max_tokens=15), copies=3)
    for row in group:
        with torch.no_grad():
            plain = plain_logprobs(lm, lm.encode("x"), row.ids)
        assert row.logprobs == pytest.approx(plain.tolist(), abs=1e-5)
