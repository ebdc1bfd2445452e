"""The update rule: advantages in, new weights out. Blind to where the advantages came from.

    L(θ) = aggregate over tokens of  loss(log π_θ, log π_old, Â)  [+ β · k2 or k3 in the loss]
    Â_t  = advantage of the token − Σ_m β_m Σ_{s≥t} (log π_θ − log π_m)(s), detached

where m runs over the reference model and the distillation teacher. The sum to go is what makes the
penalty's gradient that of the KL itself (`ops.kl_to_go`); k2 and k3 in the loss are the usual, biased
alternatives. Tokens the environment wrote carry no loss.

Left out against GRPO: old log-probabilities are those recorded in sampling, never recomputed, as
sampler and trainer agree to float rounding, which every first update measures (`logprob_gap`). Only
where another engine sampled are they recomputed, and its tokens' losses weighted (`correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from understudy import ops
from understudy.lm.base import TokenLM, TrainableLM
from understudy.roles.policy.config import PolicyConfig

GAP = "logprob_gap"
Sums = dict[str, tuple[float, float]]
"""Metrics of some groups: a sum and what it is a mean over; of `GAP`, the largest."""


@dataclass(frozen=True)
class Group:
    """Answers to one prompt, with what the update needs of them. Lists are [G][L], ragged."""

    prompt: Sequence[int]
    ids: Sequence[Sequence[int]]
    old_logprobs: Sequence[Sequence[float]]
    sampled: Sequence[Sequence[bool]]
    advantages: Sequence[Sequence[float]]
    weights: Sequence[Sequence[float]] | None = None
    """Of the tokens' losses, where another engine drew them (`correction`); None is 1 for all."""

    @property
    def silent(self) -> bool:
        """No token of the group has an advantage: nothing to learn from."""
        return not any(a for row in self.advantages for a in row)


@dataclass(frozen=True)
class Anchor:
    """A model the policy is held to: log-probabilities and the weight of the divergence."""

    lm: TokenLM
    coef: float
    name: str = "kl"
    """Of its metric. How `kl` is estimated is set by `loss.kl`; any other is `exact`."""


def logprobs(lm: TokenLM, groups: Sequence[Group], temperature: float) -> torch.Tensor:
    """Log-probabilities [B, L] of all answers, B in order of groups."""
    return lm.logprobs([g.prompt for g in groups], [g.ids for g in groups], temperature=temperature)


def loss_of(
    lm: TrainableLM,
    groups: Sequence[Group],
    config: PolicyConfig,
    anchors: Sequence[Anchor],
    denominator: float,
) -> tuple[torch.Tensor, Sums]:
    """The loss of some groups, as their share of the whole batch's loss, and its metrics."""
    rows = config.loss
    new_BL = logprobs(lm, groups, config.temperature)
    dtype, device = new_BL.dtype, new_BL.device
    old_BL, _ = ops.pad_ragged(
        [r for g in groups for r in g.old_logprobs], 0.0, dtype=dtype, device=device
    )
    advantages_BL, _ = ops.pad_ragged(
        [r for g in groups for r in g.advantages], 0.0, dtype=dtype, device=device
    )
    mask_BL, _ = ops.pad_ragged(
        [r for g in groups for r in g.sampled], False, dtype=torch.bool, device=device
    )
    penalty_BL = torch.zeros_like(new_BL)
    answers, tokens = float(len(new_BL)), float(mask_BL.sum())
    metrics: Sums = {GAP: (float((new_BL - old_BL).detach()[mask_BL].abs().max()), 1.0)}
    for anchor in anchors:
        with torch.no_grad():
            anchor_BL = logprobs(anchor.lm, groups, config.temperature)
        apart = float(((new_BL.detach() - anchor_BL) * mask_BL).sum())
        metrics[anchor.name] = (apart, answers)
        if anchor.name == "kl" and rows.kl in ("k2", "k3"):
            penalty_BL = anchor.coef * getattr(ops, rows.kl)(new_BL, anchor_BL, mask_BL)
        else:
            to_go_BL = ops.kl_to_go(new_BL, anchor_BL, mask_BL)
            # k1 charges every token with the whole answer's log-ratio: right on average, but noisier.
            whole = anchor.name == "kl" and rows.kl == "k1"
            advantages_BL = advantages_BL - anchor.coef * (to_go_BL[:, :1] if whole else to_go_BL)
    if config.algorithm == "grpo":
        loss_BL, clipped_BL = ops.ppo_clip(
            new_BL, old_BL, advantages_BL, rows.clip_low, rows.clip_high
        )
        metrics["clip_fraction"] = (float(clipped_BL[mask_BL].sum()), tokens)
    else:
        loss_BL = ops.reinforce(new_BL, advantages_BL)
    metrics["entropy"] = (float(-new_BL.detach()[mask_BL].sum()), tokens)
    loss_BL = loss_BL + penalty_BL
    if weights := [r for g in groups for r in g.weights or ()]:
        loss_BL = ops.pad_ragged(weights, 0.0, dtype=new_BL.dtype)[0] * loss_BL
    loss = ops.aggregate(loss_BL, mask_BL, rows.aggregate, denominator=denominator)
    # A share of a sum: it is the steps that its mean is over.
    return loss, {**metrics, "loss": (float(loss.detach()), 0.0)}


