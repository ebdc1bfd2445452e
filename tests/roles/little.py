"""A task and a model so small that a whole training run takes a second, for tests of the loop.

The task: sums of two digits, worked with the calculator on one line and marked on the next. The model
has learnt that form, and little of when which digits come, so its answers to one problem differ in
reward: there is something to learn from.
"""

import json
from pathlib import Path

import torch

from understudy.lm.fake import tiny_model
from understudy.lm.local import LocalLM
from understudy.roles.policy.supervised import cross_entropy
from understudy.rollout.corpus import encode_example
from understudy.types import Message

CHARACTERS = "\n 0123456789+=<>#?YESNOyesnopabclm{}"


def problems(folder: Path) -> tuple[Path, Path]:
    """Training and held-out problems as GSM8K files, 24 and 6 of them."""
    pairs = [(a, b) for a in range(1, 7) for b in range(1, 6)]
    files = folder / "train.jsonl", folder / "test.jsonl"
    for file, part in zip(files, (pairs[6:], pairs[:6]), strict=True):
        rows = [{"question": f"{a}+{b}?", "answer": worked(a, b)} for a, b in part]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


def worked(a: int, b: int) -> str:
    """`<<1+2=3>>`, a line end, and the mark."""
    return f"<<{a}+{b}={a + b}>>\n#### {a + b}"


def model(*, steps: int = 60, hidden: int = 16) -> LocalLM:
    """A model that writes in the task's form and is right now and then."""
    lm = tiny_model(0, characters=CHARACTERS, hidden=hidden, heads=2, kv_heads=1, context=96)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-2)
    pairs = [(a, b) for a in range(1, 7) for b in range(1, 6)]
    rows = [encode_example(lm, (Message("user", f"{a}+{b}?"),), worked(a, b)) for a, b in pairs]
    for _ in range(steps):
        loss = cross_entropy(lm.model, rows, min(lm.eos_ids))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lm
