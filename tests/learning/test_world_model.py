"""An agent learns inside its world model what takes memory: a real, small run."""

from pathlib import Path

import pytest

from understudy.roles.world_model import commands
from understudy.roles.world_model.config import BehaviourConfig, ReplayConfig, WorldModelConfig
from understudy.run.config import RunConfig
from understudy.run.metrics import read


@pytest.mark.learning
@pytest.mark.parametrize("core", ["gru", "llama"])
def test_which_way_to_turn_is_remembered(core: str, tmp_path: Path):
    config = WorldModelConfig(
        env="understudy/TMaze-v0",
        core=core,
        env_options={"length": 2},
        steps=2000,
        eval_episodes=100,
        replay=ReplayConfig(length=8, ratio=64.0),
        behaviour=BehaviourConfig(horizon=5, starts=64),
        run=RunConfig(root=str(tmp_path), progress=False),
    )
    last = read(commands.run_train(config) / "metrics.jsonl")[-1]
    # Without memory half of the turns are right; and attention's, without the head that foretells rewards.
    assert last["test/success"] >= 0.9
