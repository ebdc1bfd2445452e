"""What a policy configuration may not say."""

import pytest

from understudy.roles.policy.config import (
    CompareConfig,
    EvalConfig,
    GradeConfig,
    PolicyConfig,
    PretrainConfig,
)
from understudy.run.config import ConfigError, dump, load

BAD = {
    PolicyConfig: {
        "--group 1": "group: rloo compares answers of a group; it must be at least 2",
        "--group 1 --algorithm grpo": "group: grpo compares",
        "--algorithm grpo --task.mode stepwise": "algorithm: stepwise episodes have credit per step",
        "--epochs 2": "epochs: rloo is on-policy; more than one pass needs grpo",
        "--minibatches 3": "minibatches: prompts must divide by minibatches × accumulate",
        "--minibatches 4 --accumulate 4": "minibatches: prompts must divide",
        "--task.path a.jsonl": "task.eval_path: a training file and a held-out file go together",
        "--task.eval_path a.jsonl": "task.eval_path: a training file and a held-out file go together",
        "--lora_rank 2 --loss.reference_every 3": "loss.reference_every: under LoRA the reference is",
        "--reward.judge pocket": "reward.judge: a judge and its dimensions go together; give both",
        "--reward.dimensions.a {step}?": "reward.judge: a judge and its dimensions go together",
        "--temperature 0": "temperature: training samples, so it must be above 0",
    },
    PretrainConfig: {
        "--hidden 100": "heads: hidden must divide by heads, and heads by kv_heads",
        "--kv_heads 4": "heads: hidden must divide by heads",
        "--vocab_size 260": "vocab_size: 256 bytes and 5 control tokens need at least 261",
    },
    EvalConfig: {"--samples 2": "temperature: several samples of a problem need a temperature"},
    GradeConfig: {"a.jsonl": "file: grade needs a FILE to read and --out FILE to write"},
    CompareConfig: {"--base.group 1": "group: rloo compares"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "args", "words"), [(cls, a, w) for cls, table in BAD.items() for a, w in table.items()]
)
def test_impossible_combinations(cls: type, args: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(cls, args.split())
    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    "args",
    [
        "--group 1 --algorithm reinforce", "--epochs 3 --algorithm grpo", "--minibatches 4 --accumulate 2",
        "--task.path a --task.eval_path b", "--lora_rank 2", "--loss.reference_every 2",
        "--reward.judge pocket --reward.dimensions.a {step}?", "--task.mode stepwise --algorithm reinforce",
    ],
)  # fmt: skip
def test_their_neighbours_are_possible(args: str, tmp_path) -> None:
    config = load(PolicyConfig, args.split())
    file = tmp_path / "again.toml"
    file.write_text(dump(config))
    assert load(PolicyConfig, ["--config", str(file)]) == config


@pytest.mark.parametrize("cls", [PolicyConfig, PretrainConfig, EvalConfig, CompareConfig])
def test_debug_is_a_configuration_that_checks(cls: type) -> None:
    assert load(cls, ["--debug"]) != load(cls, [])
