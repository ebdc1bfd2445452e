"""How an agent does on episodes it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from understudy import ops
from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.envs import Ended, Envs


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Greedy episodes."""

    episodes: tuple[Ended, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean([episode.total for episode in self.episodes]))

    def metrics(self) -> dict[str, float]:
        """As they are logged; intervals of 95 %."""
        returns = [episode.total for episode in self.episodes]
        low, high = ops.bootstrap_ci(returns, lambda x: float(np.mean(x)), np.random.default_rng(0))
        found = {
            "test/return": self.mean, "test/return_low": low, "test/return_high": high,
            "test/return_least": min(returns), "test/episodes": float(len(returns)),
            "test/length": float(np.mean([episode.length for episode in self.episodes])),
        }  # fmt: skip
        successes = [e.success for e in self.episodes if e.success is not None]
        if successes:
            hits = round(sum(successes))
            found["test/success"] = hits / len(successes)
            found["test/success_low"], found["test/success_high"] = ops.wilson(hits, len(successes))
        return found


def evaluate(
    agent: Agent, envs: Envs, generator: torch.Generator, *, greedy: bool = True
) -> Evaluation:
    """One episode in every environment; the same episodes every time.

    Args:
        agent: who acts.
        envs: where; each begins the first of its episodes.
        generator: where the randomness comes from, if it is not greedy.
        greedy: whether the likeliest actions are taken.
    """
    envs.over, envs.episodes = [True] * len(envs), [-1] * len(envs)
    envs.finished.clear()
    records = envs.advance(None)
    state = agent.model.core.init_state(len(envs))
    while not all(envs.over):
        action, state = agent.act(records, state, generator, greedy=greedy)
        records = envs.advance(action.cpu().numpy(), restart=False)
    return Evaluation(tuple(sorted(envs.finished)))
