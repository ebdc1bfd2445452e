"""Do a model's people help a policy that is learnt from few real ones? Where the truth is known.

Cohort after cohort of 5, 10, 20 and 50 people of known truth (the five parameterisations in turn);
the bundled model, told their aggregates and nothing else, plays 40 more. A policy is learnt from the
people alone, from the played ones alone, from both, and from the people with as many of a Markov
chain or a copula in the model's place; each is then played to new people of the same truth. Paired
differences over cohorts, with intervals and the difference that so many cohorts can show.

    python benchmarks/synthetic_help.py [--cohorts 20] [--sizes 5 10 20 50] [--lm pocket]

Cells that --work holds already are not done again; --share 0/2 and 1/2 in two processes halve the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from understudy.data.cohort import write_cohort
from understudy.data.transitions import Offline, merge
from understudy.envs.study.load import load
from understudy.envs.study.policies import always, true_value, uniform
from understudy.envs.study.truth import PARAMETERS
from understudy.roles.simulator.baselines import simulate
from understudy.roles.simulator.cohorts import generate_truth, layout, profile, read
from understudy.roles.simulator.commands import run_generate
from understudy.roles.simulator.config import AskConfig, GenerateConfig, SourceConfig
from understudy.roles.simulator.generate import COHORT
from understudy.roles.simulator.offline.config import LearnConfig
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.transitions import offline_of
from understudy.run.config import RunConfig

STUDY = load("low-mood")
TRUE_PEOPLE = 1000
SYNTHETIC = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--lm", default="pocket")
    parser.add_argument("--work", type=Path, default=Path("runs/synthetic_help"))
    parser.add_argument("--share", default="0/1")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    share, of = map(int, args.share.split("/"))
    for cohort in range(args.cohorts):
        for size in args.sizes:
            file = args.work / f"{cohort}-{size}.json"
            if (cohort + args.sizes.index(size)) % of == share and not file.exists():
                file.write_text(json.dumps(cell(cohort, size, args.lm)))
    cells = [json.loads(file.read_text()) for file in sorted(args.work.glob("*.json"))]
    print(json.dumps(table(cells), indent=1))


def cell(cohort: int, size: int, lm: str) -> dict[str, Any]:
    """One cohort of one size: the true value of every policy."""
    truth = list(PARAMETERS)[cohort % len(PARAMETERS)]
    given = PARAMETERS[truth]
    # The first people of a larger cohort are those of a smaller one: sizes are compared in pairs too.
    real = generate_truth(STUDY, given, max(size, 50), uniform(STUDY), seed=1000 + cohort)
    real = real.take(np.arange(size))
    told, rng = profile(real, STUDY), np.random.default_rng([cohort, size])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "original.csv"
        write_cohort(data, real, layout(STUDY))
        made = run_generate(
            GenerateConfig(
                lm=lm, people=SYNTHETIC, seed=cohort, ask=AskConfig(pilot_people=12, pilot_rounds=2),
                source=SourceConfig(data=str(data)), run=RunConfig(root=folder, progress=False),
            )
        )  # fmt: skip
        played = read(made / COHORT, STUDY)
    others = {
        "language model": played,
        "markov": simulate(STUDY, told, "markov", uniform(STUDY), SYNTHETIC, rng),
        "copula": simulate(STUDY, told, "copula", uniform(STUDY), SYNTHETIC, rng),
    }
    original = offline_of(STUDY, real, "original")
    sets: dict[str, Offline] = {"original": original}
    for name, people in others.items():
        synthetic = offline_of(STUDY, people, name)
        sets[name] = synthetic
        sets[f"original + {name}"] = merge(original, synthetic)
    how = LearnConfig(steps=2000)
    policies = {
        name: learn(data, how, np.random.default_rng([cohort, size, 1]), name=name).probabilities
        for name, data in sets.items()
    }
    policies |= {f"always {a.name}": always(STUDY, a.name) for a in STUDY.actions}
    policies["random"] = uniform(STUDY)
    values = {
        name: true_value(STUDY, given, policy, TRUE_PEOPLE, np.random.default_rng(7))
        for name, policy in policies.items()
    }
    return {
        "cohort": cohort, "size": size, "truth": truth,
        "values": {name: value for name, (value, _) in values.items()},
    }  # fmt: skip


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean true values, and paired differences to the policy of the people alone, by size."""
    found: list[dict[str, Any]] = []
    for size in sorted({c["size"] for c in cells}):
        here = [c["values"] for c in cells if c["size"] == size]
        base = np.array([v["original"] for v in here])
        rows: dict[str, Any] = {}
        for name in here[0]:
            off = np.array([v[name] for v in here]) - base
            error = float(off.std(ddof=1) / np.sqrt(len(off)))
            half = float(stats.t.ppf(0.975, len(off) - 1)) * error
            low, high = off.mean() - half, off.mean() + half
            rows[name] = {
                "value": round(float(off.mean() + base.mean()), 3),
                "over original": [round(float(x), 3) for x in (off.mean(), low, high)],
                "could be shown": round(2.8 * error, 3),
            }
        found.append({"people": size, "cohorts": len(here), "policies": rows})
    return found


if __name__ == "__main__":
    main()
