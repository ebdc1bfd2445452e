"""What a policy run does to its model, on tiny models."""

import copy
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.roles import little
from tests.roles.processes import arguments, path, prepare
from tests.rollout.scripted import ScriptedChat
from understudy.cli import main
from understudy.data.store import read_episodes
from understudy.envs.word_problems import WordProblems
from understudy.lm.base import Reply, Request, Sampling
from understudy.lm.local import LocalLM
from understudy.roles.policy.config import LossConfig, PolicyConfig, RewardConfig, TaskConfig
from understudy.roles.policy.setup import Setting, draw_problems, make_setting
from understudy.roles.policy.supervised import batches, warm_start
from understudy.roles.policy.train import train
from understudy.rollout.chat import collect_chat
from understudy.rollout.corpus import Example
from understudy.rollout.evaluate import evaluate
from understudy.rollout.prompting import Prompt
from understudy.run.config import RunConfig
from understudy.run.errors import RunError
from understudy.run.metrics import read
from understudy.run.run import Run
from understudy.types import UnderstudyError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("training")
    prepare(made)
    return made


@pytest.fixture
def lm(folder: Path) -> LocalLM:
    return LocalLM.load(folder / "model")


def config(folder: Path, **changes) -> PolicyConfig:
    task = TaskConfig(path=str(folder / "train.jsonl"), eval_path=str(folder / "test.jsonl"))
    plain = PolicyConfig(
        env="gsm8k", iterations=4, prompts=4, group=4, max_tokens=16, eval_problems=4, passk=0, eval_every=0,
        learning_rate=3e-3, warmup=0, task=task, run=RunConfig(root=str(folder / "runs"), progress=False),
        loss=LossConfig(kl_coef=0.0),
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def setting_of(settings: PolicyConfig) -> Setting:
    return make_setting("gsm8k", settings.task, 0, 4, unreadable=settings.reward.unreadable)


def trained(settings: PolicyConfig, lm: LocalLM, name: str, **others) -> list[dict]:
    settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, name=name))
    with Run.create("policy", "gsm8k", settings, settings.run) as run:
        train(settings, run, lm=lm, setting=setting_of(settings), **others)
        return read(run.path / "metrics.jsonl")


# ---- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(1_000_000, 64), (100, 64), (64, 64), (3201, 64)])
def test_problems_of_an_iteration_are_different(size: int, count: int) -> None:
    task = WordProblems(size=size)
    drawn = draw_problems(task, count, np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn) == count
    assert all(0 <= i < size for i in drawn)
    assert drawn == draw_problems(task, count, np.random.default_rng(0))
    assert drawn != draw_problems(task, count, np.random.default_rng(1))


def test_a_task_smaller_than_an_iteration_repeats() -> None:
    drawn = draw_problems(WordProblems(size=3), 9, np.random.default_rng(0))
    assert len(drawn) == 9
    assert set(drawn) <= {0, 1, 2}


def test_splits_that_overlap_are_refused(folder: Path) -> None:
    both = str(folder / "train.jsonl")
    with pytest.raises(UnderstudyError):
        make_setting("gsm8k", TaskConfig(path=both, eval_path=both), 0, 4)


# ---- supervised ----------------------------------------------------------------------------------


def test_a_step_gets_the_same_batch_wherever_the_run_began() -> None:
    def example(i: int) -> Example:
        return Example((i,) * (1 + i % 5), (1.0,) * (1 + i % 5))

    whole = list(batches(example, 0, 40, 3, seed=1))
    assert list(batches(example, 23, 40, 3, seed=1)) == whole[23:]
    assert sorted(e.ids[0] for batch in whole[:32] for e in batch) == list(range(96))
    # Each is of one length or nearly, so that little is padded.
    assert max(max(len(e.ids) for e in b) - min(len(e.ids) for e in b) for b in whole[:32]) <= 1


def test_a_warm_start_lowers_the_loss(folder: Path) -> None:
    lm = little.model(steps=0)
    settings = config(folder, warm_start=40, learning_rate=1e-2)
    losses = warm_start(lm, setting_of(settings).train, Prompt(), settings, batch_size=8)
    assert len(losses) == 40
    assert sum(losses[-5:]) / 5 < 0.4 * losses[0]


def test_a_warm_start_needs_worked_answers(folder: Path) -> None:
    class Mute:
        name, split = "mute", "train"

        def __len__(self) -> int:
            return 1

        def problem(self, index: int):
            return dataclasses.replace(WordProblems().problem(index), solution="")

    with pytest.raises(UnderstudyError, match="warm_start: mute has no worked solutions"):
        warm_start(little.model(steps=0), Mute(), Prompt(), config(folder, warm_start=1))  # pyright: ignore[reportArgumentType]


