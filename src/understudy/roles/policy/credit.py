"""Who gets the credit: rewards of a batch of episodes to one advantage per token.

The algorithms differ here and nowhere else: REINFORCE compares an answer with the rest of the
batch, RLOO (arXiv 2402.14740) with the other answers to the same problem, GRPO (arXiv 2402.03300)
with their mean in units of their standard deviation. Stepwise episodes are credited per step: the
return to go, less the mean return to go of the problem's other episodes at the same step.

Left out against the papers: GRPO's process-reward variant; RLOO's KL inside the reward is the
`kl` part of the loss here (`update.py`), the same for every algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from understudy import ops
from understudy.roles.policy.config import PolicyConfig
from understudy.types import Episode


def token_advantages(
    config: PolicyConfig, episodes: Sequence[Sequence[Episode]]
) -> list[list[float]]:
    """One advantage per token, [U × G] ragged in L, for episodes [U][G]."""
    if config.task.mode == "stepwise":
        return _per_step(config, episodes)
    rewards_UG = torch.tensor([[sum(e.rewards) for e in group] for group in episodes])
    if config.algorithm == "reinforce":
        advantages_UG = ops.batch_baseline(rewards_UG)
    elif config.algorithm == "rloo":
        advantages_UG = ops.leave_one_out(rewards_UG)
    else:
        advantages_UG = ops.group_relative(rewards_UG, scale=config.loss.scale)
    flat = advantages_UG.flatten().tolist()
    return [[a] * _length(e) for a, e in zip(flat, (e for g in episodes for e in g), strict=True)]


def _per_step(config: PolicyConfig, episodes: Sequence[Sequence[Episode]]) -> list[list[float]]:
    steps_UG = torch.tensor([[len(e.rewards) for e in group] for group in episodes])
    longest = int(steps_UG.max())
    rewards_UGT = torch.tensor(
        [[[*e.rewards, *[0.0] * (longest - len(e.rewards))] for e in group] for group in episodes]
    )
    mask_UGT = torch.arange(longest) < steps_UG[..., None]
    if config.algorithm == "reinforce":
        # One group of the whole batch: the baseline is everybody else's return to go.
        shape = (1, -1, longest)
        advantages_UGT = ops.stepwise_leave_one_out(
            rewards_UGT.reshape(shape), mask_UGT.reshape(shape), gamma=config.loss.step_gamma
        ).reshape(rewards_UGT.shape)
    else:
        advantages_UGT = ops.stepwise_leave_one_out(
            rewards_UGT, mask_UGT, gamma=config.loss.step_gamma
        )
    flat = advantages_UGT.flatten(0, 1).tolist()
    rows = [e for group in episodes for e in group]
    return [
        [a[t] for t in (e.tokens.steps if e.tokens else ())]
        for a, e in zip(flat, rows, strict=True)
    ]


def _length(episode: Episode) -> int:
    return len(episode.tokens.ids) if episode.tokens else 0
