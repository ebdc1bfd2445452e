"""Whole runs on a pretended device: no operation mixes devices, and what is learnt is what the CPU learns."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.device.pretend import DEVICE, MixedDevices, Pretended, pretended
from tests.roles import little
from understudy.cli import main
from understudy.run import device
from understudy.run.checkpoint import load
from understudy.run.metrics import read

POLICY = (
    "policy train --env gsm8k --lm hf:model --task.path train.jsonl --task.eval_path test.jsonl "
    "--iterations 2 --prompts 2 --group 4 --max_tokens 12 --eval_problems 2 --passk 0 --eval_every 0 "
)
WORLD = "world_model train --debug --eval_episodes 1 --steps 72 "
PRETRAIN = (
    "policy pretrain --steps 2 --batch_size 4 --hidden 16 --layers 1 --heads 2 --kv_heads 1 --feed_forward 16 "
    "--tokenizer_examples 50 --vocab_size 300 --learning_rate 1e-4"
)
RUNS = {
    "policy": POLICY + "--algorithm grpo --epochs 2 --task.mode whole --loss.kl k3",
    "policy, stepwise": POLICY + "--algorithm rloo --task.mode stepwise --warm_start 1",
    "policy, adapter": POLICY + "--lora_rank 2 --distill hf:model",
    "pretrain": PRETRAIN,
    "teacher": "teacher train --debug --steps 64 --horizon 16 --envs 2 --minibatch 32 --eval_episodes 2 --advice.who expert --advice.trial 2 --distill.schedule adaptive",
    "teacher, memory": "teacher train --debug --steps 64 --horizon 16 --envs 2 --minibatch 32 --eval_episodes 2 --advice.who expert --advice.trial 0 --student.recurrent true "
    "--distill.schedule constant --env mpe/simple_spread",
    "world model": WORLD,
    "world model, attention": WORLD + "--core llama --body.window 4 --body.layers 1",
    "world model, words": WORLD
    + "--core mamba2 --body.layers 1 --env understudy/TMaze-v0 --env_options.cue sentence",
    "world model, 2023": WORLD + "--version 2023 --env Pendulum-v1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("device")
    little.problems(made)
    little.model(steps=20).save(made / "model")
    return made


@pytest.fixture
def cuda(monkeypatch):
    """`cuda` is the pretended device."""

    def named(name: str) -> torch.device:
        return DEVICE if name.startswith("cuda") else torch.device(name)

    there = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1)
    monkeypatch.setattr(device, "torch", SimpleNamespace(cuda=there, device=named))


def run(command: str, name: str) -> Path:
    where = f"--run.name {name} --run.root runs-{name} --run.progress false"
    assert main(shlex.split(f"{command} {where}")) == 0
    return next(Path(f"runs-{name}").rglob(name))


@pytest.mark.parametrize("which", RUNS)
def test_a_run_on_a_device_learns_what_the_cpu_learns(which, folder, cuda, monkeypatch):
    monkeypatch.chdir(folder)
    name = which.replace(", ", "-").replace(" ", "-")
    plain = run(RUNS[which], name + "-cpu")
    with pretended():
        other = run(RUNS[which] + " --run.device cuda", name + "-cuda")
    here, there = read(plain / "metrics.jsonl"), read(other / "metrics.jsonl")
    assert [row["step"] for row in here] == [row["step"] for row in there]
    for one, two in zip(here, there, strict=True):
        assert two == pytest.approx(one, rel=2e-2, abs=2e-3)
    assert here[-1].get("updates", 1) > 0
    ours, theirs = load(plain / "checkpoints"), load(other / "checkpoints")
    assert ours is not None
    assert theirs is not None
    for group, tensors in ours.tensors.items():
        for key, value in tensors.items():
            saved = theirs.tensors[group][key]
            assert not isinstance(saved, Pretended)
            torch.testing.assert_close(saved, value, atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("which", ["policy", "world model"])
def test_a_run_of_a_device_goes_on_without_one(which, folder, cuda, monkeypatch):
    monkeypatch.chdir(folder)
    name = which.replace(" ", "-") + "-moved"
    with pretended():
        made = run(RUNS[which] + " --run.device cuda", name)
    before = load(made / "checkpoints")
    (made / "finished").unlink()
    assert main(["resume", str(made), "--run.device", "cpu", "--run.progress", "false"]) == 0
    after = load(made / "checkpoints")
    assert before is not None
    assert after is not None
    assert after.step == before.step


def test_the_pretended_device_tells_devices_apart():
    with pretended():
        there, here = torch.ones(3).to(DEVICE), torch.ones(3)
        assert (there + torch.tensor(1.0)).device == DEVICE
        assert there.cpu().sum() == 3
        for mixed in (lambda: there + here, lambda: torch.where(there > 0, here, 0.0), there.numpy):
            with pytest.raises(MixedDevices):
                mixed()
        module = torch.nn.Linear(3, 3)
        with pytest.raises(MixedDevices):
            module(there)
        assert module.to(DEVICE)(there).device == DEVICE


@pytest.mark.parametrize(("name", "said"), [("cuda", "finds none"), ("cuda:7", "finds none")])
def test_a_device_that_is_not_there_is_one_line(name, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["policy", "train", "--debug", "--run.device", name]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_auto_is_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.device_of("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.device_of("auto").type == "cuda"
    assert device.device_of("cuda:1") == torch.device("cuda:1")
    with pytest.raises(device.ConfigError, match="devices 0 to 1 alone"):
        device.device_of("cuda:2")