# ---- reinforcement -------------------------------------------------------------------------------


def test_reward_goes_up(folder: Path, lm: LocalLM) -> None:
    """A reward that any readable answer earns is found in a few updates."""
    settings = config(
        folder, iterations=25, group=16, reward=RewardConfig(unreadable=-1.0), learning_rate=1e-2
    )
    rows = trained(settings, lm, "rewarded")[1:]
    unreadable = [row["unreadable"] for row in rows]
    assert sum(unreadable[:3]) / 3 > 0.4
    assert sum(unreadable[-3:]) / 3 < 0.2
    for row in rows:
        assert row["reward"] == pytest.approx(row["correct"] - row["unreadable"])


class LikesLength:
    """P(yes) grows with the number of letters."""

    name = "likes length"

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        raise AssertionError("a judge is asked for probabilities")

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        yes = 0.02 + 0.9 * min(1.0, len(request.messages[-1].content) / 30)
        return [math.log(yes), math.log(1 - yes)]


def test_a_judge_is_obeyed(folder: Path, lm: LocalLM) -> None:
    reward = RewardConfig(judge="pocket", judge_weight=3.0, dimensions={"length": "{step}"})
    settings = config(folder, iterations=20, group=8, learning_rate=1e-2, reward=reward)
    judge = LikesLength()
    rows = trained(settings, lm, "judged", judge=judge)[1:]
    first, last = rows[0], rows[-1]
    # The task gives at most 1; what is more comes from the judge.
    assert first["reward"] > first["correct"] + 0.1
    gained = [row["reward"] - row["correct"] for row in rows]
    assert sum(gained[-3:]) > sum(gained[:3]) + 0.3
    assert last["sampled_tokens"] > first["sampled_tokens"]


