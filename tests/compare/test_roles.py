"""Every role tells in the same words what its runs came to."""

import json
from pathlib import Path

import pytest

from tests.roles.processes import command
from understudy.compare.roles import SUMMARIES
from understudy.compare.summary import describe

RECIPE = """
seeds = [0]

[policy]
envs = ["word-problems"]
methods = ["rloo", "supervised"]

[world_model]
envs = ["understudy/TMaze-v0"]
cores = ["llama@4", "gru"]

[world_model.base.env_options]
length = 1

[simulator]
envs = ["low-mood"]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grid")
    (root / "recipe.toml").write_text(RECIPE)
    words = ["compare", str(root / "recipe.toml"), "--debug", "--root", str(root)]
    assert command([*words, "--progress", "false"]) == 0
    return root / "grid"


def test_every_run_is_told_in_the_same_words(grid: Path):
    names = set()
    for file in sorted(grid.rglob("run.json")):
        run, role = file.parent, json.loads(file.read_text())["role"]
        summary = SUMMARIES[role]
        names.add((role, summary.contender(run).label))
        score = summary.score(run)
        assert score is not None
        assert score.low <= score.value <= score.high
        assert score.n > 0
        assert summary.share_done(run) == 1.0
        cost = summary.cost(run)
        assert cost.seconds > 0
        assert cost.cpu > 0
        spent = [x for x, _ in summary.learning(run).points]
        assert spent == sorted(spent)
    assert names == {
        ("policy", "rloo (pocket)"), ("policy", "supervised (pocket)"),
        ("world_model", "llama@4"), ("world_model", "gru"),
        ("simulator", "cohort (pocket)"),
    }  # fmt: skip


def test_baselines_that_a_run_brings_are_in_the_table(grid: Path):
    found = json.loads((grid / "compare.json").read_text())
    names = {p["role"]: [c["name"] for c in p["contenders"]] for p in found["places"]}
    assert names["policy"] == ["rloo (pocket)", "supervised (pocket)", "untrained (pocket)"]
    assert names["simulator"][0] == "cohort (pocket)"
    assert set(names["simulator"][1:]) == {"copula", "markov", "resampled days"}
    simulator = next(p for p in found["places"] if p["role"] == "simulator")
    assert not simulator["higher_is_better"]
    assert simulator["contenders"][0]["cost"]["calls"] > 0
    text = describe(grid / "compare.json")
    assert "less is better" in text
    assert "so few runs could not show one" in text


def test_before_and_after_are_of_the_same_run(grid: Path):
    (run,) = grid.glob("policy/word-problems/rloo-pocket-s0")
    summary = SUMMARIES["policy"]
    (before,) = summary.beside(run).values()
    course = summary.learning(run).points
    after = summary.score(run)
    assert after is not None
    assert course[0] == (0, before.value)
    assert course[-1][1] == after.value
    # Two iterations of two problems with two answers each.
    assert summary.cost(run).calls == 8


def test_an_unfinished_run_has_no_place_in_the_table(grid: Path, tmp_path: Path):
    (run,) = grid.glob("world_model/*/gru-s0")
    (run / "finished").rename(tmp_path / "finished")
    try:
        assert command(["compare", "table", str(grid)]) == 0
        found = json.loads((grid / "compare.json").read_text())
        assert found["left_out"] == [run.relative_to(grid).as_posix()]
        assert "gru" not in {one["contender"] for one in found["runs"]}
        assert "Left out, as unfinished: world_model" in (grid / "compare.txt").read_text()
    finally:
        (tmp_path / "finished").rename(run / "finished")
