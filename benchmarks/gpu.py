"""The policy's step and the world model's on one device: tokens per second, MFU, peak memory, steps per second.

A random Qwen2 of the shape of Qwen2.5-0.5B (494 M parameters), 8 prompts of 256 tokens with 8 answers of exactly 256,
bfloat16 over float32 weights, no KL, one AdamW step per batch: ours, ours packed, ours with checkpointing, and TRL's
GRPOTrainer on the same work (bf16, no checkpointing, no reference, one generation per update). Rewards are
random. Then the world model of size 12m: updates of 16 × 64 steps and dreams of 15 from all of them, and acting in 16
environments. Every row is a process of its own; seconds are of the clock, with the device waited for; the first
step is left out.

MFU is 6 × (parameters of the matrix products) × (tokens that are fed), over the update's seconds and the device's peak
in bfloat16 without sparsity, which is asked for with --peak where the device's name says nothing.

    python benchmarks/gpu.py                          # on a machine with CUDA
    python benchmarks/gpu.py --device cpu --tiny      # the same code, a minute, says nothing of speed
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROWS = ("ours", "ours, packed", "ours, checkpointing", "trl", "world model")
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
FULL = {
    "hidden": 896,
    "layers": 24,
    "heads": 14,
    "kv": 2,
    "ffn": 4864,
    "vocabulary": 151936,
    "tokens": 256,
}
TINY = {"hidden": 64, "layers": 2, "heads": 4, "kv": 2, "ffn": 128, "vocabulary": 100, "tokens": 16}
PROMPTS, COPIES, WORLDS = 8, 8, 16


def setting(shape: dict[str, int]) -> tuple[Any, Any, list[str]]:
    """Model, tokenizer and prompts, the same in every process."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from understudy.lm.fake import ASCII, char_tokenizer, randomize

    tokenizer = char_tokenizer(ASCII[:95])
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=shape["vocabulary"], hidden_size=shape["hidden"], intermediate_size=shape["ffn"],
            num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
            num_key_value_heads=shape["kv"], tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    randomize(model, 0, 0.02)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(10, 95, (PROMPTS, shape["tokens"]), generator=generator).tolist()
    return model, tokenizer, ["".join(ASCII[i] for i in row) for row in rows]


def clock(device: str) -> float:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def ours(shape: dict[str, int], device: str, steps: int, compute: dict[str, Any]) -> dict[str, Any]:
    import torch
    from sampler import NeverEnd

    from understudy import ops
    from understudy.lm.base import Sampling
    from understudy.lm.compute import ComputeConfig
    from understudy.lm.local import LocalLM
    from understudy.roles.policy.config import LossConfig, PolicyConfig
    from understudy.roles.policy.update import Group, update

    model, tokenizer, texts = setting(shape)
    lm, new = LocalLM(model, tokenizer, device=device), shape["tokens"]
    lm.compute = ComputeConfig(precision="bfloat16", **compute)
    config = PolicyConfig(algorithm="grpo", loss=LossConfig(kl_coef=0.0), max_tokens=new)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-6)
    prompts = [lm.encode(text) for text in texts]
    masker, chance = NeverEnd(lm.eos_ids, shape["vocabulary"]), random.Random(0)
    sampled, trained, gap = list[float](), list[float](), 0.0
    for step in range(steps + 1):
        start = clock(device)
        found = lm.sample(
            prompts, Sampling(max_tokens=new, seed=step), copies=COPIES, masker=masker
        )
        between = clock(device)
        rewards = torch.tensor([[chance.random() for _ in group] for group in found])
        advantages = ops.group_relative(rewards).tolist()
        groups = [
            Group(p, [c.ids for c in g], [c.logprobs for c in g], [c.sampled for c in g], [[a] * new for a in row])
            for p, g, row in zip(prompts, found, advantages, strict=True)
        ]  # fmt: skip
        gap = max(gap, update(lm, optimizer, groups, config, [])["logprob_gap"])
        sampled.append(between - start)
        trained.append(clock(device) - between)
    tokens = PROMPTS * COPIES * new
    products = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    fed = sum(map(len, prompts)) + tokens
    seconds = statistics.median(trained[1:])
    return {
        "step_seconds": round(statistics.median(map(sum, zip(sampled[1:], trained[1:], strict=True))), 3),
        "sampled_tokens_per_second": round(tokens / statistics.median(sampled[1:])),
        "trained_tokens_per_second": round(tokens / seconds),
        "update_flops_per_second": 6 * products * fed / seconds,
        "logprob_gap": round(gap, 4),
    }  # fmt: skip


