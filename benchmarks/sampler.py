"""Tokens per second of the sampler against transformers' generate, on one CPU thread.

A random Llama (hidden 256, 4 layers, 4 heads, FFN 704, 100 tokens), 8 prompts of 33 to 64 tokens
with 8 samples each, 64 new tokens, temperature 1, no row ends early. transformers runs with its
dynamic cache and left-padded repeated prompts, with either attention; the ratio is of medians, to
the faster one. Repeats alternate; seconds are CPU seconds.

    python benchmarks/sampler.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from transformers import GenerationConfig

from understudy.lm.base import Sampling
from understudy.lm.fake import ASCII, tiny_model

PROMPTS, COPIES, LENGTH, NEW = 8, 8, 64, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    lm = tiny_model(
        characters=ASCII[:95], hidden=256, layers=4, heads=4, kv_heads=4, intermediate_size=704,
        eos_token_id=None, initializer_range=0.02,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(LENGTH // 2 + 1, LENGTH + 1, (PROMPTS,), generator=generator).tolist()
    prompts = [torch.randint(5, 100, (n,), generator=generator).tolist() for n in lengths]
    padded = torch.tensor([[4] * (LENGTH - len(p)) + p for p in prompts])
    ids = padded.repeat_interleave(COPIES, 0)
    mask = torch.tensor([[0] * (LENGTH - n) + [1] * n for n in lengths])
    mask = mask.repeat_interleave(COPIES, 0)
    config = GenerationConfig(
        do_sample=True, top_k=0, max_new_tokens=NEW, min_new_tokens=NEW, pad_token_id=4
    )
    masker = NeverEnd(lm.eos_ids, 100)

    def ours() -> int:
        groups = lm.sample(prompts, Sampling(max_tokens=NEW), copies=COPIES, masker=masker)
        return sum(len(c.ids) for group in groups for c in group)

    def theirs(attention: str) -> int:
        lm.model.set_attn_implementation(attention)
        with torch.inference_mode():
            out = lm.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return out[:, LENGTH:].numel()

    sides = {
        "understudy": ours,
        "transformers sdpa": lambda: theirs("sdpa"),
        "transformers eager": lambda: theirs("eager"),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            start = time.process_time()
            tokens = run()
            assert tokens == PROMPTS * COPIES * NEW, (name, tokens)
            rates[name].append(tokens / (time.process_time() - start))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    result = {
        "tokens_per_second": {name: round(value) for name, value in medians.items()},
        "best": {name: round(max(values)) for name, values in rates.items()},
        "ratio": round(medians.pop("understudy") / max(medians.values()), 2),
        "repeats": repeats,
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "sampler.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


class NeverEnd:
    """Suppresses the end tokens, as `min_new_tokens` does in transformers."""

    def __init__(self, eos_ids: frozenset[int], vocabulary: int) -> None:
        self._allowed = torch.ones(vocabulary, dtype=torch.bool)
        self._allowed[list(eos_ids)] = False

    def apply(self, rows: list[int], logits: torch.Tensor) -> torch.Tensor:
        del rows
        self._allowed = self._allowed.to(logits.device)
        return logits.masked_fill(~self._allowed, -torch.inf)

    def accept(self, row: int, token: int) -> None:
        """Nothing to remember."""


if __name__ == "__main__":
    main()
