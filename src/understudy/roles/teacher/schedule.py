"""How the weight of the teacher fades: functions of the environment steps taken."""

from __future__ import annotations

import math

from understudy.roles.teacher.config import DistillConfig

PAPER_START, PAPER_STEP, PAPER_FLOOR, PAPER_END = 10.0, 0.005, 0.1, 3000


def weight(config: DistillConfig, steps: int) -> float:
    """The weight of the distillation term after `steps` environment steps.

    paper: of iteration i = steps / `iteration_steps`, as in LLM4Teach's code: 10, less 0.005 per
    iteration until 0.1 is reached (iteration 1,980), 0 from iteration 3,000. The others go from
    `weight` to 0 in `steps` steps. The adaptive one is constant here; its end is the gate's.
    """
    if config.schedule == "paper":
        return paper(steps // config.iteration_steps)
    share = min(1.0, steps / config.steps)
    if config.schedule == "linear":
        return config.weight * (1.0 - share)
    if config.schedule == "cosine":
        return config.weight * 0.5 * (1.0 + math.cos(math.pi * share))
    return config.weight


def paper(iteration: int) -> float:
    """LLM4Teach's weight of an iteration."""
    if iteration >= PAPER_END:
        return 0.0
    return max(PAPER_FLOOR, PAPER_START - PAPER_STEP * iteration)
