"""A language model as proposer: what it is told, how its answers are read, what it may cost."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.chaos.client import QUICK
from tests.chaos.server import FAULTS, ChaosServer, chaos_server
from tests.roles.optimizer.scripted import TOKENS, Answer, Scripted, rows
from understudy.cli import main
from understudy.conformance import check_role
from understudy.lm.endpoint import EndpointLM
from understudy.roles.optimizer.build import build_proposer
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.optimizer.train import train
from understudy.roles.optimizer.trials import Trial, read_trials
from understudy.run.config import load
from understudy.run.run import Run

COMMON = (
    "--env", "CartPole-v1", "--env_options", '{"max_episode_steps": 80}', "--proposer", "lm",
    "--budget.episodes", "160", "--held_out", "20", "--run.progress", "false",
)  # fmt: skip


def command(server: ChaosServer, folder: Path, name: str, *flags: str) -> Path:
    """Runs a search from the command line."""
    where = ("--run.root", str(folder), "--run.name", name)
    lm = ("--lm", f"{server.url}#{name}")
    assert main(["optimizer", "train", *COMMON, *lm, *where, *flags]) == 0
    (path,) = folder.glob(f"optimizer/*/{name}")
    return path


def searched(path: Path) -> list[Trial]:
    return [trial for trial in read_trials(path / "trials.jsonl") if trial.proposer != "choice"]


def spent(path: Path) -> dict[str, float]:
    return json.loads((path / "result.json").read_text())["spent"]


def asked(server: ChaosServer) -> list[str]:
    return [body["messages"][-1]["content"] for body in server.bodies]


# ---- end to end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["numeric", "described", "reflective"])
def test_every_mode_searches_and_improves(mode: str, tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        path = command(server, tmp_path, mode, "--ask.mode", mode)
    trials = searched(path)
    assert {trial.proposer for trial in trials} <= {"lm", "lm-near"}
    assert all(trial.reason.startswith("near the best of") for trial in trials)
    first, last = trials[:8], trials[-8:]
    assert np.mean([t.mean for t in last]) > np.mean([t.mean for t in first])
    result = json.loads((path / "result.json").read_text())
    assert result["held_out"]["mean"] > 70
    # What it is told first never changes; the record only grows.
    told = {body["messages"][0]["content"] for body in server.bodies}
    assert len(told) == 1
    shown = [rows(body) for body in server.bodies]
    assert shown[0] == []
    for before, after in itertools.pairwise(shown):
        assert after[: len(before)] == before
        assert len(after) == len(before) + 8
    assert [(t.point, t.n) for t in trials[:8]] == [(p, n) for p, _, n in shown[1]]
    assert ("CartPole-v1" in told.pop()) == (mode != "numeric")
    assert ("step | observation | action | reward" in asked(server)[1]) == (mode == "reflective")
    # Eight points a call, every call, token and shown episode on the books.
    cost = spent(path)
    calls = len(server.bodies)
    assert cost["calls"] == calls
    assert cost["tokens"] == calls * TOKENS["total_tokens"]
    assert calls == -(-len(trials) // 8)
    episodes = sum(trial.n for trial in read_trials(path / "trials.jsonl"))
    shown_episodes = cost["episodes"] - 4 - episodes
    assert (1 <= shown_episodes <= calls) if mode == "reflective" else shown_episodes == 0
    assert cost["episodes"] <= 160


def test_a_shown_episode_is_one_of_the_best_trial(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        path = command(server, tmp_path, "one", "--ask.mode", "reflective")
    trials = searched(path)
    for prompt in asked(server)[1:]:
        best = prompt.split("Best so far: ")[1].splitlines()[0]
        point = tuple(int(x) for x in best.split(" = ")[0].split())
        shown = prompt.split("(return ")[1]
        returned, steps = float(shown.split(",")[0]), int(shown.split(", ")[1].split()[0])
        (trial,) = [t for t in trials if t.point == point]
        assert returned == sorted(trial.returns)[trial.n // 2]
        table = prompt.split("reward\n")[1].split("\n\n")[0].splitlines()
        assert len(table) == min(16, steps)
        assert table[-1].startswith(f"{steps - 1} | ")
        assert table[0].startswith("0 | ")


def test_tables_are_asked_for_as_choices(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        path = command(server, tmp_path, "nim", "--env", "understudy/Nim-v0", "--env_options", "{}",
                       "--ask.mode", "reflective")  # fmt: skip
    assert (
        "parameter p[s] is the action that is taken in state s"
        in server.bodies[0]["messages"][0]["content"]
    )
    (visits,) = re.findall(
        r"How often the best trial's episodes were in a state: (.*)", asked(server)[1]
    )
    best = max(searched(path)[:8], key=lambda trial: trial.mean)
    # Every game begins with ten sticks, and is played once.
    assert f"10: {best.n}" in visits.split(", ")
    assert all(len(trial.point) == 11 and set(trial.point) <= {0, 1, 2} for trial in searched(path))


def test_several_questions_at_once_are_different_samples(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        path = command(server, tmp_path, "one", "--ask.calls", "3", "--ask.proposals", "4")
    first = server.bodies[:3]
    assert len({body["seed"] for body in first}) == 3
    assert len({body["messages"][-1]["content"] for body in first}) == 1
    trials = searched(path)
    assert sum(trial.generation == 0 for trial in trials) == 12
    assert len({trial.point for trial in trials}) == len(trials)


def test_a_hybrid_begins_with_the_model_and_hands_over(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        flags = ("--proposer", "hybrid", "--first", "lm")
        path = command(server, tmp_path, "one", *flags)
        names = [trial.proposer for trial in searched(path)]
        assert names[:16] == ["lm"] * 16
        assert set(names[16:]) == {"cma"}
        # It goes on without the model where the calls are used up.
        path = command(server, tmp_path, "less", *flags, "--budget.calls", "1")
    names = [trial.proposer for trial in searched(path)]
    assert names[:8] == ["lm"] * 8
    assert set(names[8:]) == {"cma"}
    assert spent(path)["episodes"] > 100


def test_a_portfolio_may_have_the_model(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        flags = ("--proposer", "portfolio", "--members", '["lm", "cma"]')
        path = command(server, tmp_path, "one", *flags)
    names = {trial.proposer for trial in searched(path)}
    assert {"lm", "cma"} <= names
    assert spent(path)["calls"] == len(server.bodies) > 0


# ---- answers that are not as they should be -----------------------------------------------------


def twisted(call: int, good: Answer) -> Any:
    """Every kind of bad answer in turn; calls count second questions too."""
    points = good["proposals"]
    return [
        good,
        {**good, "proposals": [dict.fromkeys(p, 9999) for p in points[:1]] + points[1:]},
        {**good, "proposals": points[:1] * len(points)},
        {**good, "proposals": points[:3]},
        {**good, "proposals": points + points[:1]},
        "I would rather not.",
        "I said no.",
        {**good, "proposals": [{**points[0], "p0": "x"}]},
        f"```json\n{json.dumps(good)}\n```",
    ][(call - 1) % 9]


def test_bad_answers_are_counted_and_made_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chaos_server(respond=Scripted(twisted)) as server:
        path = command(server, tmp_path, "one", "--race_rounds", "1", "--budget.episodes", "90")
    generations: dict[int, list[Trial]] = {}
    for trial in searched(path):
        generations.setdefault(trial.generation, []).append(trial)
    names = [[trial.proposer for trial in generations[i]] for i in range(7)]
    assert names[0] == ["lm"] * 8
    assert names[1] == ["lm-clipped", *["lm"] * 7]
    assert generations[1][0].point == (60,) * 5
    assert names[2] == ["lm", *["lm-near"] * 7]
    assert names[3] == [*["lm"] * 3, *["lm-fallback"] * 5]
    assert names[4] == ["lm"] * 8
    assert names[5] == ["lm-fallback"] * 8
    assert names[6] == ["lm"] * 8
    assert all(not t.reason for g in generations.values() for t in g if t.proposer == "lm-fallback")
    points = [trial.point for trial in searched(path)]
    assert len(set(points)) == len(points)
    # A moved duplicate is one grid step from what was said.
    near = np.array([t.point for t in generations[2]])
    assert np.abs(near[1:] - near[0]).sum(axis=1).min() == 1
    out = capsys.readouterr().out
    made = [
        name
        for generation in generations.values()
        for trial in generation
        for name in [trial.proposer]
    ]
    assert f"{made.count('lm-near')} moved away from duplicates" in out
    assert f"{made.count('lm-fallback')} sampled for want of a usable answer" in out
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[5])
    assert last["lm/fallback"] == 8
    assert last["calls"] == 7


def test_faults_of_the_network_change_nothing(tmp_path: Path) -> None:
    """40 % of the requests meet one; the search is that of a network without."""
    quick = {name: n for name, n in FAULTS.items() if name not in ("slow", "endless")}
    found: list[tuple[Any, ...]] = []
    for name, rate in (("sound", 0.0), ("faulty", 0.4)):
        settings = load(
            OptimizerConfig,
            [
                *COMMON,
                "--lm",
                "http://127.0.0.1:1/v1#m",
                "--run.root",
                str(tmp_path),
                "--run.name",
                name,
            ],
        )
        with chaos_server(respond=Scripted(), fault_rate=rate, seed=4, faults=quick) as server:
            with (
                EndpointLM(server.url, "m", retry=QUICK, timeout=2.0) as lm,
                Run.create("optimizer", settings.env, settings, settings.run) as run,
            ):
                result = train(settings, run, build=partial(build_proposer, lm=lm))
            assert (sum(server.met.values()) > server.met[""]) == (rate > 0)
        found.append((result, searched(run.path)))
    assert found[0] == found[1]


# ---- budgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_calls_stop_exactly(calls: int, tmp_path: Path) -> None:
    for name, twist in (("good", None), ("bad", lambda call, good: "no")):
        with chaos_server(respond=Scripted(twist)) as server:
            path = command(server, tmp_path, name, "--budget.calls", str(calls))
        assert sum(server.received.values()) == calls, name
        assert spent(path)["calls"] == calls


def test_no_question_is_asked_once_the_tokens_are_spent(tmp_path: Path) -> None:
    with chaos_server(respond=Scripted()) as server:
        path = command(server, tmp_path, "one", "--budget.tokens", "241")
    assert spent(path)["tokens"] == 360
    assert len(server.bodies) == 3


def test_a_model_that_cannot_be_opened_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run.root", str(tmp_path), "--run.progress", "false"]
    for flags, word in (
        (["--lm", "hf:./nowhere"], "nowhere"),
        (["--lm", "pokcet"], "pocket"),
        (["--lm", "replay:none.sqlite"], "none.sqlite: no such recording"),
        (["--ask.history_tokens", "9"], "ask.history_tokens"),
    ):
        assert main(["optimizer", "train", "--proposer", "lm", *flags, *where]) == 2
        error = capsys.readouterr().err
        assert word in error
        assert error.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))


# ---- promises -----------------------------------------------------------------------------------


@contextmanager
def a_server() -> Iterator[ChaosServer]:
    with chaos_server(respond=Scripted()) as server:
        yield server


def test_check_role_holds_with_a_language_model(tmp_path: Path) -> None:
    with a_server() as server:
        lm = ("--proposer", "lm", "--lm", f"{server.url}#m", "--ask.mode", "reflective")
        check_role("optimizer train", *lm, folder=tmp_path)


def test_a_finished_search_is_replayed_from_its_recording(tmp_path: Path) -> None:
    with a_server() as server:
        path = command(server, tmp_path, "one")
    flags = [
        "--run.root",
        str(tmp_path),
        "--run.name",
        "again",
        "--lm",
        f"replay:{path / 'lm' / 'cache.sqlite'}",
    ]
    assert main(["optimizer", "train", *COMMON, *flags]) == 0
    again = path.parent / "again"
    for name in ("metrics.jsonl", "trials.jsonl", "result.json", "best_policy.json"):
        assert (again / name).read_bytes() == (path / name).read_bytes(), name
