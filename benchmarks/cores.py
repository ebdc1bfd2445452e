"""What the sequence cores of the world model cost, on one CPU thread, in CPU milliseconds.

Width 256, two layers where there are layers, tokens of 64 features. Train: `observe` of 16 × 64 tokens
with resets and the backward pass. Dream: one `step` without gradient of 64 and 256 rows that `starts`
made from the chunk. Ratios are to the GRU. Medians; the cores take turns, so that a busy
machine hits all of them. `transformers mamba` is the library's own forward and backward on the same body
(no resets), with `--slow`: it takes some ten seconds a pass.

    python benchmarks/cores.py [--repeats 5] [--slow]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from understudy.lm.backbone import fresh_body
from understudy.roles.world_model.cores.base import Core
from understudy.roles.world_model.cores.build import make_core
from understudy.roles.world_model.cores.spec import CoreConfig

CORES = ("gru", "block_gru", "llama", "gpt2", "gpt_neox", "mamba", "mamba2", "slots", "pocket")
ROWS, LENGTH, TOKEN, DREAMS = 16, 64, 64, (64, 256)
RATIOS = ("train", "step 64", "step 256")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = CoreConfig(width=256, layers=2, heads=4, window=32)
    cores = {name: make_core(name, TOKEN, config) for name in CORES}
    times: dict[str, dict[str, list[float]]] = {name: {} for name in cores}
    for turn in range(options.repeats + 1):
        for name, core in cores.items():
            for what, spent in measure(core).items():
                if turn:  # the first is a warm-up
                    times[name].setdefault(what, []).append(spent)
    medians = {
        name: {what: statistics.median(values) for what, values in rows.items()}
        for name, rows in times.items()
    }
    table = {
        name: {"parameters": sum(p.numel() for p in cores[name].parameters())}
        | {what: round(value, 1) for what, value in row.items()}
        | {f"{what} / gru": round(row[what] / medians["gru"][what], 2) for what in RATIOS}
        for name, row in medians.items()
    }
    result = {
        "milliseconds": table,
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if options.slow:
        result["transformers mamba train"] = round(library_mamba(config))
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results" / "cores.json"
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure(core: Core) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(ROWS, LENGTH, TOKEN, generator=generator)
    is_first = torch.rand(ROWS, LENGTH, generator=generator) < 0.02
    state = core.init_state(ROWS)

    def train() -> None:
        core.zero_grad()
        core.observe(tokens, is_first, state).h.square().mean().backward()

    spent = {"train": clock(train)}
    with torch.no_grad():
        seen = core.observe(tokens, is_first, state)
        for rows in DREAMS:
            index = torch.randperm(ROWS * LENGTH, generator=generator)[:rows]
            begun = core.starts(seen.handle, index)
            token = tokens.flatten(0, 1)[index]
            spent[f"starts {rows}"] = clock(lambda i=index: core.starts(seen.handle, i))
            spent[f"step {rows}"] = clock(lambda t=token, s=begun: core.step(t, s))
    return spent


def library_mamba(config: CoreConfig) -> float:
    body = fresh_body("mamba", width=config.width, layers=config.layers)
    inputs = torch.randn(ROWS, LENGTH, config.width, generator=torch.Generator().manual_seed(0))

    def train() -> None:
        body.model(
            inputs_embeds=inputs, use_cache=False
        ).last_hidden_state.square().mean().backward()

    return clock(train)


def clock(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
