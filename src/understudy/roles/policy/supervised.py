"""Supervised learning on worked answers: the pocket model from nothing, or a warm start.

Plain next-token cross-entropy on the answer's tokens; what a calculator wrote is not learnt.
Batches are sorted by length within a window, so that little is padded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from understudy.envs.base import Demonstrates, Task
from understudy.lm.local import LocalLM
from understudy.roles.policy.config import PolicyConfig
from understudy.rollout.corpus import Example, encode_example
from understudy.rollout.prompting import Prompt
from understudy.run.seed import Seeds
from understudy.types import UnderstudyError

WINDOW = 16
"""Batches that are sorted by length together."""


def batches(
    example: Callable[[int], Example], first_step: int, last_step: int, batch_size: int, seed: int
) -> Iterator[list[Example]]:
    """The batches of steps first_step .. last_step - 1; a step's batch depends on nothing else."""
    window: list[list[Example]] = []
    held = -1
    for step in range(first_step, last_step):
        if step // WINDOW != held:
            held = step // WINDOW
            start = held * WINDOW * batch_size
            rows = [example(i) for i in range(start, start + WINDOW * batch_size)]
            rows.sort(key=lambda e: len(e.ids))
            chunks = [rows[k : k + batch_size] for k in range(0, len(rows), batch_size)]
            order = torch.randperm(WINDOW, generator=torch.Generator().manual_seed(seed + held))
            window = [chunks[k] for k in order.tolist()]
        yield window[step % WINDOW]


def cross_entropy(model: torch.nn.Module, rows: Sequence[Example], pad_id: int) -> torch.Tensor:
    """Mean negative log-likelihood of the learnt tokens, in nats."""
    longest = max(len(e.ids) for e in rows)
    device = next(model.parameters()).device
    ids = torch.tensor([[*e.ids, *[pad_id] * (longest - len(e.ids))] for e in rows]).to(device)
    weights = torch.tensor([[*e.weights, *[0.0] * (longest - len(e.ids))] for e in rows])
    weights = weights.to(device)
    # Right padding under a causal mask: no real token attends to a pad.
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    learnt = weights[:, 1:].flatten()
    return (loss * learnt).sum() / learnt.sum()


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a cosine to a tenth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.55 + 0.45 * math.cos(math.pi * progress))


def make_optimizers(
    model: torch.nn.Module, weight_decay: float = 0.0
) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings, norms and heads; rates are set per step.

    Muon's update is scaled to AdamW's root mean square (arXiv 2502.16982, section 2.2), so that
    one learning rate fits both. From scratch it needs about half of AdamW's updates.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = [
        p
        for name, p in trained.items()
        if p.dim() == 2 and "embed" not in name and "lm_head" not in name
    ]
    known = {id(p) for p in hidden}
    others = [p for p in trained.values() if id(p) not in known]
    found: list[torch.optim.Optimizer] = []
    if hidden:
        found.append(
            torch.optim.Muon(hidden, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    if others:
        found.append(torch.optim.AdamW(others, weight_decay=0.0, betas=(0.9, 0.98)))
    return found


def supervised_step(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    rows: Sequence[Example],
    *,
    pad_id: int,
    rate: float,
    max_grad_norm: float = 1.0,
) -> tuple[float, float]:
    """One update; returns the loss in nats per token and the gradient norm before clipping."""
    loss = cross_entropy(model, rows, pad_id)
    model.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return float(loss.detach()), float(norm)


def warm_start(
    lm: LocalLM, task: Task, prompt: Prompt, config: PolicyConfig, *, batch_size: int = 16
) -> list[float]:
    """`config.warm_start` supervised updates on worked answers; returns their losses.

    Raises:
        UnderstudyError: the task has neither demonstrations nor worked solutions.
    """
    seeds = Seeds(config.seed)
    key = seeds.integer("warm start")

    def example(index: int) -> Example:
        rng = np.random.default_rng(np.random.SeedSequence([key, index]))
        problem = task.problem(int(rng.integers(len(task))))
        worked = (
            task.demonstration(problem, rng) if isinstance(task, Demonstrates) else problem.solution
        )
        if not worked:
            raise UnderstudyError(f"warm_start: {task.name} has no worked solutions to learn from")
        return encode_example(lm, prompt.messages(problem.question), worked)

    optimizer = torch.optim.AdamW(lm.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    losses: list[float] = []
    peak = config.warm_start_rate or config.learning_rate
    for step, rows in enumerate(
        batches(example, 0, config.warm_start, batch_size, seed=key % 2**31)
    ):
        rate = learning_rate(step, config.warm_start, peak, config.warmup)
        loss, _ = supervised_step(lm.model, [optimizer], rows, pad_id=min(lm.eos_ids), rate=rate)
        losses.append(loss)
    return losses
