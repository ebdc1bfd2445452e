"""A million decisions: collected, written, read back, learnt from. Memory and seconds of each.

People of known truth take part in the low-mood study, 250 at a time, until there are a
million decisions; they are written as one file of transitions, read back and compared, and a policy
is learnt from them. Resident memory is the process's peak so far, over what it was with everything
imported and a study of ten people done once.

    python benchmarks/million.py [--decisions 1000000] [--steps 2000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from understudy.data.transitions import Offline, merge
from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import PARAMETERS
from understudy.roles.simulator.cohorts import generate_truth
from understudy.roles.simulator.offline.config import LearnConfig
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.transitions import offline_of

STUDY = load("low-mood")
PEOPLE = 250
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    learn(collect(500, 10), LearnConfig(steps=1000), np.random.default_rng(0))
    start, rows = peak_mb(), list[dict[str, Any]]()

    def timed(what: str, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        made = work()
        seconds = round(time.monotonic() - begun, 1)
        rows.append({"stage": what, "wall s": seconds, "peak MB over start": peak_mb() - start})
        print(json.dumps(rows[-1]), flush=True)
        return made

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.npz"
        data = timed("collect", lambda: collect(args.decisions, PEOPLE))
        timed("write", lambda: data.save(path))
        before = digest(data)
        del data
        again = timed("read", lambda: Offline.load(path))
        print(
            json.dumps(
                {"decisions": len(again.actions), "people": again.n, "state": again.width,
                 "file MB": round(path.stat().st_size / 1e6), "equal": digest(again) == before,
                 "start MB": start}
            )
        )  # fmt: skip
    timed("learn", lambda: learn(again, LearnConfig(steps=args.steps), np.random.default_rng(0)))


def collect(decisions: int, people: int) -> Offline:
    """Cohort after cohort, until there are so many."""
    parts, count = list[Offline](), 0
    while count < decisions:
        seed = len(parts)
        cohort = generate_truth(STUDY, PARAMETERS["responsive"], people, uniform(STUDY), seed)
        parts.append(offline_of(STUDY, cohort, "truth"))
        count += len(parts[-1].actions)
    return merge(*parts)


def digest(data: Offline) -> str:
    """Of all that a set holds."""
    found = hashlib.sha256()
    for one in fields(Offline):
        found.update(np.ascontiguousarray(np.asarray(getattr(data, one.name))).data)
    return found.hexdigest()


def peak_mb() -> int:
    """The greatest resident memory so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
