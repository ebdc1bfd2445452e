"""What was planned is what is then taken, within the factors that docs/capacity.md states."""

import json
from pathlib import Path

import pytest

from tests.roles.processes import command
from understudy.cli import main
from understudy.lm.base import LMError
from understudy.lm.compute import ComputeConfig
from understudy.lm.lora import add_lora
from understudy.lm.open import open_token_lm
from understudy.plan.commands import plan_optimizer, plan_policy, plan_simulator, policy_memory
from understudy.plan.estimate import body_of, priced
from understudy.plan.summary import describe, size
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.setup import setting_of
from understudy.roles.policy.summary import cost
from understudy.roles.simulator.config import StudyConfig
from understudy.run.config import load


def _within(planned: float, measured: float, factor: float) -> bool:
    return measured / factor <= planned <= measured * factor


def _run(root: Path, role: str, words: list[str]) -> Path:
    more = ["--run.root", str(root), "--run.name", "one", "--run.progress", "false"]
    assert command([*role.split(), *words, *more]) == 0
    return next(root.glob("*/*/one"))


def test_a_policys_answers_tokens_and_memory(tmp_path: Path):
    words = ["--debug", "--iterations", "3", "--passk", "0", "--eval_every", "2"]
    plan = plan_policy(load(PolicyConfig, words))
    run = _run(tmp_path, "policy train", words)
    learnt = cost(run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in rows if "test/answers" in row]
    written = learnt.tokens + sum(row["test/tokens"] * row["test/answers"] for row in evaluated)
    assert plan.calls == learnt.calls + sum(row["test/answers"] for row in evaluated)
    assert written <= plan.completion_tokens <= 2 * written
    saved = run / "checkpoints/3"
    sizes = {
        name: (saved / f"{name}.safetensors").stat().st_size
        for name in ("model", "optimizer", "reference")
    }
    assert _within(plan.memory["weights"], sizes["model"], 1.01)
    assert _within(plan.memory["AdamW's two moments"], sizes["optimizer"], 1.01)
    assert _within(plan.memory["the reference's weights"], sizes["reference"], 1.1)


def test_a_prompts_tokens_are_those_of_the_models_own_vocabulary():
    lm = open_token_lm("pocket")
    config = PolicyConfig(iterations=1, prompts=64, eval_problems=1, passk=0)
    setting = setting_of(config)
    asked = [setting.prompt.messages(setting.train.problem(i).question) for i in range(64)]
    real = sum(len(lm.prompt_ids(messages)) for messages in asked)
    assert _within(plan_policy(config).prompt_tokens, real, 1.1)


def test_adapters_are_counted_as_they_are_made():
    lm, body = open_token_lm("pocket"), body_of("pocket")
    assert body is not None
    assert body.parameters == sum(p.numel() for p in lm.model.parameters())
    adapted = add_lora(lm.model, 3)
    assert body.adapter(3) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    memory = policy_memory(PolicyConfig(lora_rank=3), body, 50)
    assert memory["gradients"] == 4 * body.adapter(3)
    assert "the reference's weights" not in memory


def test_memory_grows_with_what_is_played_and_with_the_context():
    body = body_of("pocket")
    assert body is not None
    small, long, many, cut = (
        policy_memory(config, body, 0)
        for config in (
            PolicyConfig(), PolicyConfig(max_tokens=256), PolicyConfig(prompts=16), PolicyConfig(accumulate=2),
        )
    )  # fmt: skip
    for key in ("keys and values while playing", "activations of a backward pass"):
        assert long[key] == many[key] == 2 * small[key]
    assert 2 * cut["activations of a backward pass"] == small["activations of a backward pass"]
    assert long["weights"] == small["weights"]