def test_a_model_judges_from_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its scores are probabilities, recorded with the run."""
    assert main(arguments(folder, "reinforce", "by-a-model", 3)) == 0
    run = path(folder, "by-a-model")
    for row in read(run / "metrics.jsonl")[1:]:
        assert row["correct"] < row["reward"] < row["correct"] + 0.5 * row["steps"]
    assert (run / "lm" / "cache.sqlite").is_file()


def test_distillation_pulls_towards_the_teacher(folder: Path, lm: LocalLM) -> None:
    teacher = little.model(steps=5)
    before = copy.deepcopy(teacher.model.state_dict())
    settings = config(
        folder, iterations=30, group=8, learning_rate=1e-2, distill="hf:x", distill_coef=1.0
    )
    settings = dataclasses.replace(settings, loss=LossConfig(kl_coef=0.0, skip_silent=False))
    rows = trained(settings, lm, "distilled", teacher=teacher)[1:]
    measured = [row["distill_kl"] for row in rows]
    assert sum(measured[-3:]) < 0.4 * sum(measured[:3])
    for name, value in teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_model_the_sampler_misreads_stops_the_run(
    folder: Path, lm: LocalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalLM, "logprobs", _off(LocalLM.logprobs))
    with pytest.raises(RunError, match="sampler and trainer disagree on log-probabilities by"):
        trained(config(folder, reward=RewardConfig(unreadable=-1.0)), lm, "misread")


def _off(right):
    def logprobs(*args, **named):
        return right(*args, **named) - 0.01

    return logprobs


def test_lora_trains_the_adapter_and_exports_the_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(folder, "rloo", "lora", 3), "--reward.unreadable", "-1"]) == 0
    run = path(folder, "lora")
    checkpoint = load_file(run / "checkpoints" / "3" / "model.safetensors")
    assert checkpoint
    assert all("lora_" in name for name in checkpoint)
    assert any(float(t.abs().max()) > 0 for name, t in checkpoint.items() if "lora_B" in name)
    assert not (run / "checkpoints" / "3" / "reference.safetensors").exists()
    # The merged model is the base plus the adapter, and any loader reads it.
    lm = LocalLM.load(folder / "model", lora_rank=2)
    base = {name: p.clone() for name, p in lm.model.named_parameters() if not p.requires_grad}
    with torch.no_grad():
        for name, p in lm.model.named_parameters():
            if p.requires_grad:
                p.copy_(checkpoint[name])
    exported = AutoModelForCausalLM.from_pretrained(run / "model", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    ids = torch.tensor([tokenizer.encode("1+2?<<1+2=")])
    with torch.no_grad():
        mine, theirs, plain = (
            m(ids).logits for m in (lm.model, exported, LocalLM.load(folder / "model").model)
        )
    assert torch.allclose(mine, theirs, atol=1e-5)
    assert not torch.allclose(mine, plain, atol=1e-3)
    assert all(torch.equal(p, base[n]) for n, p in lm.model.named_parameters() if n in base)


def test_the_exported_model_has_the_logits_of_the_trained_one(folder: Path, lm: LocalLM) -> None:
    settings = config(folder, reward=RewardConfig(unreadable=-1.0))
    trained(settings, lm, "exported")
    exported = AutoModelForCausalLM.from_pretrained(
        path(folder, "exported") / "model", use_safetensors=True
    )
    ids = torch.tensor([lm.encode("1+2?<<1+2=")])
    with torch.no_grad():
        assert torch.equal(exported(ids).logits, lm.model(ids).logits)


def test_episodes_are_kept_with_their_tokens(folder: Path, lm: LocalLM) -> None:
    trained(config(folder, iterations=2), lm, "kept")
    files = sorted((path(folder, "kept") / "episodes").iterdir())
    assert [file.name for file in files] == ["000000.jsonl", "000001.jsonl"]
    episodes = list(read_episodes(files[0]))
    assert len(episodes) == 16
    for episode in episodes:
        assert episode.tokens is not None
        assert lm.decode(episode.tokens.ids) == episode.info["text"]


# ---- the other commands --------------------------------------------------------------------------


def test_pretraining_makes_a_model_and_resumes_to_the_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [
        "policy", "pretrain", "--debug", "--run.root", str(tmp_path), "--run.progress", "false", "--warmup", "1",
        "--context", "256",
    ]  # fmt: skip
    assert main([*args, "--run.name", "whole"]) == 0
    checkpoint, saved = Run.checkpoint, list[int]()

    def leave(run: Run, step: int, *rest, **named) -> None:
        checkpoint(run, step, *rest, **named)
        saved.append(step)
        if step == 2:
            raise RunError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "checkpoint", leave)
        assert main([*args, "--run.name", "stopped", "--run.checkpoint_every", "2"]) == 2
    assert saved == [2]
    whole, stopped = (tmp_path / "policy" / "corpus" / name for name in ("whole", "stopped"))
    assert main(["resume", str(stopped), "--run.progress", "false"]) == 0
    for name in ("metrics.jsonl", "model/model.safetensors", "model/tokenizer.json"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes(), name
    losses = [row["loss"] for row in read(whole / "metrics.jsonl")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    lm = LocalLM.load(whole / "model")
    assert lm.slow_because is None
    assert lm.decode(lm.encode("Ana has <<12*3=36>>36 eggs.\n")) == "Ana has <<12*3=36>>36 eggs.\n"


def test_compare_and_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = arguments(folder, "rloo", "versus", 2)[2:-4]
    args = [word.replace("--", "--base.") if word.startswith("--") else word for word in shared]
    assert (
        main(
            ["policy", "compare", "--algorithms", '["rloo", "supervised"]', "--seeds", "[0]", *args]
        )
        == 0
    )
    said = capsys.readouterr().out
    file = Path(said.splitlines()[-1])
    rows = json.loads(file.read_text())
    assert [row["algorithm"] for row in rows] == ["rloo", "supervised"]
    assert all(row["test"]["before"]["answers"] == 4 for row in rows)
    assert rows[0]["test"]["before"] == rows[1]["test"]["before"]
    model = folder / "runs" / "policy" / "gsm8k" / "versus-rloo-s0" / "model"
    kept = [shared[i : i + 2] for i in range(0, len(shared), 2) if shared[i] in
            ("--env", "--task.path", "--task.eval_path", "--max_tokens", "--run.root")]  # fmt: skip
    args = [word for pair in kept for word in pair]
    assert (
        main(["policy", "eval", "--lm", f"hf:{model}", "--problems", "4", "--run.name", "e", *args])
        == 0
    )
    [row] = read(path(folder, "e") / "metrics.jsonl")
    assert row["test/accuracy"] == rows[0]["test"]["after"]["accuracy"]


def test_a_chat_model_is_evaluated_by_its_words(folder: Path) -> None:
    setting = setting_of(config(folder))
    lm = ScriptedChat(
        lambda r: Reply(f"#### {sum(int(d) for d in r.messages[-1].content if d.isdigit())}")
    )

    def act(envs, indices, *, copies, row_keys):
        return collect_chat(
            lm, envs, indices, prompt=setting.prompt, copies=copies, sampling=Sampling()
        )

    assert evaluate(act, setting.test_env, setting.test_indices(99)).accuracy == 1.0
