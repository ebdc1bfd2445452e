"""When these people cannot tell what a policy is worth, and why."""

from __future__ import annotations

import math

import numpy as np

from understudy.roles.simulator.offline.config import JudgeConfig
from understudy.roles.simulator.offline.estimates import (
    ESTIMATORS,
    Evidence,
    Findings,
    support,
    takers,
)

TAKERS = 5
"""People who must have taken an action that a policy relies on."""
DISAGREE = 3.0
"""Standard errors of their difference at which two estimators contradict each other, where that is
also more than the standard error of the primary one."""


def usable(found: Findings, config: JudgeConfig) -> dict[str, bool]:
    """Which estimators rest on enough effective people."""
    return {name: found.estimates[name].effective >= config.min_effective for name in ESTIMATORS}


def reasons(found: Findings, evidence: Evidence, config: JudgeConfig) -> list[str]:
    """Why nothing can be said of a policy; empty where something can."""
    return [
        *_too_few(evidence, config),
        *_unsupported(found, evidence, config),
        *_diverged(found),
        *_contradicted(found, config),
    ]


def _too_few(evidence: Evidence, config: JudgeConfig) -> list[str]:
    n = evidence.data.n
    if n >= config.min_people:
        return []
    return [f"{n} people; {config.min_people} are the least anything is judged by"]


def _unsupported(found: Findings, evidence: Evidence, config: JudgeConfig) -> list[str]:
    out: list[str] = []
    share = support(found, evidence, config)
    if share > config.max_unsupported:
        out.append(
            f"{share:.0%} of its choices are ones that people here were given less than "
            f"{config.min_propensity:.0%} of the time in such a state"
        )
    for action, wanted, people in takers(found, evidence.data):
        if wanted > config.max_unsupported and people < TAKERS:
            out.append(
                f"it takes action {action} in {wanted:.0%} of the states; "
                f"{people} of {evidence.data.n} people ever had it"
            )
    effective = found.estimates[config.primary].effective
    if effective < config.min_effective:
        out.append(
            f"{config.primary} rests on {effective:.1f} effective people; "
            f"it needs {config.min_effective:g}"
        )
    return out


def _diverged(found: Findings) -> list[str]:
    values = [found.estimates[name].estimate.value for name in ESTIMATORS]
    if not np.isfinite(values).all():
        return ["an estimate is not finite"]
    if found.outside > 0.01:
        return [
            f"the model's values of {found.outside:.0%} of the states are impossible for these "
            "rewards"
        ]
    return []


def _contradicted(found: Findings, config: JudgeConfig) -> list[str]:
    mine = found.estimates[config.primary].estimate
    fit = usable(found, config)
    out: list[str] = []
    for name in ESTIMATORS:
        if name == config.primary or not fit[name]:
            continue
        other = found.estimates[name].estimate
        gap = mine.value - other.value
        spread = mine.influence - other.influence
        n = len(spread)
        error = math.sqrt(float((spread**2).sum()) / (n * max(1, n - 1)))
        if abs(gap) > max(DISAGREE * error, mine.error):
            out.append(
                f"{config.primary} says {mine.value:.3g} and {name} {other.value:.3g}, "
                f"{abs(gap) / error:.1f} standard errors apart"
            )
    return out
