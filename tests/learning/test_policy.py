"""RL lifts the bundled model: a real run, short enough for every change."""

from pathlib import Path

import pytest

from understudy.lm.open import open_token_lm
from understudy.roles.policy.config import LossConfig, PolicyConfig, TaskConfig
from understudy.roles.policy.setup import make_setting
from understudy.roles.policy.summary import before_after
from understudy.roles.policy.train import train
from understudy.run.config import RunConfig
from understudy.run.run import Run

PROBLEMS = 100


@pytest.mark.learning
@pytest.mark.parametrize("algorithm", ["rloo"])  # docs/results.md has all three, three seeds each
def test_the_bundled_model_at_least_doubles_its_held_out_accuracy(algorithm: str, tmp_path: Path):
    config = PolicyConfig(
        algorithm=algorithm,
        iterations=18,
        learning_rate=5e-4,
        max_tokens=96,
        eval_every=0,
        eval_problems=PROBLEMS,
        passk=0,
        task=TaskConfig(options={"levels": (1, 3)}),
        loss=LossConfig(kl_coef=0.002),
        run=RunConfig(root=str(tmp_path), progress=False),
    )
    setting = make_setting(config.env, config.task, config.seed, PROBLEMS)
    with Run.create("policy", config.env, config, config.run) as run:
        train(config, run, lm=open_token_lm("pocket"), setting=setting)
    found = before_after(run.path)["test"]
    assert found["before"]["accuracy"] <= 0.4
    assert found["after"]["accuracy_low"] > found["before"]["accuracy_high"]  # intervals disjoint
    assert found["after"]["accuracy"] >= 2 * found["before"]["accuracy"]
