"""An own algorithm: only the best answer of a group is reinforced, the others are left alone.

An algorithm is one function: episodes [U][G] in, one advantage per token out. Everything else, the KL,
the clipping, the evaluation, the checkpoints, stays as it is.

    python examples/own_algorithm.py [--debug]
"""

import sys
from collections.abc import Sequence

from understudy.lm.open import open_token_lm
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.setup import make_setting
from understudy.roles.policy.summary import describe
from understudy.roles.policy.train import train
from understudy.run.config import load
from understudy.run.run import Run
from understudy.types import Episode


def best_of_group(_: PolicyConfig, episodes: Sequence[Sequence[Episode]]) -> list[list[float]]:
    """The reward above the group's mean for the best answer, 0 for the rest."""
    advantages: list[list[float]] = []
    for group in episodes:
        returns = [sum(e.rewards) for e in group]
        best = returns.index(max(returns))
        for g, episode in enumerate(group):
            gain = returns[g] - sum(returns) / len(returns) if g == best else 0.0
            advantages.append([gain] * len(episode.tokens.ids))
    return advantages


def main(args: list[str]) -> None:
    config = load(PolicyConfig, ["--iterations", "20", "--eval_problems", "100", *args])
    setting = make_setting(config.env, config.task, config.seed, config.eval_problems)
    with Run.create("policy", config.env, config, config.run) as run:
        train(config, run, lm=open_token_lm(config.lm), setting=setting, advantages=best_of_group)
    print(describe(run.path))


if __name__ == "__main__":
    main(sys.argv[1:])
