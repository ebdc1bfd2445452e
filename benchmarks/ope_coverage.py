"""Off-policy evaluation where the truth is known: does it hit, do its intervals cover, does it refuse?

    python benchmarks/ope_coverage.py [repetitions] [result.json] [coverage gate ranking networks]

A patient-like chain: four moods × two levels of message burden, three actions (nothing, encourage,
inform), drop-out that burden makes likelier, a personal level of reward, 24 decisions at most. The
value of every policy is known in closed form, V = (I − γ P_π)⁻¹ r_π.

1. Coverage of 95 % intervals and error of every estimator for two policies: near the behaviour
   (all estimators have support) and the truly best one (FQE has, ratios of whole episodes do not).
2. The gate on planted cases: an action never given, one given to two people, too few people, a
   deterministic policy judged by ratios, and the sound case that it must not refuse.
3. Ranking: how often the truly best of seven policies comes first, and is declared best, by people.
4. FQE with networks against the closed form, and seconds for 200 replicates × 8 policies.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from understudy.data.transitions import Offline
from understudy.ops.intervals import interval
from understudy.roles.simulator.offline.config import FqeConfig, JudgeConfig
from understudy.roles.simulator.offline.estimates import ESTIMATORS, choices, findings
from understudy.roles.simulator.offline.fqe import fqe
from understudy.roles.simulator.offline.gate import reasons
from understudy.roles.simulator.offline.judge import evaluate, gather_evidence
from understudy.roles.simulator.offline.policies import Fixed, Uniform
from understudy.run.seed import Seeds

MOODS, BURDENS, K, GAMMA, HORIZON = 4, 2, 3, 0.8, 24
S = MOODS * BURDENS


def _world() -> tuple[np.ndarray, np.ndarray]:
    """P(s'|s, a), what is missing to 1 being drop-out, and r(s, a)."""
    following, reward = np.zeros((S, K, S)), np.zeros((S, K))
    for mood in range(MOODS):
        for burden in range(BURDENS):
            for a in range(K):
                # Encouraging lifts a low mood, informing a high one; under burden both do less.
                fits = (a == 1 and mood < 2) or (a == 2 and mood >= 2)
                up = (0.15 + 0.35 * fits) * (1.0 if burden == 0 else 0.6)
                down = 0.2 + (0.15 if a and not fits else 0.0)
                stays = 0.98 - 0.04 * burden * (a > 0)
                heavier = 0.5 if a else 0.1
                for mood2, p in (
                    (min(mood + 1, 3), up),
                    (max(mood - 1, 0), down),
                    (mood, 1 - up - down),
                ):
                    for burden2, b in ((1, heavier), (0, 1 - heavier)):
                        following[mood * 2 + burden, a, mood2 * 2 + burden2] += stays * p * b
                reward[mood * 2 + burden, a] = mood / 2 - 0.2 * burden * (a > 0)
    return following, reward


FOLLOWING, REWARD = _world()
START = np.full(S, 1 / S)
BEHAVIOUR = np.array(
    [[0.4, 0.35, 0.25], [0.5, 0.25, 0.25]] * 2 + [[0.3, 0.3, 0.4], [0.4, 0.3, 0.3]] * 2
)
"""μ(a|s)"""


@dataclass(frozen=True)
class Tabular:
    """A policy as a table [S, K]; states are one-hot."""

    name: str
    table: np.ndarray

    def probabilities(self, states):
        return self.table[np.asarray(states).argmax(1)]


def q_values(table: np.ndarray) -> np.ndarray:
    """Q^π [S, K] in closed form."""
    step = np.einsum("sa,sat->st", table, FOLLOWING)
    v = np.linalg.solve(np.eye(S) - GAMMA * step, (table * REWARD).sum(1))
    return REWARD + GAMMA * FOLLOWING @ v


def truth(table: np.ndarray) -> float:
    """The value of a policy from the start."""
    return float(START @ (table * q_values(table)).sum(1))


def best_table() -> np.ndarray:
    """The truly best policy, by policy iteration."""
    table = np.full((S, K), 1 / K)
    for _ in range(50):
        table = np.eye(K)[q_values(table).argmax(1)]
    return table


BEST = Tabular("best", best_table())
NEAR = Tabular("near", 0.85 * BEHAVIOUR + 0.15 * BEST.table)


def simulate(
    people: int,
    rng: np.random.Generator,
    behaviour: np.ndarray = BEHAVIOUR,
    horizon: int = HORIZON,
    personal: float = 0.3,
) -> Offline:
    """A study of so many people, all at once."""
    s = rng.choice(S, size=people, p=START)
    level = rng.normal(0, personal, people)
    there = np.ones(people, dtype=bool)
    states, actions, rewards, alive = [], [], [], []
    for _ in range(horizon):
        a = (behaviour[s].cumsum(1) < rng.random(people)[:, None]).sum(1).clip(max=K - 1)
        states.append(s)
        actions.append(a)
        rewards.append(REWARD[s, a] + level + rng.normal(0, 0.5, people))
        alive.append(there)
        reached = FOLLOWING[s, a].cumsum(1)
        u = rng.random(people)
        there = there & (u < reached[:, -1])
        s = np.where(there, (reached < u[:, None]).sum(1).clip(max=S - 1), s)
    lived = np.array(alive).T
    one_hot = np.eye(S)
    return Offline(
        states=one_hot[np.array(states).T[lived]],
        actions=np.array(actions).T[lived].astype(np.int64),
        rewards=np.array(rewards).T[lived],
        lengths=lived.sum(1),
        final_states=one_hot[s],
        terminal=~there,
        persons=tuple(f"p{i}" for i in range(people)),
        n_actions=K,
    )


def coverage(policy, people: int, repetitions: int, rng: np.random.Generator) -> dict[str, dict]:
    """Of each estimator over repeated studies: coverage, bias, error, how often it is usable."""
    config = JudgeConfig(gamma=GAMMA, resamples=400)
    real = truth(policy.table)
    hits: dict[str, list[tuple[float, float, bool, bool]]] = {name: [] for name in ESTIMATORS}
    for _ in range(repetitions):
        evidence = gather_evidence(simulate(people, rng), config, rng)
        found = findings(choices(policy, evidence.data), evidence, config, rng)
        for name, sized in found.estimates.items():
            low, high = interval(sized.estimate, sized.values, sized.errors)
            fits = sized.effective >= config.min_effective
            hits[name].append((sized.estimate.value - real, high - low, low <= real <= high, fits))
    out = {}
    for name, rows in hits.items():
        table = np.array(rows, dtype=float)
        used = table[table[:, 3] > 0]
        out[name] = {
            "coverage": float(table[:, 2].mean()),
            "coverage_where_usable": float(used[:, 2].mean()) if len(used) else None,
            "usable": float(table[:, 3].mean()),
            "bias": float(table[:, 0].mean()),
            "rmse": float(np.sqrt((table[:, 0] ** 2).mean())),
            "width": float(np.median(table[:, 1])),
        }
    return out


NEVER = np.where(np.arange(K) == 2, 0.0, BEHAVIOUR) / BEHAVIOUR[:, :2].sum(1, keepdims=True)
LOW = np.arange(S) < 4
NEVER_LOW = np.where(LOW[:, None], NEVER, BEHAVIOUR)
"""Action 2 is never given in a low mood."""


def two_people_with_action_2(people: int, rng: np.random.Generator) -> Offline:
    """Action 2 only in two people's data."""
    data = simulate(people, rng, NEVER)
    actions = data.actions.copy()
    actions[np.isin(data.person, [0, 1])] = 2
    return replace(data, actions=actions)


def gate(repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the gate refuses."""
    config = JudgeConfig(gamma=GAMMA, resamples=100)
    by_ratios = replace(config, primary="dr")
    informs = Tabular("inform", np.eye(K)[np.full(S, 2)])
    cases = {
        "action never given": (lambda: simulate(60, rng, NEVER), informs, config),
        "never in a low mood": (lambda: simulate(60, rng, NEVER_LOW), informs, config),
        "action given to two people": (lambda: two_people_with_action_2(60, rng), informs, config),
        "six people": (lambda: simulate(6, rng), NEAR, config),
        "best by ratios": (lambda: simulate(40, rng), BEST, by_ratios),
        "sound: near, 60 people": (lambda: simulate(60, rng), NEAR, config),
        "sound: best, 60 people": (lambda: simulate(60, rng), BEST, config),
    }
    out = {}
    for name, (draw, policy, how) in cases.items():
        refused = 0
        for _ in range(repetitions):
            evidence = gather_evidence(draw(), how, rng)
            found = findings(choices(policy, evidence.data), evidence, how, rng)
            refused += bool(reasons(found, evidence, how))
        out[name] = refused / repetitions
    return out


def candidates() -> list:
    """The best, its like, and what it must stand beside."""
    worst = Tabular("worst", np.eye(K)[q_values(BEST.table).argmin(1)])
    behaviour = Tabular("behaviour", BEHAVIOUR)
    return [BEST, behaviour, worst, Uniform(K), *(Fixed(a, K) for a in range(K))]


def true_values(policies) -> dict[str, float]:
    """By name."""
    return {p.name: truth(p.probabilities(np.eye(S))) for p in policies}


def ranking(people: int, repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the best comes first, is declared best, and any wrong claim is made."""
    policies, config = candidates(), JudgeConfig(gamma=GAMMA, resamples=200)
    worth = true_values(policies)
    first = declared = wrong = judged = 0
    resolvable = []
    for _ in range(repetitions):
        verdict = evaluate(simulate(people, rng), policies, config, rng)
        judged += len(verdict.ranked) == len(policies)
        first += bool(verdict.ranked) and verdict.ranked[0] == "best"
        declared += verdict.best == "best"
        wrong += any(worth[a] < worth[b] for a, b in verdict.better)
        found = [c.resolvable for c in verdict.comparisons if "best" in (c.first, c.second)]
        resolvable.append(np.median(found) if found else np.nan)
    return {
        "all judged": judged / repetitions,
        "best first": first / repetitions,
        "best declared": declared / repetitions,
        "any wrong claim": wrong / repetitions,
        "resolvable difference": float(np.nanmedian(resolvable)),
        "true lead": sorted(worth.values())[-1] - sorted(worth.values())[-2],
    }


def networks(
    people: int, replicates: int, config: FqeConfig, policies: Sequence, rng: np.random.Generator
) -> dict:
    """FQE with networks on one large study: error against the truth, and its time."""
    data = simulate(people, rng)
    counts = np.ones((replicates, data.n))
    counts[1:] = rng.multinomial(data.n, np.full(data.n, 1 / data.n), size=replicates - 1)
    shares = [(p.probabilities(data.states), p.probabilities(data.next_states)) for p in policies]
    began = time.process_time()
    found = fqe(data, shares, counts, config, rng, gamma=GAMMA, bounds=(-2.0, 10.0))
    took = time.process_time() - began
    worth = true_values(policies)
    return {
        "cpu seconds": took,
        "people": people,
        "replicates": replicates,
        "steps": config.steps,
        "values": {p.name: float(v) for p, v in zip(policies, found.values[0], strict=True)},
        "truth": worth,
        "sd of replicates": {
            p.name: float(v) for p, v in zip(policies, found.values.std(0), strict=True)
        },
        "drift": found.drift.tolist(),
        "residual": found.residual.tolist(),
    }


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "ope_coverage.json")
    wanted = sys.argv[3:] or ["coverage", "gate", "ranking", "networks"]
    small = FqeConfig(steps=1500, hidden=32, learning_rate=4e-3)
    few = max(20, repetitions // 4)
    parts = {
        **{
            f"coverage: {policy.name}, {people} people": (
                lambda rng, policy=policy, people=people: coverage(policy, people, repetitions, rng)
            )
            for policy in (NEAR, BEST)
            for people in (30, 50, 100)
        },
        "gate": lambda rng: gate(few, rng),
        **{
            f"ranking: {people} people": lambda rng, people=people: ranking(people, few, rng)
            for people in (30, 100, 300)
        },
        "networks: 300 people": lambda rng: networks(300, 2, small, candidates(), rng),
        "networks: 200 replicates, 8 policies": lambda rng: networks(
            30, 200, replace(small, batch=32), [NEAR, *candidates()], rng
        ),
    }
    result: dict = {"repetitions": repetitions, "truth": true_values([*candidates(), NEAR])}
    for name, part in parts.items():
        if name.startswith(tuple(wanted)):
            result[name] = part(Seeds(0).generator(name))
            print(name, json.dumps(result[name], indent=1), flush=True)
            out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
