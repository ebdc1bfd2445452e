"""Every row of GSM8K as problems and episodes, and what is said of rows that are not right."""

import json
from pathlib import Path

import pytest

from tests.envs.cases import gsm8k
from understudy.envs.answers import equal, read_last_number
from understudy.envs.base import EnvError, Problem
from understudy.envs.fingerprints import assert_disjoint, fingerprint
from understudy.envs.gsm8k import GSM8K
from understudy.envs.text_env import TextEnv

ROW = {"question": "3 + 4?", "answer": "3+4 = <<3+4=7>>7\n#### 7"}


def write(path: Path, *lines: str | bytes) -> str:
    path.write_bytes(b"\n".join(x.encode() if isinstance(x, str) else x for x in lines))
    return str(path)


@pytest.mark.parametrize(("split", "rows"), [("train", 7473), ("test", 1319)])
def test_every_gold_answer_is_right_in_both_modes(split: str, rows: int) -> None:
    task = GSM8K(split, path=str(gsm8k(split)))
    assert len(task) == rows
    whole, stepwise = (TextEnv(task, mode=m, max_steps=40) for m in ("whole", "stepwise"))
    for index in range(rows):
        problem = task.problem(index)
        whole.reset(options={"index": index})
        _, reward, terminated, _, info = whole.step(problem.solution)
        assert (reward, terminated, info["value"]) == (1.0, True, problem.answer), problem.id
        stepwise.reset(options={"index": index})
        lines = problem.solution.splitlines(keepends=True)
        steps = [stepwise.step(line) for line in lines]
        assert [s[1] for s in steps] == [0.0] * (len(lines) - 1) + [1.0], problem.id
        assert [s[2] for s in steps] == [False] * (len(lines) - 1) + [True], problem.id
        assert not any(s[3] for s in steps)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_gold_answer_equals_itself_in_other_dress_and_nothing_else(split: str) -> None:
    task = GSM8K(split, path=str(gsm8k(split)))
    for index in range(len(task)):
        problem = task.problem(index)
        gold = problem.answer
        assert equal(gold, gold)
        assert read_last_number(problem.solution) == gold, problem.id
        for dress in (
            "The answer is: ${} dollars.",
            "**#### {}.**",
            "\\boxed{{{}}}",
            "#### {}.0" if "/" not in gold else "#### {}",
        ):
            assert task.grade(problem, dress.format(gold)).correct is True, (problem.id, dress)
        assert task.grade(problem, f"#### {gold}1").correct is False
        assert task.grade(problem, f"#### 1{gold}").correct is (
            None if gold.startswith("-") else False
        )
        assert task.grade(problem, f"It is {gold}").correct is None


def test_the_published_splits_share_no_problem() -> None:
    train, test = (GSM8K(s, path=str(gsm8k(s))) for s in ("train", "test"))
    assert_disjoint(train, test, limit=len(test))
    assert len({fingerprint(test.problem(i)) for i in range(len(test))}) == len(test)


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ("3 + 2?", "3 - 2?", False), ("3 * 2?", "3 / 2?", False), ("1.5?", "1 5?", False), ("(3+2)*4", "3+2*4", False),
        ("5!", "5", False), ("√2", "2", False), ("-3 + 2", "3 + 2", False), ("2 < 3", "2 > 3", False), ("12", "1 2", False),
        ("3 × 2", "3*2", True), ("6 ÷ 2", "6/2", True), ("3 − 2", "3 - 2", True), ("1,000 eggs", "1000 Eggs.", True),
        ("Ann has 3  eggs!", "ann has 3 eggs", True), ("Ann (a girl)", "Ann, a girl", True),
    ],
)  # fmt: skip
def test_fingerprints(left: str, right: str, alike: bool) -> None:
    marks = {fingerprint(Problem("p", text, "1")) for text in (left, right)}
    assert (len(marks) == 1) is alike


def test_annotations_can_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", json.dumps(ROW))
    assert GSM8K(path=path).problem(0).solution == ROW["answer"]
    assert GSM8K(path=path, annotations=False).problem(0).solution == "3+4 = 7\n#### 7"


def test_empty_lines_and_odd_line_ends_are_not_rows(tmp_path: Path) -> None:
    odd = {**ROW, "question": "a\u2028b\x85c"}
    path = write(
        tmp_path / "g.jsonl", json.dumps(ROW), "", json.dumps(odd, ensure_ascii=False) + "\r", ""
    )
    task = GSM8K(path=path)
    assert [task.problem(i).id for i in range(len(task))] == ["g.jsonl:1", "g.jsonl:3"]
    assert task.problem(1).question == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "a row needs the texts question and answer"),
        ('{"question": "a"}', "a row needs the texts question and answer"),
        ('{"question": "a", "answer": 7}', "a row needs the texts question and answer"),
        ('{"question": "a", "answer": "7"}', "does not end in '#### NUMBER'"),
        ('{"question": "a", "answer": "#### seven"}', "does not end in '#### NUMBER'"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, line, message: str) -> None:
    path = write(tmp_path / "g.jsonl", json.dumps(ROW), line)
    with pytest.raises(EnvError, match=rf"g.jsonl:2: .*{message}") as caught:
        GSM8K(path=path)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"nowhere\.jsonl: no such file"):
        GSM8K(path=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(EnvError, match="no problems in it"):
        GSM8K(path=write(tmp_path / "g.jsonl", "", ""))
    with pytest.raises(EnvError, match="no such file"):
        GSM8K(path=str(tmp_path))


def test_the_hub_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EnvError, match=r"install understudy\[hub\]"):
        GSM8K(path="hub:openai/gsm8k")


def test_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    asked = []

    def load_dataset(name, subset, *, split):
        asked.append((name, subset, split))
        if name == "gone":
            raise ValueError("cannot reach it\nlong story")
        return [ROW]

    stand_in = ModuleType("datasets")
    stand_in.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    task = GSM8K("test", path="hub:openai/gsm8k")
    assert asked == [("openai/gsm8k", "main", "test")]
    assert (task.problem(0).id, task.problem(0).answer) == ("openai/gsm8k/test:0", "7")
    with pytest.raises(EnvError, match=r"hub:gone: cannot load it \(cannot reach it\)$"):
        GSM8K("test", path="hub:gone")
