"""A whole GRPO step against TRL's GRPOTrainer: same model, prompts, lengths and update, one CPU thread.

A random Llama (hidden 256, 4 layers, 4 heads, FFN 704, 100 tokens), 8 prompts of 33 to 64 tokens with 8
answers of exactly 64 tokens each, temperature 1, no KL, one AdamW step per batch. The peer runs at its best
CPU settings: no gradient checkpointing, no reference model, float32, SDPA, one generation per update. Two
scenarios: every group carries signal; half of the groups have equal rewards and carry none. Seconds are
CPU seconds of whole steps after a warm-up; each side runs in a process of its own, whose peak memory is
measured, and the processes alternate.

    python benchmarks/grpo_step.py [--steps 4] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPTS, COPIES, LENGTH, NEW = 8, 8, 64, 64


def setting():
    """The model and the prompts, the same in every process."""
    import torch

    from understudy.lm.fake import ASCII, tiny_model

    torch.set_num_threads(1)
    lm = tiny_model(
        characters=ASCII[:95], hidden=256, layers=4, heads=4, kv_heads=4, intermediate_size=704,
        initializer_range=0.02,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(LENGTH // 2 + 1, LENGTH + 1, (PROMPTS,), generator=generator).tolist()
    rows = [torch.randint(10, 95, (n,), generator=generator).tolist() for n in lengths]
    return lm, ["".join(ASCII[i] for i in row) for row in rows]


def reward(text: str, silent: bool) -> float:
    """Cheap, and different for different answers, unless the group is to carry no signal."""
    return 0.0 if silent else sum(map(ord, text)) % 97 / 97


def ours(steps: int, half: bool) -> list[float]:
    import torch
    from sampler import NeverEnd

    from understudy import ops
    from understudy.lm.base import Sampling
    from understudy.roles.policy.config import LossConfig, PolicyConfig
    from understudy.roles.policy.update import Group, update

    lm, texts = setting()
    config = PolicyConfig(algorithm="grpo", loss=LossConfig(kl_coef=0.0), max_tokens=NEW)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-5)
    prompts = [lm.encode(text) for text in texts]
    masker = NeverEnd(lm.eos_ids, 100)
    seconds: list[float] = []
    for step in range(steps + 1):
        started = time.process_time()
        found = lm.sample(
            prompts, Sampling(max_tokens=NEW, seed=step), copies=COPIES, masker=masker
        )
        rewards = [
            [reward(lm.decode(c.ids), half and u % 2 == 0) for c in group]
            for u, group in enumerate(found)
        ]
        advantages = ops.group_relative(torch.tensor(rewards)).tolist()
        groups = [
            Group(p, [c.ids for c in g], [c.logprobs for c in g], [c.sampled for c in g], [[a] * NEW for a in row])
            for p, g, row in zip(prompts, found, advantages, strict=True)
        ]  # fmt: skip
        update(lm, optimizer, groups, config, [])
        seconds.append(time.process_time() - started)
    return seconds[1:]


def theirs(steps: int, half: bool) -> list[float]:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    lm, texts = setting()
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_args, **_kwargs) -> None:
            marks.append(time.process_time())

        def on_step_end(self, *_args, **_kwargs) -> None:
            marks.append(time.process_time())

    def score(prompts: list[str], completions: list[str], **_columns: object) -> list[float]:
        return [
            reward(c, half and texts.index(p) % 2 == 0)
            for p, c in zip(prompts, completions, strict=True)
        ]

    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, beta=0.0,
            per_device_train_batch_size=PROMPTS * COPIES, num_generations=COPIES, steps_per_generation=1,
            gradient_accumulation_steps=1, max_completion_length=NEW, max_steps=steps + 1, temperature=1.0,
            top_k=0, learning_rate=1e-5, lr_scheduler_type="constant", loss_type="dapo", epsilon=0.2,
            report_to="none", logging_strategy="no", save_strategy="no", disable_tqdm=True, shuffle_dataset=False,
            dataloader_num_workers=0, generation_kwargs={"min_new_tokens": NEW}, seed=0,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=lm.model, reward_funcs=score, args=arguments, processing_class=lm.tokenizer,
            train_dataset=Dataset.from_list([{"prompt": text} for text in texts]), callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    ends, begins = marks[1::2], marks[0::2]
    return [end - begin for begin, end in zip(begins, ends, strict=True)][1:]


def child(side: str, steps: int, half: bool) -> None:
    seconds = {"understudy": ours, "trl": theirs}[side](steps, half)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "peak_mb": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=["understudy", "trl"])
    parser.add_argument("--half", action="store_true")
    given = parser.parse_args()
    if given.child:
        child(given.child, given.steps, given.half)
        return
    result: dict[str, object] = {"steps": given.steps, "repeats": given.repeats}
    for half in (False, True):
        seconds: dict[str, list[float]] = {"understudy": [], "trl": []}
        peaks: dict[str, float] = {}
        for _ in range(given.repeats):
            for side, found in seconds.items():
                command = [sys.executable, __file__, "--child", side, "--steps", str(given.steps)]
                done = subprocess.run(
                    [*command, *(["--half"] if half else [])],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(done.stderr[-2000:])
                row = json.loads(done.stdout.splitlines()[-1])
                found += row["seconds"]
                peaks[side] = max(peaks.get(side, 0.0), row["peak_mb"])
        medians = {side: statistics.median(found) for side, found in seconds.items()}
        result["half the groups silent" if half else "every group tells"] = {
            "completions_per_cpu_second": {
                s: round(PROMPTS * COPIES / m, 1) for s, m in medians.items()
            },
            "median_step_cpu_seconds": {s: round(m, 3) for s, m in medians.items()},
            "fastest_step_cpu_seconds": {s: round(min(found), 3) for s, found in seconds.items()},
            "ratio": round(medians["trl"] / medians["understudy"], 2),
            "peak_mb": {s: round(p) for s, p in peaks.items()},
        }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "grpo_step.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