def trl(shape: dict[str, int], device: str, steps: int) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer, texts = setting(shape)
    marks, chance, new = list[float](), random.Random(0), shape["tokens"]

    class Clock(TrainerCallback):
        def on_step_begin(self, *_args, **_kwargs) -> None:
            marks.append(clock(device))

        def on_step_end(self, *_args, **_kwargs) -> None:
            marks.append(clock(device))

    def score(prompts: list[str], **_columns: object) -> list[float]:
        return [chance.random() for _ in prompts]

    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, use_cpu=device == "cpu", bf16=True, gradient_checkpointing=False, beta=0.0,
            per_device_train_batch_size=PROMPTS * COPIES, num_generations=COPIES, steps_per_generation=1,
            gradient_accumulation_steps=1, max_completion_length=new, max_steps=steps + 1, temperature=1.0,
            top_k=0, learning_rate=1e-6, lr_scheduler_type="constant", loss_type="dapo", epsilon=0.2,
            report_to="none", logging_strategy="no", save_strategy="no", disable_tqdm=True, shuffle_dataset=False,
            dataloader_num_workers=0, generation_kwargs={"min_new_tokens": new}, seed=0,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=model, reward_funcs=score, args=arguments, processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"prompt": text} for text in texts]), callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    found = [end - begin for begin, end in zip(marks[::2], marks[1::2], strict=True)][1:]
    return {"step_seconds": round(statistics.median(found), 3)}


def world(tiny: bool, device: str, steps: int) -> dict[str, Any]:
    import numpy as np
    import torch

    from understudy.roles.world_model.agent import update
    from understudy.roles.world_model.config import WorldModelConfig
    from understudy.roles.world_model.replay import CONTEXT
    from understudy.roles.world_model.setup import (
        make_agent,
        make_envs,
        make_optimizer,
        make_replay,
    )
    from understudy.roles.world_model.train import on
    from understudy.run.config import RunConfig
    from understudy.run.seed import Seeds

    config = WorldModelConfig(
        core="block_gru", size="cpu-tiny" if tiny else "12m", envs=WORLDS, run=RunConfig(device=device)
    )  # fmt: skip
    config = replace(config, replay=replace(config.replay, batch=16, length=64))
    config = replace(config, behaviour=replace(config.behaviour, starts=1024, horizon=15))
    envs = make_envs(config, Seeds(0), "envs", WORLDS)
    agent = make_agent(config, envs, Seeds(0))
    replay, optimizer = make_replay(config, envs, agent), make_optimizer(config, agent)
    generator, state = torch.Generator().manual_seed(0), agent.model.core.init_state(WORLDS)
    records = envs.advance(None)
    start = clock(device)
    acts = 4 * config.replay.length
    for _ in range(acts):
        before = state
        action, state = agent.act(records, state, generator, greedy=False)
        kept = {**records, "action": action.cpu().numpy()}
        if CONTEXT in replay.fields:
            kept[CONTEXT] = agent.model.core.pack(before).cpu().numpy()
        replay.add(kept)
        records = envs.advance(kept["action"])
    acting = (clock(device) - start) / (acts * WORLDS)
    seconds, rng = list[float](), np.random.default_rng(0)
    for _ in range(steps + 1):
        start = clock(device)
        batch, drawn = replay.draw(16, rng)
        done = update(agent, optimizer, on(agent.model.device, batch), config, generator)
        if done.states is not None:
            replay.refresh(drawn, done.states)
        seconds.append(clock(device) - start)
    one = statistics.median(seconds[1:])
    owed = config.replay.ratio / (16 * 64)
    return {
        "parameters": sum(p.numel() for p in agent.parameters() if p.requires_grad),
        "updates_per_second": round(1 / one, 2),
        "steps_acted_per_second": round(1 / acting),
        "steps_per_second_at_ratio": {config.replay.ratio: round(1 / (acting + owed * one), 1)},
    }  # fmt: skip


def child(row: str, device: str, tiny: bool, steps: int) -> dict[str, Any]:
    import torch

    shape = TINY if tiny else FULL
    if row == "world model":
        found = world(tiny, device, steps)
    elif row == "trl":
        found = trl(shape, device, steps)
    else:
        part = row.removeprefix("ours").removeprefix(", ")
        found = ours(shape, device, steps, {part: True} if part else {})
    if device == "cpu":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    else:
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    return {**found, "peak_mb": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--peak", type=float, help="of the device, in floating-point operations a second"
    )
    parser.add_argument("--child", choices=ROWS)
    given = parser.parse_args()
    if given.child:
        print("\n" + json.dumps(child(given.child, given.device, given.tiny, given.steps)))
        return
    import torch

    if given.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("gpu.py: there is no CUDA device; try --device cpu --tiny")
    name = "cpu" if given.device == "cpu" else torch.cuda.get_device_name(given.device)
    peak = given.peak or next((p for key, p in PEAKS.items() if key in name), None)
    result: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "tiny": given.tiny,
        "steps": given.steps,
    }
    for row in ROWS:
        command = [sys.executable, __file__, "--child", row, "--device", given.device]
        command += ["--steps", str(given.steps), *(["--tiny"] if given.tiny else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{row}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        flops = found.pop("update_flops_per_second", None)
        if flops and peak:
            found["mfu_of_the_update"] = round(flops / peak, 3)
        result[row] = found
    print(json.dumps(result, indent=2))
    if not given.tiny:
        out = Path(__file__).parent / "results" / "gpu.json"
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
