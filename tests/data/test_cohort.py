"""Cohorts at rest: exact round trips, and one clear line for each way a file can be wrong."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.data.cohort import Layout, episodes_of, read_cohort, write_cohort, write_minari
from understudy.data.jsonl import DataError
from understudy.ops.cohort import Cohort, Column

LAYOUT = Layout(
    "id",
    ("day", "part"),
    (
        Column("day", "whole", 0, 29),
        Column("part", "category", levels=("morning", "evening")),
        Column("action", "category", levels=("none", "encouraging")),
        Column("count", "whole", 0, 7),
        Column("reward", "number"),
        Column("moods", "values", 1, 7, (), 3, required=False),
    ),
)
GOOD = """id,day,part,action,count,reward,extra
b,0,morning,none,1,0.5,x
b,0,evening,encouraging,2,1.25,
a,1,evening,0,0,0,x
a,0,0,1.0,3.0,-1e-3,x
"""


def read(tmp_path: Path, text: str, layout: Layout = LAYOUT) -> Cohort:
    file = tmp_path / "people.csv"
    file.write_bytes(text.encode())
    return read_cohort(file, layout)


def test_rows_are_put_in_order(tmp_path: Path):
    cohort = read(tmp_path, GOOD)
    assert cohort.people == ("b", "a")
    assert cohort.lengths.tolist() == [2, 2]
    assert cohort["day"].tolist() == [0, 0, 0, 1]
    assert cohort["action"].tolist() == [0, 1, 1, 0]
    assert cohort["reward"].tolist() == [0.5, 1.25, -0.001, 0]
    assert "extra" not in cohort.columns
    assert "moods" not in cohort.columns


def test_dates_are_days_since_a_persons_first(tmp_path: Path):
    text = "id,day,part,action,count,reward\n"
    for name, date in (("a", "2023-02-27"), ("a", "2023-03-01"), ("b", "2024-01-05 08:00")):
        text += f"{name},{date},morning,none,0,0\n"
    assert read(tmp_path, text)["day"].tolist() == [0, 2, 0]
    with pytest.raises(DataError, match=r"people.csv:5: day is 40 days after the person's first"):
        read(tmp_path, text + "a,2023-04-08,morning,none,0,0\n")


BAD = {
    "nan": (",0.5,x", ",nan,x", "people.csv:2: reward is nan; a finite number is needed"),
    "infinity": (",0.5,x", ",-inf,x", "people.csv:2: reward is -inf; a finite number"),
    "empty cell": (",0.5,x", ",,x", "people.csv:2: reward is empty; a number is needed"),
    "word": (",0.5,x", ",half,x", "people.csv:2: reward is 'half', which is no number"),
    "too high": ("none,1,", "none,8,", "people.csv:2: count is 8; it must be from 0 to 7"),
    "not whole": ("none,1,", "none,1.5,", "people.csv:2: count is 1.5; a whole number is needed"),
    "unknown category": ("encouraging", "encourage", "did you mean 'encouraging'? it must be one"),
    "unknown index": ("a,1,evening,0", "a,1,evening,2", "people.csv:4: action is '2'; it must be"),
    "duplicate row": ("b,0,evening", "b,0,morning", "people.csv:3: id b has this day and part already in line 2"),
    "missing column": ("count", "counts", "people.csv:1: no column 'count'; the nearest is 'counts'"),
    "column twice": ("extra", "count", "people.csv:1: column 'count' is there twice"),
    "short row": ("2,1.25,", "2", "people.csv:3: has 5 cells; the header has 7"),
    "no id": ("b,0,morning", ",0,morning", "people.csv:2: id is empty"),
    "no date": ("b,0,morning", "b,2023-99-01,morning", "people.csv:2: day is '2023-99-01'; a date as"),
    "quote": ("b,0,morning", '"b,0,morning', "not CSV"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_clear_line(what: str, tmp_path: Path):
    right, wrong, said = BAD[what]
    with pytest.raises(DataError) as error:
        read(tmp_path, GOOD.replace(right, wrong, 1))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; a header of column names is needed"),
        (GOOD.splitlines()[0], "has a header and no rows"),
        ("\n".join(GOOD.splitlines()[:3]), "has 1 person (b); at least 2"),
    ],
)
def test_too_little(text: str, said: str, tmp_path: Path):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert said in str(error.value)


def test_no_file_and_no_text(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read_cohort(tmp_path / "none.csv", LAYOUT)
    (tmp_path / "people.csv").write_bytes(b"id,day\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_cohort(tmp_path / "people.csv", LAYOUT)


def test_a_folder_that_is_not_there(tmp_path: Path):
    cohort = read(tmp_path, GOOD)
    with pytest.raises(DataError, match="cannot write"):
        write_cohort(tmp_path / "no" / "people.csv", cohort, LAYOUT)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    rows = sum(lengths)
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    moods = np.full((rows, 3), np.nan)
    for row in range(rows):
        said = data.draw(st.lists(st.integers(1, 7), max_size=3))
        moods[row, : len(said)] = said
    cohort = Cohort(
        tuple(f"p, {i}\"" for i in range(len(lengths))),
        np.array(lengths),
        {
            "day": np.concatenate([np.arange(n, dtype=float) for n in lengths]),
            "part": np.array(data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), float),
            "action": np.array(data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), float),
            "count": np.array(data.draw(st.lists(st.integers(0, 7), min_size=rows, max_size=rows)), float),
            "reward": np.array(data.draw(st.lists(numbers, min_size=rows, max_size=rows))),
            "moods": moods,
        },
    )  # fmt: skip
    file = tmp_path_factory.mktemp("round") / "people.csv"
    write_cohort(file, cohort, LAYOUT)
    again = read_cohort(file, LAYOUT)
    assert again.people == cohort.people
    assert again.lengths.tolist() == lengths
    for name, column in cohort.columns.items():
        np.testing.assert_array_equal(again[name], column)


def test_too_many_values_in_a_list(tmp_path: Path):
    text = "id,day,part,action,count,reward,moods\n" + 'a,0,0,0,0,0,"[1, 2]"\nb,0,0,0,0,0,3 4\n'
    assert np.nansum(read(tmp_path, text)["moods"], axis=1).tolist() == [3, 7]
    with pytest.raises(DataError, match="moods has 4 values; at most 3"):
        read(tmp_path, text.replace("3 4", "1 2 3 4"))
    with pytest.raises(DataError, match="moods is 9; it must be from 1 to 7"):
        read(tmp_path, text.replace("3 4", "9"))


def test_copies_of_a_person_are_two_people(tmp_path: Path):
    """Resampling must join nobody's last row to a copy's first, as rows sorted by id would."""
    cohort = read(tmp_path, GOOD).take([1, 1, 0])
    assert cohort.people == ("a", "a#2", "b")
    assert cohort.first.tolist() == [True, False] * 3
    assert cohort["reward"].tolist() == [-0.001, 0, -0.001, 0, 0.5, 1.25]


def test_resampling_makes_no_self_loops():
    """The original sorts resampled rows by id and time: 34 % of its transitions are self-loops.

    Of 7 people drawn 7 times 4.62 differ, and of k copies of a row k - 1 are followed by a copy:
    1 - 4.62 / 7 = 34 %. Copies that are people of their own have none.
    """
    rng = np.random.default_rng(0)
    rows = 40
    cohort = Cohort(
        tuple("abcdefg"),
        np.full(7, rows),
        {"row": np.arange(7.0 * rows), "t": np.tile(np.arange(rows * 1.0), 7)},
    )
    theirs, ours, distinct = [], [], []
    for _ in range(300):
        drawn = rng.integers(7, size=7)
        distinct.append(len(np.unique(drawn)))
        joined = np.sort(np.concatenate([cohort["row"].reshape(7, rows)[i] for i in drawn]))
        theirs.append((joined[1:] == joined[:-1]).mean())
        copies = cohort.take(drawn)
        follows = ~copies.first[1:]
        ours.append((copies["row"][1:] == copies["row"][:-1])[follows].mean())
        assert (np.diff(copies["t"])[follows] == 1).all()
    assert np.mean(distinct) == pytest.approx(4.62, abs=0.15)
    assert np.mean(theirs) == pytest.approx(0.34, abs=0.02)
    assert max(ours) == 0


def test_a_cohort_must_add_up():
    with pytest.raises(ValueError, match="x has 2 rows; the lengths sum to 3"):
        Cohort(("a", "b"), np.array([1, 2]), {"x": np.zeros(2)})
    with pytest.raises(ValueError, match="distinct ids"):
        Cohort(("a", "a"), np.array([1, 2]), {"x": np.zeros(3)})


def test_episodes_have_one_observation_more_than_steps(tmp_path: Path):
    cohort = read(tmp_path, GOOD)
    states = np.arange(8.0).reshape(4, 2)
    episodes = episodes_of(cohort, states, np.full((2, 2), 9.0), "action", "reward")
    assert episodes[1]["observations"].tolist() == [[4, 5], [6, 7], [9, 9]]
    assert episodes[1]["actions"].tolist() == [1, 0]
    assert episodes[1]["rewards"].tolist() == [-0.001, 0]
    assert episodes[1]["terminations"].tolist() == [False, True]
    assert not episodes[1]["truncations"].any()


def test_minari_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    cohort = read(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"pip install understudy\[minari\]"):
        write_minari("x/y-v0", cohort, np.zeros((4, 2)), np.zeros((2, 2)), "action", "reward")
