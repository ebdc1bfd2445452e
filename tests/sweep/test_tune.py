"""A search over settings: trials are ordinary runs, and what is found does not depend on who makes them."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.roles.processes import command
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.run.config import ConfigError, dump, load
from understudy.run.errors import RunError, Stopped
from understudy.run.executors import Serial
from understudy.run.studies import opened_study, without_password
from understudy.sweep import tune
from understudy.sweep.commands import run_tune
from understudy.sweep.tune_config import Span, TuneConfig, shrunk
from understudy.sweep.tune_table import setting_of

pytest.importorskip("optuna", reason="the extra `optuna` is not installed")

RECIPE = """
root = "."
trials = 4
startup = 1
seeds = [0, 1]
progress = false

[optimizer.base]
proposer = "random"
held_out = 5
budget.episodes = 12

[optimizer.search]
"policy.limit" = {low = 1, high = 20, step = 0.5}
batch = {low = 1, high = 4}
"policy.bias" = [true, false]
"""


def _config(folder: Path, recipe: str = RECIPE, **more) -> TuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(recipe)
    return replace(load(TuneConfig, [str(folder / "recipe.toml")]), root=str(folder), **more)


def _found(file: Path) -> dict:
    return json.loads(file.read_text())


def _trials(file: Path) -> list:
    """What was proposed and what it came to, clocks left out."""
    return [
        {key: value for key, value in trial.items() if key != "cost"}
        for trial in _found(file)["trials"]
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_tune(_config(tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In generations of two, by processes."""
    return run_tune(_config(tmp_path_factory.mktemp("pairs"), workers=2))


def test_every_trial_is_a_run_of_each_seed_and_the_best_is_ready_to_use(one: Path):
    found, root = _found(one), one.parent
    assert found["complete"] == found["wanted"] == len(found["trials"]) == 4
    assert found["without_figure"] == []
    means = []
    for number, trial in enumerate(found["trials"]):
        runs = [root / "optimizer/CartPole-v1" / f"trial-{number:04d}-s{seed}" for seed in (0, 1)]
        assert [root / run["run"] for run in trial["runs"]] == runs
        values = [_found(run / "result.json")["held_out"]["mean"] for run in runs]
        assert trial["mean"]["value"] == pytest.approx(sum(values) / 2)
        means.append(trial["mean"]["value"])
    assert len({trial["setting"].partition(" ")[2] for trial in found["trials"]}) == 4
    best = found["best"]
    assert best["mean"]["value"] == max(means)
    assert means[best["trial"]] == max(means)
    ready = load(OptimizerConfig, ["--config", str(root / "best.toml")])
    run = root / "optimizer/CartPole-v1" / f"trial-{best['trial']:04d}-s0"
    made = load(OptimizerConfig, ["--config", str(run / "config.toml")])
    assert ready == replace(made, run=ready.run)
    assert ready.run.name is None
    text = (root / "tune.txt").read_text()
    assert text.splitlines()[2].startswith(f"{best['trial']}: ")
    assert "4 of 4 trials, 0 failed" in text


def test_what_is_finished_is_not_made_again_and_more_are_added(one: Path, tmp_path: Path):
    before = {log: log.stat().st_mtime_ns for log in one.parent.rglob("metrics.jsonl")}
    config = _config(one.parents[1])
    assert _trials(run_tune(config)) == _trials(one)
    assert {log: log.stat().st_mtime_ns for log in before} == before
    short = run_tune(_config(tmp_path, trials=2))
    assert _trials(short) == _trials(one)[:2]
    assert _trials(run_tune(_config(tmp_path))) == _trials(one)


class Two(Serial):
    """One after the other, the last first, in generations of two."""

    workers = 2

    def each(self, work, items, stop=None):
        yield from [(i, work(item)) for i, item in reversed(list(enumerate(items)))]


def test_who_makes_the_runs_changes_nothing_but_how_many_together_does(
    pairs: Path, one: Path, tmp_path: Path
):
    config = _config(tmp_path)
    (tmp_path / "tune").mkdir()
    assert _trials(tune.search(config, tmp_path / "tune", Two())) == _trials(pairs)
    # The second trial of a pair does not know of the first.
    assert _trials(pairs)[0] == _trials(one)[0]
    assert _trials(pairs)[1] != _trials(one)[1]


def test_a_search_that_was_stopped_goes_on_where_it_was(pairs: Path, tmp_path: Path, monkeypatch):
    config, root = _config(tmp_path), tmp_path / "tune"
    root.mkdir()
    whole, calls = tune.play_all, [0]

    def stopping(cells, *args, **more):
        calls[0] += 1
        if calls[0] == 2:
            whole(cells[:1], *args, **more)
            raise Stopped("stopped", 143)
        return whole(cells, *args, **more)

    monkeypatch.setattr(tune, "play_all", stopping)
    with pytest.raises(Stopped):
        tune.search(config, root, Two())
    assert _found(root / "tune.json")["complete"] == 2
    assert _trials(tune.search(config, root, Two())) == _trials(pairs)


