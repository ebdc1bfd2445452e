"""What packing, activation checkpointing and bfloat16 cost and save in one backward pass of the policy.

A random Llama (hidden 256, 4 layers, 4 heads, FFN 704, 100 tokens), 2 prompts of 33 to 64 tokens with 8 answers
each: of 16 to 256 tokens, uniformly; or all of 136. Log-probabilities and their gradient, one thread; every
variant in a process of its own, in turn, whose peak memory is compared with that before the first pass. `kept`
are the bytes that are kept for the gradient, weights left out, counted tensor by tensor.

    python benchmarks/packed.py [--repeats 3] [--passes 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPTS, COPIES = 2, 8
VARIANTS = {
    "padded": {},
    "packed": {"packed": True},
    "padded, checkpointing": {"checkpointing": True},
    "packed, checkpointing": {"packed": True, "checkpointing": True},
    "padded, bfloat16": {"precision": "bfloat16"},
}
LENGTHS = {"16 to 256": (16, 256), "all 136": (136, 136)}


def child(variant: str, lengths: str, passes: int) -> dict[str, float]:
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from understudy.lm.compute import ComputeConfig
    from understudy.lm.fake import ASCII, tiny_model

    torch.set_num_threads(1)
    lm = tiny_model(
        characters=ASCII[:95], hidden=256, layers=4, heads=4, kv_heads=4, intermediate_size=704,
        initializer_range=0.02,
    )  # fmt: skip
    lm.compute = ComputeConfig(**VARIANTS[variant])
    generator = torch.Generator().manual_seed(0)

    def rows(low: int, high: int, count: int) -> list[list[int]]:
        sizes = torch.randint(low, high + 1, (count,), generator=generator).tolist()
        return [torch.randint(10, 95, (n,), generator=generator).tolist() for n in sizes]

    prompts = rows(33, 64, PROMPTS)
    answers = [rows(*LENGTHS[lengths], COPIES) for _ in prompts]
    weights = {p.untyped_storage().data_ptr() for p in lm.model.parameters()}
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    lm.logprobs(prompts[:1], [[[10, 11]]]).sum().backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: list[float] = []
    for _ in range(passes + 1):
        started = time.process_time()
        lm.logprobs(prompts, answers).sum().backward()
        seconds.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with saved_tensors_hooks(keep, lambda x: x):
        held = lm.logprobs(prompts, answers)
    assert held.requires_grad
    real = sum(len(row) for group in answers for row in group)
    return {
        "seconds": statistics.median(seconds[1:]), "peak_mb": peak / 1024,
        "kept_mb": sum(kept.values()) / 1e6, "tokens": real,
        "padded_tokens": PROMPTS * COPIES * max(len(row) for group in answers for row in group),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(*given.child, given.passes)))
        return
    result: dict[str, object] = {"repeats": given.repeats, "passes": given.passes}
    for lengths in LENGTHS:
        found: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
        for _ in range(given.repeats):
            for variant, runs in found.items():
                command = [sys.executable, __file__, "--child", variant, lengths]
                command += ["--passes", str(given.passes)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
        plain = statistics.median(run["seconds"] for run in found["padded"])
        result[lengths] = {
            variant: {
                "cpu_seconds": round(statistics.median(run["seconds"] for run in runs), 3),
                "of_padded": round(statistics.median(r["seconds"] for r in runs) / plain, 2),
                "peak_mb": round(max(run["peak_mb"] for run in runs)),
                "kept_mb": round(runs[0]["kept_mb"], 1),
                "tokens": runs[0]["tokens"],
                "padded_tokens": runs[0]["padded_tokens"],
            }
            for variant, runs in found.items()
        }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "packed.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
