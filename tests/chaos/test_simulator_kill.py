"""Cohorts under SIGKILL, over a bad line and of bad models: nothing lost, twice or impossible."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.client import QUICK
from tests.chaos.server import FAULTS, chaos_server, completion
from tests.roles.simulator.processes import CASES, path
from tests.roles.simulator.scripted import TOKENS, answer, person, short_study
from understudy.envs.study.declare import Study
from understudy.envs.study.load import load
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import rules
from understudy.envs.study.truth import parameters
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.endpoint import EndpointLM
from understudy.lm.fake import tiny_model
from understudy.lm.ledger import Ledger
from understudy.ops.cohort import Cohort
from understudy.ops.cohort_statistics import Profile
from understudy.roles.simulator.cohorts import generate_truth, profile, read
from understudy.roles.simulator.matching import Matching
from understudy.roles.simulator.people import LanguagePeople
from understudy.roles.simulator.prompt import Prompts, Short, Worded

KILLS = 6
MADE = ("metrics.jsonl", "cohort.csv", "profile.json", "reference.csv", "generate.json")
OF_CASE = {
    "words": (*MADE, "canaries.csv"),
    "matched": (*MADE, "weights.json"),
    "study": (*MADE, "canaries.csv", "test.csv", "fidelity.json", "fidelity.txt", "verdict.json", "verdict.txt",
              "truth.json", "policy-original.safetensors", "policy-synthetic.safetensors",
              "policy-merged.safetensors"),
}  # fmt: skip


@pytest.mark.timeout(600)
def test_many_kills_ask_nothing_twice_and_change_no_bit(tmp_path: Path) -> None:
    study = load(str(short_study(tmp_path, 4)))
    with chaos_server(respond=person, latency=0.01) as server:
        done = subprocess.run(
            [sys.executable, "-m", "tests.roles.simulator.processes", str(tmp_path), server.url,
             str(KILLS), "0"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    kills, attempts = map(int, done.stdout.split())
    assert kills >= KILLS
    asked = Counter(
        (body["model"], json.dumps(body["messages"]), body["seed"]) for body in server.bodies
    )
    for case in CASES:
        whole = path(tmp_path, f"{case}-whole")
        assert_possible(study, read(whole / "cohort.csv", study))
        assert json.loads((whole / "generate.json").read_text())["unusable"] == 0
        for attempt in range(attempts):
            other = path(tmp_path, f"{case}-killed-{attempt}")
            for name in OF_CASE[case]:
                assert (whole / name).read_bytes() == (other / name).read_bytes(), (other, name)
            answers = transcript(whole)
            assert transcript(other) == answers
            # Each question has one answer in the books. Where it was asked more often, the process
            # was killed before it heard the answer, and the books have that as unknown.
            books = json.loads((other / "lm" / "ledger.json").read_text())
            assert books["done"] == len(answers) >= 20
            if case != "matched":
                mine = [n for (model, *_), n in asked.items() if model == other.name]
                assert len(mine) == books["done"]
                assert sum(mine) <= books["done"] + books["unknown"]


def transcript(run: Path) -> list[tuple[dict, str]]:
    """Every recorded question, whichever model it went to, and its answer."""
    db = sqlite3.connect(run / "lm" / "cache.sqlite")
    rows = db.execute("SELECT request, reply FROM answers").fetchall()
    db.close()
    said = [({**json.loads(q), "model": ""}, json.loads(a)["text"]) for q, a in rows]
    return sorted(said, key=lambda row: json.dumps(row[0], sort_keys=True))


def assert_possible(study: Study, made: Cohort) -> None:
    for rule, kept in rules(study, made).items():
        assert kept.all(), rule


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load(str(short_study(tmp_path_factory.mktemp("study"), 6)))


@pytest.fixture(scope="module")
def told(study: Study) -> Profile:
    return profile(generate_truth(study, parameters("responsive"), 40, uniform(study), 3), study)


WRONG = (
    lambda said: {**said, "ratings": [9]},
    lambda said: {**said, "ratings": [4] * 8},
    lambda said: {**said, "ratings": [3.5]},
    lambda said: {**said, "read": 4},
    lambda said: {**said, "read": -1},
    lambda said: {"ratings": said["ratings"]},
    lambda said: "I would rate my mood a 4 today.",
    lambda said: json.dumps(said)[:-2],
    lambda said: None,
)


def careless(body: dict) -> tuple[object, bool]:
    """What a careless model says, and whether it is possible: two in five answers are not."""
    asked = json.dumps([body["messages"], body["seed"]]).encode()
    draw = hashlib.sha256(b"careless" + asked).digest()
    said: object = answer(body)
    wrong = draw[0] % 5 < 2
    return (WRONG[draw[1] % len(WRONG)](said) if wrong else said), not wrong


def say(body: dict) -> object:
    said, _ = careless(body)
    return completion(said if isinstance(said, str) else json.dumps(said), usage=TOKENS)


def test_over_a_bad_line_no_moment_is_lost_and_only_possible_answers_count(
    study: Study, told: Profile, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache.sqlite")
    ledger = Ledger(cache)
    with (
        chaos_server(respond=say, fault_rate=0.4, seed=5, faults={**FAULTS, "slow": 0}) as server,
        EndpointLM(server.url, "m", ledger=ledger, timeout=2.0, retry=QUICK) as lm,
    ):
        people = people_of(study, told, lm, Worded(study, told), 10)
        made = cohort_of(study, people)
    distinct = {json.dumps([b["messages"], b["seed"]]): b for b in server.bodies}
    first = [body for body in distinct.values() if len(body["messages"]) == 2]
    repaired = [body for body in distinct.values() if len(body["messages"]) > 2]
    # one question a moment, and one more where the answer was impossible
    assert people.tally.asked == made.rows == len(first)
    assert len(repaired) == sum(not careless(body)[1] for body in first) > 20
    lost = [body for body in repaired if not careless(body)[1]]
    assert people.tally.unusable == len(lost) > 5
    # what the cohort reports is what was validly said, and nothing else
    assert_possible(study, made)
    used = [said for said, possible in map(careless, distinct.values()) if possible]
    assert int(np.isfinite(made["ratings"]).sum()) == sum(len(said["ratings"]) for said in used)
    assert int(made["read"].sum()) == sum(said["read"] for said in used)
    books = ledger.summary()
    assert books["done"] == len(distinct)
    assert books["done"] + books["unknown"] == sum(server.billed.values())
    assert sum(server.received.values()) == books["done"] + books["unknown"] + books["refused"]
    assert len(server.met) > 12
    cache.close()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("matched", [False, True])
def test_random_weights_break_no_rule(
    study: Study, told: Profile, seed: int, matched: bool
) -> None:
    lm = LocalChat(tiny_model(seed, context=1024), "tiny")
    matching = Matching(study, told) if matched else None
    people = people_of(study, told, lm, Short(study, told, matching), 8)
    made = cohort_of(study, people)
    assert people.tally.asked == made.rows >= 8 * len(study.parts)
    assert people.tally.unusable == 0
    assert_possible(study, made)
    assert np.isfinite(made["ratings"]).any()


def people_of(
    study: Study, told: Profile, lm: LocalChat | EndpointLM, prompts: Prompts, n: int
) -> LanguagePeople:
    return LanguagePeople(study, lm, prompts, told, n, np.random.default_rng(5), 5)


def cohort_of(study: Study, people: LanguagePeople) -> Cohort:
    return play(study, people, uniform(study), people.n, np.random.default_rng(6))