def test_a_trial_that_was_never_noted_is_given_up(tmp_path: Path, one: Path):
    run_tune(_config(tmp_path, trials=1))
    study = opened_study(f"sqlite:///{tmp_path}/tune/trials.sqlite", "tune")
    study.ask()
    assert _found(run_tune(_config(tmp_path, trials=2)))["complete"] == 2
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_settings_that_fail_stop_no_other(tmp_path: Path, capsys):
    recipe = RECIPE.replace('"policy.bias" = [true, false]', "first_trials = [1, 2, 3]").replace(
        "batch = {low = 1, high = 4}", 'env = ["CartPole-v1", "CartPoll-v1"]'
    )
    found = _found(run_tune(_config(tmp_path, recipe, seeds=(0,), trials=6)))
    failed = found["without_figure"]
    assert 0 < len(failed) < 6
    assert found["complete"] + len(failed) == 6
    assert all("CartPoll" in one["problem"] and "CartPoll" in one["setting"] for one in failed)
    assert "failed: trial" in (tmp_path / "tune/tune.txt").read_text()
    # All of them: one line, exit code 2.
    (tmp_path / "none.toml").write_text(recipe.replace('"CartPole-v1", ', ""))
    words = [
        str(tmp_path / "none.toml"),
        "--trials",
        "2",
        "--root",
        str(tmp_path),
        "--name",
        "none",
    ]
    assert command(["tune", *words]) == 2
    assert "understudy: no trial came to an end; " in capsys.readouterr().err


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path: Path):
    recipe = RECIPE.replace('"policy.bias" = [true, false]', 'first = ["random", "lm"]')
    found = _found(run_tune(_config(tmp_path, recipe, seeds=(0,), trials=6)))
    assert found["complete"] + len(found["without_figure"]) == 6
    assert found["without_figure"]
    assert all("only --proposer hybrid" in one["problem"] for one in found["without_figure"])


def test_searches_of_several_places_join_in_one_storage(tmp_path: Path):
    storage = str(tmp_path / "shared/journal.log")
    first = run_tune(_config(tmp_path / "a", storage=storage, trials=2))
    second = run_tune(_config(tmp_path / "b", storage=storage, trials=4))
    assert _found(second)["complete"] == 4
    assert _trials(second)[:2] == _trials(first)
    assert len(list((tmp_path / "b").rglob("run.json"))) == 2 * 2
    with pytest.raises(RunError, match="the search 'tune' has another seeds; take another --name"):
        run_tune(_config(tmp_path / "c", storage=storage, seeds=(3,)))


def test_less_is_better_where_it_is(tmp_path: Path, monkeypatch):
    errors = iter([0.7, 0.5, 0.9, 0.6])

    def row(root, key, cells):
        mean = next(errors)
        found = {"role": key[0], "env": key[1], "setting": key[2], "higher_is_better": False}
        cost = {"tokens": 0, "usd": 0, "seconds": 0}
        runs = [{"seed": cell.seed, "run": "", "value": mean} for cell in cells]
        figure = {"value": mean, "low": mean, "high": mean}
        return {**found, "unit": "AUC", "seeds": 2, "runs": runs, "mean": figure, "cost": cost}

    monkeypatch.setattr(tune, "row", row)
    monkeypatch.setattr(tune, "play_all", lambda *args, **more: [])
    found = _found(run_tune(_config(tmp_path)))
    assert found["best"]["trial"] == 1
    assert found["best"]["mean"]["value"] == 0.5


def test_values_are_those_of_the_settings_types(tmp_path: Path):
    config = _config(tmp_path)
    space = config.space()
    assert space["batch"] == Span(1, 4, False, None, True)
    assert space["policy.limit"] == Span(1.0, 20.0, False, 0.5, False)
    params = {"policy.limit": 3.5, "batch": 2, "policy.bias": "false"}
    assert setting_of(config, params) == {"policy.limit": 3.5, "batch": 2, "policy.bias": False}
    small = shrunk(replace(config, small=True))
    assert (small.trials, small.seeds, small.base.held_out) == (3, (0,), 8)
    (tmp_path / "again.toml").write_text(dump(config))
    assert load(TuneConfig, [str(tmp_path / "again.toml")]) == config


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("", r"nothing is searched; one of \[policy.search\]"),
        ("[optimizer.search]\nbatch = [1]\n[policy.search]\nprompts = [1]", "only one role can be"),
        ("[optimizer.search]\nbatsh = [1]", r"did you mean 'batch'\?"),
        ("[optimizer.search]\nbatch = {low = 1}", "a table {low = …, high = …}"),
        ("[optimizer.search]\nbatch = {low = 4, high = 1}", "low must be less than high"),
        ("[optimizer.search]\nbatch = {low = 0, high = 4, log = true}", "above 0 where log"),
        ("[optimizer.search]\nbatch = {low = 1.5, high = 4}", "must be an integer"),
        ("[optimizer.search]\nbatch = {low = 1, high = 4, step = 9}", "step must be between"),
        ("[optimizer.search]\nproposer = {low = 1, high = 4}", "is no number"),
        ("[optimizer.search]\nproposer = []", "at least one value"),
        ("[optimizer.search]\nseed = [1]", "names the seeds"),
        ("seeds = []\n[optimizer.search]\nbatch = [1]", "seeds: at least one"),
        ('name = "a/b"\n[optimizer.search]\nbatch = [1]', "name must be"),
    ],
)
def test_recipes_that_mean_nothing_are_refused(search: str, words: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=words):
        _config(tmp_path, search)


def test_without_optuna_one_line_says_what_to_install(tmp_path: Path, monkeypatch):
    whole = importlib.import_module

    def missing(name):
        if name == "optuna":
            raise ImportError(name)
        return whole(name)

    config = _config(tmp_path)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RunError, match=r"pip install understudy\[optuna\]"):
        run_tune(config)


def test_a_password_is_not_written_down():
    assert without_password("postgresql://me:secret@h:5/d") == "postgresql://me:***@h:5/d"
    assert without_password("sqlite:////a/b@c:d") == "sqlite:////a/b@c:d"
    assert without_password("postgresql://h/d") == "postgresql://h/d"
