"""What was planned is what is then taken, within the factors that docs/capacity.md states."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.roles.processes import command
from understudy.cli import main
from understudy.lm.base import LMError
from understudy.lm.compute import ComputeConfig
from understudy.lm.lora import add_lora
from understudy.lm.open import open_token_lm
from understudy.plan.commands import (
    plan_optimizer,
    plan_policy,
    plan_simulator,
    plan_teacher,
    plan_world_model,
    policy_memory,
)
from understudy.plan.estimate import body_of, priced
from understudy.plan.summary import describe, size
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.setup import setting_of
from understudy.roles.policy.summary import cost
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.world_model.config import WorldModelConfig
from understudy.run.config import load
from understudy.run.metrics import read


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


@pytest.mark.parametrize(
    "words",
    [
        ["--env", "ColoredDoorKey", "--steps", "1024"],
        ["--env", "mpe/simple_spread", "--advice.hear"],
        ["--method", "ppo", "--student.recurrent"],
    ],
)
def test_a_teachers_questions_steps_and_memory(words: list[str], tmp_path: Path):
    words = ["--debug", *words]
    plan = plan_teacher(load(TeacherConfig, words))
    run = _run(tmp_path, "teacher train", words)
    assert plan.steps == read(run / "metrics.jsonl")[-1]["step"]
    saved = run / "checkpoints" / str(plan.steps)
    state = load_file(saved / "optimizer.safetensors")
    steps = json.loads((saved / "state.json").read_text())
    assert plan.updates in _numbers(steps) | {float(x) for x in state.values() if x.numel() == 1}
    size = (saved / "student.safetensors").stat().st_size
    assert _within(plan.memory["weights"], size, 1.01)
    size = (saved / "optimizer.safetensors").stat().st_size
    assert _within(plan.memory["the optimizer's two moments"], size, 1.01)
    if "ppo" in words:
        assert plan.lm is None
        return
    bill = json.loads((run / "lm/ledger.json").read_text())
    assert _within(plan.calls, bill["done"], 1.5)
    # The ledger has an upper bound where plans are scored: a token a byte.
    assert bill["prompt_tokens"] / 5 < plan.prompt_tokens / plan.calls * bill["done"]
    assert plan.prompt_tokens / plan.calls * bill["done"] <= bill["prompt_tokens"]
    assert plan.completion_tokens == bill["completion_tokens"] == 0


def _numbers(value: object) -> set[float]:
    if isinstance(value, dict):
        return {n for inner in value.values() for n in _numbers(inner)}
    if isinstance(value, list):
        return {n for inner in value for n in _numbers(inner)}
    return {float(value)} if isinstance(value, int | float) else set()


def test_a_written_answer_costs_tokens_and_samples():
    words = ["--debug", "--lm", "openai:gpt-5-mini"]
    one = plan_teacher(load(TeacherConfig, words))
    many = plan_teacher(
        load(TeacherConfig, [*words, "--advice.samples", "3", "--advice.temperature", "1"])
    )
    assert one.completion_tokens == 200 * one.calls > 0
    assert many.calls == 3 * one.calls
    assert many.usd == pytest.approx(3 * (one.usd or 0), rel=0.01)


@pytest.mark.parametrize("words", [[], ["--core", "llama", "--envs", "2", "--version", "2023"]])
def test_a_world_models_steps_updates_and_memory(words: list[str], tmp_path: Path):
    words = ["--debug", *words]
    plan = plan_world_model(load(WorldModelConfig, words))
    run = _run(tmp_path, "world_model train", words)
    last = read(run / "metrics.jsonl")[-1]
    assert plan.lm is None
    assert plan.steps == last["step"]
    assert plan.updates == last["updates"]
    saved = run / "checkpoints/200"
    assert _within(plan.memory["weights"], (saved / "agent.safetensors").stat().st_size, 1.02)
    size = (saved / "optimizer.safetensors").stat().st_size
    assert _within(plan.memory["the optimizer's two moments"], size, 1.02)
    kept = load_file(saved / "replay.safetensors")
    step = sum(x.nbytes for x in kept.values()) / kept["reward"].numel()
    assert f"a remembered step: {step:,.0f} B" in plan.notes
    assert plan.memory["replay"] == 1024 * step * (2 if "--envs" in words else 1)


def test_what_is_kept_for_a_gradient_grows_with_the_batch():
    one, two = (
        plan_world_model(load(WorldModelConfig, ["--debug", "--replay.batch", batch]))
        for batch in ("8", "16")
    )
    key = "activations of a backward pass"
    assert 1.5 < two.memory[key] / one.memory[key] < 2.05
    assert one.memory["weights"] == two.memory["weights"]


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
