"""A million decisions: collected, written, read back, learnt from. Memory and seconds of each.

People of known truth take part in the low-mood study, a hundred at a time, until there are a
million decisions; one process writes them as one file of transitions, another reads them and learns
a policy. Resident memory is a process's peak so far, over what it was with everything imported and
a study of ten people done once; equal sums (SHA-256) say that all was read that was written.

    python benchmarks/million.py [--decisions 1000000] [--steps 2000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

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
PEOPLE = 100
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, spawn = Path(folder) / "million.npz", multiprocessing.get_context("spawn")
        for work, size in ((make, args.decisions), (use, args.steps)):
            process = spawn.Process(target=work, args=(path, size))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)


def make(path: Path, decisions: int) -> None:
    """The first process: collects and writes."""
    stage = Stages()
    data = stage("collect", lambda: collect(decisions, PEOPLE))
    stage("write", lambda: data.save(path))
    print(
        json.dumps(
            {"decisions": len(data.actions), "people": data.n, "state": data.width,
             "file MB": round(path.stat().st_size / 1e6), "sha256": digest(data)}
        )
    )  # fmt: skip


def use(path: Path, steps: int) -> None:
    """The second: reads and learns."""
    stage = Stages()
    data = stage("read", lambda: Offline.load(path))
    print(json.dumps({"sha256": digest(data)}))
    how = LearnConfig(steps=steps)
    stage("learn", lambda: learn(data, how, np.random.default_rng(0)))


class Stages:
    """Does things and says what they took."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        learn(collect(500, 10), LearnConfig(steps=1000), np.random.default_rng(0))
        self.start = peak_mb()

    def __call__(self, what: str, work: Callable[[], T]) -> T:
        begun, cpu = time.monotonic(), time.process_time()
        made = work()
        seconds = [round(time.monotonic() - begun, 1), round(time.process_time() - cpu, 1)]
        found = {"stage": what, "wall s": seconds[0], "CPU s": seconds[1]}
        print(json.dumps({**found, "peak MB over start": peak_mb() - self.start}), flush=True)
        return made


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
