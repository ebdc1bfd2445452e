"""A leak that is planted is found, and without one canaries are like those who were never there."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.server import chaos_server
from tests.roles.simulator.scripted import person, short_study
from understudy.cli import main
from understudy.data.cohort import write_cohort
from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import rules
from understudy.envs.study.truth import PARAMETERS
from understudy.ops.cohort import Cohort
from understudy.ops.leaks import exposure
from understudy.roles.simulator.canaries import invent, plant, recorded, search
from understudy.roles.simulator.cohorts import generate_truth, layout, profile, read
from understudy.roles.simulator.prompt import Worded

STUDY = load("low-mood")
STEPS = load(Path(__file__).parents[2] / "envs" / "study" / "steps.toml")


@pytest.fixture(scope="module")
def people() -> Cohort:
    return generate_truth(STUDY, PARAMETERS["responsive"], 60, uniform(STUDY), 1)


def test_exposure_by_hand():
    others = np.array([0.0, 0, 1, 2, 3, 0, 0])
    assert exposure(np.array([4.0, 3.0, 0.0]), others).tolist() == [3.0, 2.0, 0.0]


def test_exposure_without_a_leak_is_small():
    """More than b bits in 2^-b of cases at most."""
    rng = np.random.default_rng(0)
    bits = [exposure(rng.random(1), rng.random(31))[0] for _ in range(2000)]
    for b in range(1, 5):
        assert np.mean(np.array(bits) >= b) == pytest.approx(2.0**-b, abs=0.03)


@pytest.mark.parametrize("study", [STUDY, STEPS], ids=lambda s: s.name)
def test_canaries_are_possible_people(study, people):
    canaries = invent(study, 5, np.random.default_rng(0))
    assert len(canaries) == 5
    for rule, kept in rules(study, canaries).items():
        assert kept.all(), rule
    other = invent(study, 5, np.random.default_rng(1))
    assert not set(canaries.people) & set(other.people)


def test_planted_people_are_counted(people: Cohort):
    planted, canaries = plant(STUDY, people, 6, np.random.default_rng(0))
    assert len(planted) == 66
    assert planted.people[60:] == canaries.people
    np.testing.assert_array_equal(planted["ratings"][people.rows :], canaries["ratings"])
    counts = profile(planted, STUDY).measures["numberRating.new"]
    assert (
        counts.table[..., -1].sum()
        > profile(people, STUDY).measures["numberRating.new"].table[..., -1].sum() + 50
    )


def leaky(canaries: Cohort, how: str) -> list[str]:
    """Texts with something of one person in them."""
    row = np.flatnonzero(np.isfinite(canaries["ratings"][:, 6]))[:20]
    told = [canaries["ratings"][r].astype(int).tolist() for r in row]
    read_ = [int(canaries["read"][r]) for r in row]
    pairs = list(zip(told, read_, strict=True))
    if how == "rows of the file":
        return [f'7,2.5,"{ratings}",{read},0.25' for ratings, read in pairs]
    if how == "in words":
        return [f"ratings {str(ratings)[1:-1]}; read {read}" for ratings, read in pairs]
    if how == "in short":
        return ["|".join(f"7:{''.join(map(str, r))} {read} n" for r, read in pairs)]
    return [f"As {canaries.people[0]} said, it was a good day."]


def lines(people: Cohort) -> list[str]:
    """What people reported, as if someone had said it."""
    pairs = zip(people["ratings"], people["read"], strict=True)
    return [f"{r[np.isfinite(r)].astype(int).tolist()} {read:g}" for r, read in pairs]


@pytest.mark.parametrize("how", ["rows of the file", "in words", "in short", "an id"])
def test_a_leak_is_found(how: str, people: Cohort):
    planted, canaries = plant(STUDY, people, 4, np.random.default_rng(2))
    clean = [Worded(STUDY, profile(planted, STUDY)).layers, *lines(people)]
    rng = np.random.default_rng(3)
    found = search(STUDY, canaries, clean, rng)
    assert found["texts that name a canary"] == 0
    assert found["canary exposure in bits"] < 2
    one = canaries.take([0])
    found = search(STUDY, canaries, [*clean, *leaky(one, how)], np.random.default_rng(3))
    assert found["texts that name a canary"] == (how == "an id")
    assert (found["canary exposure in bits"] == 5) is (how != "an id")


def test_a_leak_of_a_study_without_ratings_is_found():
    canaries = invent(STEPS, 3, np.random.default_rng(0))
    told = [f"{s:g} steps" for s in canaries["steps"][:8]]
    whole = [f"steps {s:g}; opened {o:g}; effort {e:g}" for s, o, e in zip(
        *(canaries[name][:8] for name in ("steps", "opened", "effort")), strict=True)]  # fmt: skip
    rng = np.random.default_rng(1)
    assert search(STEPS, canaries, whole, rng)["canary exposure in bits"] == 5
    assert search(STEPS, canaries, told, rng)["canary exposure in bits"] == 0


def generate(folder: Path, url: str, name: str, *more: str) -> Path:
    line = (
        f"simulator generate --study {folder / 'days-4.toml'} --lm {url}#{name} --people 3 "
        f"--source.people 12 --source.canaries 4 --run.root {folder} --run.name {name} "
        "--run.progress false"
    )
    assert main([*line.split(), *more]) == 0
    return folder / "simulator" / "low-mood" / name


def assessed(run: Path, study: Path, *more: str) -> dict[str, float]:
    line = f"simulator assess {run} --study {study} --resamples 5"
    assert main([*line.split(), *more]) == 0
    return json.loads((run / "fidelity.json").read_text())["leaks"]


def test_the_command_line_plants_searches_and_reports(tmp_path: Path):
    file = short_study(tmp_path, 4)
    study = load(str(file))
    with chaos_server(respond=person) as server:
        run = generate(tmp_path, server.url, "clean")
        canaries = read(run / "canaries.csv", study)
        assert len(canaries) == 4
        assert "canary" not in (run / "reference.csv").read_text()
        assert len(list(recorded(run / "lm" / "cache.sqlite"))) > 50
        leaks = assessed(run, file)
        assert leaks["canaries planted"] == 4
        assert leaks["texts that name a canary"] == 0
        assert leaks["canary exposure in bits"] < 5
        assert "canary exposure in bits" in (run / "fidelity.txt").read_text()

        # Another study's people who were told of these: the canaries' own rows, played as they are.
        write_cohort(tmp_path / "copied.csv", canaries, layout(study))
        line = f"{tmp_path / 'copied.csv'} --data {run / 'reference.csv'} --study {file}"
        args = ["--canaries", str(run / "canaries.csv"), "--resamples", "5"]
        assert main(["simulator", "assess", *line.split(), *args]) == 0
    leaks = json.loads((tmp_path / "fidelity.json").read_text())["leaks"]
    assert leaks["canary exposure in bits"] == 5


def test_a_profile_cannot_be_planted_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    args = ["--source.profile", "p.json", "--source.canaries", "2"]
    assert main(["simulator", "generate", "--debug", *args]) == 2
    assert "a profile is counted already" in capsys.readouterr().err
