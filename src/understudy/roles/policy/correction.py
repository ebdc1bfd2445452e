"""Answers that another engine drew: what its rounding did to them is weighed away.

A sampler with kernels or a number type of its own draws from μ, not from the trainer's π_old, even
with the same weights. Truncated importance sampling (Yao et al. 2025, "Your Efficient RL Framework
Secretly Brings You Off-Policy RL Training"): the trainer scores the drawn tokens once, its scores
become the old log-probabilities, and each token's loss is weighted by

    w_t = min(π_old(a_t | s_t) / μ(a_t | s_t), C)          level "token"
    w   = min(Π_t π_old(a_t | s_t) / μ(a_t | s_t), C)      level "sequence"

Without C the answer's weight makes the gradient that of π_old, to the last digit; the token's leaves
prefixes and continuations those of μ, and has far less variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from understudy import ops
from understudy.lm.base import TokenLM
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.update import Group, logprobs, split
from understudy.run.errors import RunError


def importance_weights(
    log_ratio_BL: Tensor, mask_BL: Tensor, cap: float, level: Literal["token", "sequence"] = "token"
) -> Tensor:
    """Weights [B, L] of the tokens' losses, at most `cap`; 0 is no cap.

    Args:
        log_ratio_BL: log π_old − log μ of the tokens [B, L].
        mask_BL: True at the tokens that were drawn [B, L].
        cap: C.
        level: a token's own ratio, or the product of its answer's.
    """
    ratio = log_ratio_BL.detach().masked_fill(~mask_BL, 0.0)
    if level == "sequence":
        ratio = ratio.sum(-1, keepdim=True).expand_as(ratio)
    weights = ratio.exp()
    return weights.clamp(max=cap) if cap else weights


@torch.no_grad()
def corrected(
    lm: TokenLM, groups: Sequence[Group], config: PolicyConfig
) -> tuple[list[Group], dict[str, float]]:
    """The groups with the trainer's old log-probabilities and the weights, and what was found.

    Raises:
        RunError: engine and trainer are further apart than `config.sampler.max_gap`.
    """
    own, found = config.sampler, list[Group]()
    gaps, weights, cut = list[Tensor](), list[Tensor](), list[Tensor]()
    for part in split(groups, config.minibatches * config.accumulate):
        trainer_BL = logprobs(lm, part, config.temperature).cpu()
        engine_BL, _ = ops.pad_ragged(
            [r for g in part for r in g.old_logprobs], 0.0, dtype=trainer_BL.dtype
        )
        mask_BL, _ = ops.pad_ragged([r for g in part for r in g.sampled], False, dtype=torch.bool)
        ratio_BL = trainer_BL - engine_BL
        weights_BL = importance_weights(ratio_BL, mask_BL, own.truncate, own.level)
        uncut_BL = importance_weights(ratio_BL, mask_BL, 0.0, own.level)
        gaps.append(ratio_BL[mask_BL].abs())
        weights.append(weights_BL[mask_BL])
        cut.append((uncut_BL > weights_BL)[mask_BL])
        rows = zip(trainer_BL.tolist(), weights_BL.tolist(), strict=True)
        for group in part:
            mine = [next(rows) for _ in group.ids]
            old = [row[: len(ids)] for (row, _), ids in zip(mine, group.ids, strict=True)]
            weight = [row[: len(ids)] for (_, row), ids in zip(mine, group.ids, strict=True)]
            found.append(replace(group, old_logprobs=old, weights=weight))
    gap = torch.cat(gaps)
    _check(float(gap.mean()), own.max_gap)
    return found, {
        "engine_gap": float(gap.mean()),
        "engine_gap_max": float(gap.max()),
        "is_weight": float(torch.cat(weights).mean()),
        "is_truncated": float(torch.cat(cut).double().mean()),
    }


def _check(gap: float, limit: float) -> None:
    if not gap <= limit:  # also where it is no number
        raise RunError(
            f"the engine draws from other probabilities than the trainer's: {gap:.2e} nats a token on "
            f"average (sampler.max_gap {limit:g}); its weights or its number type are not the model's"
        )
