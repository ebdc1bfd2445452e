"""Books of answers: what is written comes back, and nothing else is taken for one."""

import json

import pytest

from understudy.roles.teacher.book import Book, Row
from understudy.run.errors import RunError

KEY = {"model": "m@1", "instructions": "0", "answers": "scored"}
ROWS = [
    Row(
        "Mission: a.\nHeld: nothing.",
        (("explore", 0.25), ("wait", 0.75)),
        "so \u2028 it \ud800 is",
        False,
    ),
    Row("Mission: b.", (("explore", 1.0),), "", True),
]


@pytest.fixture
def path(tmp_path):
    Book.open(tmp_path / "some" / "book.jsonl", KEY).add(ROWS)
    return tmp_path / "some" / "book.jsonl"


@pytest.mark.parametrize("key", [KEY, None])
def test_a_book_comes_back(path, key):
    book = Book.open(path, key)
    assert book.key == KEY
    assert book.rows == {row.text: row for row in ROWS}
    assert len(path.read_text().splitlines()) == 3


def test_a_torn_last_line_is_dropped_and_written_again(path):
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[:-cut])
        assert list(Book.open(path).rows) == [ROWS[0].text]  # a reader leaves it as it is
        assert path.read_bytes() == whole[:-cut]
    book = Book.open(path, KEY)
    book.add(ROWS[1:])
    assert path.read_bytes() == whole


def test_a_first_line_that_was_never_finished_is_written_again(path):
    header = path.read_bytes().splitlines(keepends=True)[0]
    for cut in range(len(header)):
        path.write_bytes(header[:cut])
        assert Book.open(path, KEY).rows == {}
        assert path.read_bytes() == header


def test_another_models_answers_are_refused(path):
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"holds the answers of .*m@1.*, not of .*m@2"):
        Book.open(path, {**KEY, "model": "m@2"})
    assert path.read_bytes() == before


HEADERS = ["", "{", "[]", "3", '"model"', "{}", '{"a": "b"}', "[" * 100_000, "\x00"]
LINES = [
    "{", "[]", "null", "3", "{}", '{"text": "t"}', "[" * 100_000, '{"a":' * 50_000,
    *(
        json.dumps({"text": "t", "answers": answers, "raw": "", "fallback": False})
        for answers in (
            [], 3, None, "ab", [["a"]], [["a", "b"]], [["a", None]], [["a", 0.5]], [["a", 2.0], ["b", -1.0]],
            [["a", float("nan")]], [["a", float("inf")]], [["a", 10**400]], {"a": 1}, [["a", 1.0, 2]], [["a", [1.0]]],
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("line", HEADERS)
def test_what_is_no_book(tmp_path, line):
    (tmp_path / "b").write_text(line + "\n")
    with pytest.raises(RunError, match="b:1: not a book of answers"):
        Book.open(tmp_path / "b")


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_what_is_no_line_of_a_book(path, line):
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"book\.jsonl:4: ") as error:
        Book.open(path)
    assert len(str(error.value)) < 300


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(RunError, match="No such file"):
        Book.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match="Is a directory"):
        Book.open(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    for key in (None, KEY):
        with pytest.raises(RunError, match="not a book of answers"):
            Book.open(tmp_path / "binary", key)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Not a directory|File exists"):
        Book.open(tmp_path / "file" / "b", KEY)
