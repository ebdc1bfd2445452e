"""The verdict on policies: what each is worth, which is better, or that nobody can tell.

People are the unit of every interval and test. However often they are resampled, there are not more
of them: the number of resamples makes a p value finer, never smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from understudy.data.transitions import Offline
from understudy.ops.intervals import interval, p_value, resample_counts, resolvable
from understudy.ops.ope import Estimate
from understudy.ops.stats import holm
from understudy.roles.simulator.offline.config import JudgeConfig, OfflineError
from understudy.roles.simulator.offline.estimates import (
    ESTIMATORS,
    Choices,
    Evidence,
    Findings,
    choices,
    findings,
    support,
)
from understudy.roles.simulator.offline.fqe import fqe, value_bounds
from understudy.roles.simulator.offline.gate import reasons, usable
from understudy.roles.simulator.offline.policies import Fixed, Policy, Uniform
from understudy.roles.simulator.offline.propensity import fit_behaviour, propensities
from understudy.roles.simulator.offline.verdict import (
    Comparison,
    Judgement,
    NetworkValue,
    Value,
    Verdict,
)
from understudy.run.executors import HERE, Executor, gathered


def comparators(data: Offline, names: Sequence[str] = ()) -> list[Policy]:
    """The behaviour itself, chance, and every action always: what a policy must stand beside.

    Args:
        data: the people the behaviour is estimated from.
        names: of the actions.
    """
    labels = [f"always {name}" for name in names] or [""] * data.n_actions
    fixed = [Fixed(a, data.n_actions, label) for a, label in enumerate(labels)]
    return [fit_behaviour(data), Uniform(data.n_actions), *fixed]


def evaluate(
    data: Offline,
    policies: Sequence[Policy],
    config: JudgeConfig,
    rng: np.random.Generator,
    executor: Executor = HERE,
) -> Verdict:
    """Judges policies by people that none of them was learnt from.

    The value is Σ γᵗ r of a new person; where the study ended before the person did, what follows
    is the model's guess in every estimator.

    Args:
        data: those people.
        policies: of different names.
        config: how.
        rng: of folds and resamples.
        executor: who works, a policy at a time; the verdict does not depend on it.

    Raises:
        OfflineError: no policies, two of one name, one that gives no probabilities of these
            actions, or too few people to fit anything.
    """
    _check(data, policies)
    evidence = gather_evidence(data, config, rng)
    # A stream for each policy, so that none depends on who was judged before it.
    cases = [
        _Case(choices(policy, data), evidence, config, own)
        for policy, own in zip(policies, rng.spawn(len(policies)), strict=True)
    ]
    found = gathered(executor, _findings, cases, "the judging of policies")
    networks = _networks(found, evidence, config, rng)
    judged = [_judgement(f, evidence, config, n) for f, n in zip(found, networks, strict=True)]
    supported = [f for f, j in zip(found, judged, strict=True) if j.supported]
    return Verdict(
        people=data.n,
        decisions=len(data.actions),
        gamma=config.gamma,
        confidence=config.confidence,
        primary=config.primary,
        policies=tuple(judged),
        comparisons=tuple(_compare(supported, data.n, config, rng)),
    )


@dataclass(frozen=True, eq=False)
class _Case:
    """A policy, with all that another process needs to judge it."""

    chosen: Choices
    evidence: Evidence
    config: JudgeConfig
    rng: np.random.Generator


def _findings(case: _Case) -> Findings:
    return findings(case.chosen, case.evidence, case.config, case.rng)


def gather_evidence(data: Offline, config: JudgeConfig, rng: np.random.Generator) -> Evidence:
    """What does not depend on the policy: folds, propensities, resamples, bounds."""
    folds = data.folds(rng, config.folds)
    rewards = data.rewards if config.reward_range is None else np.array(config.reward_range)
    return Evidence(
        data=data,
        folds=folds,
        propensity=propensities(data, folds),
        counts=resample_counts(data.n, config.resamples, rng),
        bounds=value_bounds(rewards, config.gamma),
    )


def _check(data: Offline, policies: Sequence[Policy]) -> None:
    if not policies:
        raise OfflineError("no policies to judge")
    if data.n < 2:
        raise OfflineError("one person: nothing can be said of a policy's error")
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise OfflineError(f"two policies are called {name!r}")
    for policy in policies:
        shares = policy.probabilities(data.states[:1])
        if shares.shape != (1, data.n_actions):
            raise OfflineError(
                f"policy {policy.name!r} chooses among {shares.shape[-1]} actions; "
                f"the data have {data.n_actions}"
            )


def _networks(
    found: Sequence[Findings], evidence: Evidence, config: JudgeConfig, rng: np.random.Generator
) -> list[NetworkValue | None]:
    if not config.network_replicates:
        return [None] * len(found)
    counts = evidence.counts[: config.network_replicates]
    fitted = fqe(
        evidence.data,
        [(f.shares, f.following) for f in found],
        np.concatenate([np.ones((1, evidence.data.n)), counts]),
        config.network,
        rng,
        gamma=config.gamma,
        bounds=evidence.bounds,
    )
    tail = 0.5 - config.confidence / 2
    low, high = np.quantile(fitted.values[1:], [tail, 1 - tail], axis=0)
    return [
        NetworkValue(*(float(x[m]) for x in (fitted.values[0], low, high)),
                     drift=float(fitted.drift[m]), residual=float(fitted.residual[m]))
        for m in range(len(found))
    ]  # fmt: skip


def _judgement(
    found: Findings, evidence: Evidence, config: JudgeConfig, network: NetworkValue | None
) -> Judgement:
    fit = usable(found, config)
    low, high = evidence.bounds
    values: dict[str, Value] = {}
    for name in ESTIMATORS:
        sized = found.estimates[name]
        ends = interval(sized.estimate, sized.values, sized.errors, config.confidence)
        values[name] = Value(
            value=min(max(sized.estimate.value, low), high),
            low=min(max(ends[0], low), high),
            high=min(max(ends[1], low), high),
            error=sized.estimate.error,
            effective=sized.effective,
            usable=fit[name],
        )
    why = reasons(found, evidence, config)
    return Judgement(
        name=found.name,
        values=values,
        network=network,
        unsupported=support(found, evidence, config),
        supported=not why,
        reasons=tuple(why),
    )


def _compare(
    found: Sequence[Findings], people: int, config: JudgeConfig, rng: np.random.Generator
) -> list[Comparison]:
    pairs = list(combinations(found, 2))
    if not pairs:
        return []
    alpha = 1 - config.confidence
    # Fine enough that the smallest possible p survives Holm's factor.
    resamples = max(config.resamples, math.ceil(20 * len(pairs) / alpha))
    counts = resample_counts(people, resamples, rng)
    differences = [_difference(a, b, config.primary) for a, b in pairs]
    p = np.array([p_value(d, counts) for d in differences])
    return [
        Comparison(
            first=a.name,
            second=b.name,
            difference=d.value,
            error=d.error,
            p=float(raw),
            p_holm=float(adjusted),
            resolvable=resolvable(d.error, alpha / len(pairs)),
        )
        for (a, b), d, raw, adjusted in zip(pairs, differences, p, holm(p), strict=True)
    ]


def _difference(a: Findings, b: Findings, primary: str) -> Estimate:
    mine, other = a.estimates[primary].estimate, b.estimates[primary].estimate
    return Estimate(mine.value - other.value, mine.influence - other.influence)
