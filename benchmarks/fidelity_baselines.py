"""What the fidelity report says of simulators that use no language model, and of the truth itself.

A reference of 100 people of known truth against: another 100 of the same truth (the best that can
be), resampled real days, a Markov chain and a Gaussian copula, both made from the reference's
profile alone. All act at random with the same probabilities.

    python benchmarks/fidelity_baselines.py [--people 100]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import PARAMETERS
from understudy.roles.simulator.assess import Fidelity, assess
from understudy.roles.simulator.baselines import resampled_days, simulate
from understudy.roles.simulator.cohorts import generate_truth, profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100)
    people = parser.parse_args().people
    study, result = load("low-mood"), {}
    policy = uniform(study)
    for name, given in PARAMETERS.items():
        rng = np.random.default_rng(0)
        real = generate_truth(study, given, people, policy, seed=1)
        whole = profile(real, study)
        cohorts = {
            "the same truth": generate_truth(study, given, people, policy, seed=2),
            "resampled days": resampled_days(study, real, people, rng),
            "markov": simulate(study, whole, "markov", policy, people, rng),
            "copula": simulate(study, whole, "copula", policy, people, rng),
        }
        result[name] = {
            how: told(assess(real, made, study, np.random.default_rng(5)))
            for how, made in cohorts.items()
        }
    print(json.dumps({"people": people, "parameters": result}, indent=2))


def told(found: Fidelity) -> dict[str, Any]:
    ratios = [v.compared.distances["ks"].ratio for v in found.variables.values()]
    auc = found.discriminator.auc
    return {
        "valid": found.valid,
        "coverage": round(found.coverage, 3),
        "within_floor": f"{sum(r <= 1 for r in ratios)} of {len(ratios)}",
        "greatest_ratio": round(max(ratios), 2),
        "auc": [round(x, 3) for x in (auc.value, auc.low, auc.high)],
        "statistics_inside": f"{sum(s.inside for s in found.statistics)} of {len(found.statistics)}",
        "effects_inside": f"{sum(e.inside for e in found.effects)} of {len(found.effects)}",
        "responses": [round(x, 4) for x in found.responses],
        "staying": [round(found.staying.value, 3), round(found.staying.floor, 3)],
    }


if __name__ == "__main__":
    main()
