"""A study's file that is no data, to every command that reads one: one line, exit code 2, no output."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from understudy.cli import main
from understudy.data.cohort import write_cohort
from understudy.envs.study.load import load
from understudy.envs.study.policies import uniform
from understudy.envs.study.truth import PARAMETERS
from understudy.roles.simulator.cohorts import generate_truth, layout, read
from understudy.roles.simulator.offline.config import LearnConfig
from understudy.roles.simulator.offline.learn import learn
from understudy.roles.simulator.transitions import offline_of

STUDY = load("low-mood")
Rows = list[list[str]]
"""The header and the rows below it."""


def _set(column: str, value: str, line: int = 3) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        rows[line - 1][rows[0].index(column)] = value
        return rows

    return change


def _drop(column: str) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        at = rows[0].index(column)
        return [row[:at] + row[at + 1 :] for row in rows]

    return change


def _rename(column: str, to: str) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        return [[to if cell == column else cell for cell in rows[0]], *rows[1:]]

    return change


BAD: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "nan": (_set("numberRating", "nan"), "bad.csv:3: numberRating is nan; a finite number is needed"),
    "NaN reward": (_set("reward", "NaN"), "bad.csv:3: reward is NaN; a finite number is needed"),
    "empty cell": (_set("medianRating", ""), "bad.csv:3: medianRating is empty; a number is needed"),
    "infinity": (_set("reward", "inf"), "bad.csv:3: reward is inf; a finite number is needed"),
    "minus infinity": (_set("sdRating", "-Infinity"), "bad.csv:3: sdRating is -Infinity; a finite"),
    "too great": (_set("reward", "1e999"), "bad.csv:3: reward is 1e999; a finite number is needed"),
    "words": (_set("reward", "much"), "bad.csv:3: reward is 'much', which is no number"),
    "unknown action": (_set("action", "informng"), "bad.csv:3: action is 'informng'; did you mean 'informing'?"),
    "unknown part": (_set("day_part_x", "night"), "bad.csv:3: day_part_x is 'night'; it must be one of morning"),
    "action code": (_set("action", "7"), "bad.csv:3: action is '7'; it must be one of none, encouraging"),
    "a day too many": (_set("day_no", "30"), "bad.csv:3: day_no is 30; it must be from 0 to 29"),
    "a wrong date": (_set("day_no", "2026-02-30", 2), "bad.csv:2: day_no is '2026-02-30'; a date as"),
    "rows twice": (lambda rows: [*rows, rows[1]], "has this day_no and day_part_x already in line 2"),
    "ids of two people": (
        lambda rows: [rows[0], *(["same", *row[1:]] for row in rows[1:])],
        "user_id same has this day_no and day_part_x already in line",
    ),
    "no id": (_set("user_id", " "), "bad.csv:3: user_id is empty"),
    "missing column": (_drop("action"), "bad.csv:1: no column 'action'; it has user_id, day_no"),
    "renamed column": (_rename("user_id", "userid"), "bad.csv:1: no column 'user_id'; the nearest is 'userid'"),
    "column twice": (_rename("sdRating", "reward"), "bad.csv:1: column 'reward' is there twice"),
    "short row": (lambda rows: [*rows[:2], rows[2][:-1], *rows[3:]], "bad.csv:3: has 18 cells; the header has 19"),
    "one patient": (
        lambda rows: [row for row in rows if row[0] in (rows[0][0], rows[1][0])],
        "has 1 person (truth-0); at least 2 are needed to tell people from chance",
    ),
    "a header only": (lambda rows: rows[:1], "bad.csv: has a header and no rows"),
    "an empty file": (lambda rows: [], "bad.csv: is empty; a header of column names is needed"),
    "another table": (
        lambda rows: [["name", "age"], ["a", "3"]],
        "bad.csv:1: no column 'user_id'; it has name, age",
    ),
}  # fmt: skip

COMMANDS = {
    "profile": "simulator profile bad.csv --out out.json",
    "assess": "simulator assess bad.csv --data good.csv --out out.json",
    "assess against": "simulator assess good.csv --data bad.csv --out out.json",
    "learn": "simulator learn bad.csv --out out.safetensors --debug",
    "learn merged": "simulator learn good.csv bad.csv --out out.safetensors --debug",
    "evaluate": "simulator evaluate policy.safetensors --data bad.csv --out out.json",
    "generate": "simulator generate --debug --source.data bad.csv",
    "run": "simulator run --debug --make.source.data bad.csv",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People whose file is good, and a policy learnt from them."""
    folder = tmp_path_factory.mktemp("csv")
    people = generate_truth(STUDY, PARAMETERS["responsive"], 12, uniform(STUDY), 1)
    write_cohort(folder / "good.csv", people, layout(STUDY))
    how = LearnConfig(steps=5, target_rate=0.9)
    data = offline_of(STUDY, read(folder / "good.csv", STUDY), "original")
    learn(data, how, np.random.default_rng(0)).save(folder / "policy.safetensors")
    return folder


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def said(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    capsys.readouterr()
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("understudy: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 400
    return captured.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_clear_line(
    what: str, command: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = BAD[what]
    with (inside / "good.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (inside / "bad.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(change(rows))
    before = sorted(inside.rglob("*"))
    assert words in said(COMMANDS[command], capsys)
    assert sorted(inside.rglob("*")) == before


UNREADABLE = {
    "not there": (None, "bad.csv: no such file"),
    "nothing": (b"", "bad.csv: is empty; a header of column names is needed"),
    "UTF-16": ("user_id,day_no\n".encode("utf-16"), "bad.csv: not UTF-8 text"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\xff\xff", "bad.csv: not UTF-8 text"),
    "an open quote": (b'user_id,day_no\n"a,1\n', "not CSV"),
    "null bytes": (b"user_id,day_no\n\x00\x00,1\n", "bad.csv:1: no column 'day_part_x'"),
    "semicolons": (
        b"user_id;day_no;reward\na;1;2\n",
        "bad.csv:1: its columns are divided by ';'; commas",
    ),
    "blank lines": (b"\n\n\n", "bad.csv: is empty"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_table_is_one_clear_line(
    what: str, command: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = UNREADABLE[what]
    (inside / "bad.csv").unlink(missing_ok=True)
    if content is not None:
        (inside / "bad.csv").write_bytes(content)
    assert words in said(COMMANDS[command], capsys)


def test_a_folder_is_no_table(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inside / "folder").mkdir()
    for command in COMMANDS.values():
        assert "folder" in said(command.replace("bad.csv", "folder"), capsys)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("simulator assess few.csv --data few.csv --out out.json", "at least 4 and 2 are needed"),
        ("simulator generate --debug --source.data good.csv --people 0", "people"),
        ("simulator run --debug --make.source.data few.csv", "3 people; at least 8 are needed"),
        ("simulator evaluate policy.safetensors --data good.csv --study steps.toml", "no column"),
    ],
)
def test_too_few_people_and_another_study(
    line: str, words: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = read(inside / "good.csv", STUDY)
    write_cohort(inside / "few.csv", people.take(range(3)), layout(STUDY))
    steps = Path(__file__).parents[2] / "envs" / "study" / "steps.toml"
    (inside / "steps.toml").write_bytes(steps.read_bytes())
    assert words in said(line, capsys)
    assert not (inside / "runs").exists()