@pytest.mark.parametrize("words", [["--proposer", "lm"], ["--proposer", "hybrid", "--first", "lm"]])
def test_a_searchs_questions(words: list[str], tmp_path: Path):
    words = [*words, "--budget.episodes", "60", "--held_out", "5"]
    plan = plan_optimizer(load(OptimizerConfig, words))
    bill = json.loads((_run(tmp_path, "optimizer train", words) / "lm/ledger.json").read_text())
    assert _within(plan.calls, bill["done"], 2)
    each = plan.prompt_tokens / plan.calls, bill["prompt_tokens"] / bill["done"]
    assert _within(*each, 1.25)
    assert _within(
        plan.completion_tokens / plan.calls, bill["completion_tokens"] / bill["done"], 1.25
    )


def test_a_search_that_asks_nobody_costs_nothing():
    plan = plan_optimizer(OptimizerConfig(proposer="cma"))
    assert plan.calls == plan.tokens == 0
    assert describe(plan) == "language model  none"


def test_a_studys_questions(tmp_path: Path):
    plan = plan_simulator(load(StudyConfig, ["--debug", "--make.people", "8"]))
    # What a model is asked in `run` it is asked in `generate`.
    words = ["--debug", "--people", "8", "--source.people", "24"]
    bill = json.loads((_run(tmp_path, "simulator generate", words) / "lm/ledger.json").read_text())
    assert _within(plan.calls, bill["done"], 3)  # of few people; see the page for more of them
    assert _within(plan.prompt_tokens / plan.calls, bill["prompt_tokens"] / bill["done"], 1.25)
    assert bill["completion_tokens"] <= plan.completion_tokens


def test_money_follows_from_the_table_of_prices():
    plan = priced("openai:gpt-5-mini", 10, 1_000_000, 500_000)
    assert plan.usd == pytest.approx(0.25 + 1.0)
    assert priced("openai:gpt-4o-2024-08-06", 1, 10**6, 0).usd == pytest.approx(2.5)
    assert priced("openai:someone-elses", 1, 10**6, 0).usd is None
    assert priced("pocket", 1, 10**6, 0).usd == 0.0
    assert "about $1.2500" in describe(plan)
    asked = {"proposer": "lm", "budget.episodes": "200"}
    words = [word for key, text in asked.items() for word in (f"--{key}", text)]
    dear = plan_optimizer(load(OptimizerConfig, [*words, "--lm", "openai:gpt-5"]))
    cheap = plan_optimizer(load(OptimizerConfig, [*words, "--lm", "openai:gpt-5-nano"]))
    assert dear.calls == cheap.calls > 5
    assert dear.usd == pytest.approx(25 * cheap.usd, rel=0.01)


def test_a_model_elsewhere_has_no_memory_here_and_a_broken_one_is_said(tmp_path: Path):
    assert body_of("openai:gpt-5") is None
    assert body_of("hf:someone/something") is None
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(LMError, match="not that of a Llama-like model"):
        body_of(f"hf:{tmp_path}")
    assert [size(n) for n in (999, 1000, 2_500_000, 3e12)] == ["999 B", "1 kB", "2.5 MB", "3 TB"]


def test_the_command_says_it(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "policy", "--debug"]) == 0
    out = capsys.readouterr().out
    assert "language model  pocket" in out
    assert "AdamW's two moments" in out
    assert main(["plan", "optimizer", "--proposer", "lmm"]) == 2


def test_memory_follows_how_a_pass_is_computed():
    body = body_of("pocket")
    assert body is not None
    plain, half = (
        policy_memory(PolicyConfig(compute=ComputeConfig(precision=p)), body, 50)
        for p in ("float32", "bfloat16")
    )
    saved = policy_memory(PolicyConfig(compute=ComputeConfig(checkpointing=True)), body, 50)
    name, cached = "activations of a backward pass", "keys and values while playing"
    assert 2 * half[cached] == plain[cached]
    assert plain[name] / 2 < half[name] < plain[name]
    assert saved[name] < plain[name]
    assert half["the weights' copies in bfloat16"] * 2 == plain["weights"] == half["weights"]
    one = body.activations(1) - 16 * body.vocabulary
    kept = body.activations(1, checkpointing=True) - 16 * body.vocabulary
    assert kept == one // body.layers + 4 * body.hidden * body.layers
