"""Recorded episodes are trained on instead of new ones, as they were recorded."""

from pathlib import Path

import pytest

from understudy.data.jsonl import DataError
from understudy.data.store import read_episodes, write_episodes
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.train import replayed
from understudy.run.config import ConfigError
from understudy.types import Episode, TokenTrace


def episode(problem: str, reward: float) -> Episode:
    trace = TokenTrace((1, 2), (3, 4), (-0.1, -0.30000000000000004), (True, False), (0, 0))
    return Episode("e", ("q", "qa"), ("a",), (reward,), True, False, {"problem_id": problem}, trace)


def test_an_iteration_comes_back_by_problem(tmp_path: Path):
    recorded = [episode(p, r) for p in ("x", "y") for r in (0.0, 1.0)]
    write_episodes(tmp_path / "000003.jsonl", recorded, iteration=3)
    assert list(read_episodes(tmp_path / "000003.jsonl")) == recorded
    config = PolicyConfig(algorithm="grpo", replay=str(tmp_path))
    assert replayed(config, 3) == [recorded[:2], recorded[2:]]
    assert replayed(config, 4) == []  # not recorded: collected instead
    assert replayed(PolicyConfig(), 3) == []


def test_what_cannot_be_replayed_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="is no folder of episodes"):
        replayed(PolicyConfig(algorithm="grpo", replay=str(tmp_path / "none")), 0)
    (tmp_path / "000000.jsonl").write_text('{"episode": {}}\n')
    with pytest.raises(DataError, match=r"000000\.jsonl:1: not an episode"):
        replayed(PolicyConfig(algorithm="grpo", replay=str(tmp_path)), 0)
    with pytest.raises(ConfigError, match="off-policy"):
        PolicyConfig(algorithm="rloo", replay=str(tmp_path)).check()