def gradients(
    lm: TrainableLM,
    groups: Sequence[Group],
    config: PolicyConfig,
    anchors: Sequence[Anchor],
    denominator: float,
) -> Sums:
    """Adds the gradient of some groups' share of the batch's loss to the model's; returns its metrics."""
    found: list[Sums] = []
    for part in split(groups, config.accumulate):
        loss, metrics = loss_of(lm, part, config, anchors, denominator)
        loss.backward()
        found.append(metrics)
    return merged(found)


Gradients = Callable[[TrainableLM, Sequence[Group], PolicyConfig, Sequence[Anchor], float], Sums]
"""`gradients`, or another way to the same."""


def update(
    lm: TrainableLM,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Group],
    config: PolicyConfig,
    anchors: Sequence[Anchor],
    gradients: Gradients = gradients,
) -> dict[str, float]:
    """`epochs` passes of `minibatches` optimizer steps of `accumulate` backward passes each."""
    parameters = list(lm.parameters())
    steps: list[Sums] = []
    for _ in range(config.epochs):
        for batch in split(groups, config.minibatches):
            mask_BL, _ = ops.pad_ragged(
                [r for g in batch for r in g.sampled], False, dtype=torch.bool
            )
            # Silent groups count in the denominator, so leaving them out changes no gradient.
            denominator = ops.denominator(
                mask_BL, config.loss.aggregate, max_tokens=config.max_tokens
            )
            # A teacher has something to say of silent groups, too.
            skip = config.loss.skip_silent and config.distill is None
            telling = [g for g in batch if not (skip and g.silent)]
            if not telling:
                continue
            optimizer.zero_grad(set_to_none=True)
            found = gradients(lm, telling, config, anchors, denominator)
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            steps.append(merged([found, {"loss": (0.0, 1.0), "grad_norm": (float(norm), 1.0)}]))
            optimizer.step()
    result = {name: total / weight for name, (total, weight) in merged(steps).items()}
    if steps:
        # Only the first step is on-policy; there sampler and trainer must agree.
        result[GAP] = steps[0][GAP][0]
    result["skipped_groups"] = sum(g.silent for g in groups) / len(groups)
    return result


def merged(parts: Iterable[Sums]) -> Sums:
    """The metrics of parts as those of all of them."""
    found: Sums = {}
    for part in parts:
        for name, (total, weight) in part.items():
            before, behind = found.get(name, (0.0, 0.0))
            # Not Python's `max`, which loses a NaN.
            both = float(np.maximum(before, total)) if name == GAP else before + total
            found[name] = (both, behind + weight)
    return found


def split(groups: Sequence[Group], parts: int) -> list[Sequence[Group]]:
    """At most `parts` runs of groups of nearly equal number, none empty."""
    size = max(1, -(-len(groups) // parts))
    return [groups[k : k + size] for k in range(0, len(groups), size)]
