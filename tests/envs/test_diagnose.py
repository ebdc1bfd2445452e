"""Why an answer is wrong, equations re-computed, and independence from the reward's grader."""

import re
import time
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from tests.envs.cases import HOSTILE, gsm8k
from tests.envs.test_answers import EIGHTEEN, OTHER, UNREADABLE
from understudy.envs.answers import read_marked
from understudy.envs.base import Problem
from understudy.envs.diagnose import diagnose
from understudy.envs.gsm8k import GSM8K

# Forms that the strict reader takes and this one need not.
UNREAD_HERE = ("1.8e1", "1.8 \\times 10^1", "1.8 × 10^{1}", "１８", "¥18")


def problem(answer: str) -> Problem:
    return Problem("p", "How many?", answer)


@pytest.mark.parametrize(
    ("answer", "response", "kind"),
    [
        ("14", "3+4=7\n7*2=14\n#### 14", "correct"),
        ("14", "The answer is: $14.00", "correct"),
        ("14", "THE ANSWER IS 14 cups.", "correct"),
        ("14", "so \\boxed{14}", "correct"),
        ("14", "The answer is 5, no: \\boxed{14}", "correct"),
        ("1400", "#### 1,400", "correct"),
        ("-3", "#### −3", "correct"),
        ("1/2", "#### 0.5", "correct"),
        ("14", "3+4=9\n#### 14", "correct"),
        ("14", "3+4=7\n7*2=14", "format"),
        ("14", "It is 14.", "format"),
        ("14", "3+4=8\n8*2=16\n#### 16", "arithmetic"),
        ("14", "3+4=8, 8*2=16. It is 16.", "arithmetic"),
        ("14", "<<3+4=8>>8 apples, <<8*2=16>>16\n#### 16", "arithmetic"),
        ("14", "3+4 = <<3+4=8>>8\n8*2 = <<8*2=16>>16\n#### 16", "arithmetic"),
        ("14", "3+4 = 8 = 16/2\n#### 8", "reasoning"),
        ("14", "7*2 = 15\n#### 15", "arithmetic"),
        ("15", "7*2 = 15+1 = 16\n#### 16", "arithmetic"),
        ("3.5", "7 / 2 = 3\n#### 3", "arithmetic"),
        ("14", "3*4=12\n#### 12", "reasoning"),
        ("14", "3+4=7\n7*2=14\n#### 15", "reasoning"),
        ("14", "#### 13", "reasoning"),
        ("14", "#### 14 or 15", "reasoning"),
        ("14", "I do not know.", "unreadable"),
        ("14", "", "unreadable"),
        ("14", "#### fourteen", "unreadable"),
    ],
)
def test_kinds(answer: str, response: str, kind: str) -> None:
    assert diagnose(problem(answer), response).kind == kind


@pytest.mark.parametrize("form", UNREADABLE)
def test_what_the_strict_reader_refuses_is_not_correct(form: str) -> None:
    for gold in {n for n in re.findall(r"\d+", form, re.ASCII) if len(n) < 40} | {"18", "2"}:
        assert diagnose(problem(gold), f"#### {form}").kind != "correct", gold


@pytest.mark.parametrize(("form", "value"), OTHER)
def test_another_number_is_not_correct(form: str, value: str) -> None:
    for gold in set(re.findall(r"\d+", form, re.ASCII)) - {value}:
        if Fraction(gold) != Fraction(value):
            assert diagnose(problem(gold), f"#### {form}").kind != "correct", gold


@pytest.mark.parametrize("form", [f for f in EIGHTEEN if f not in UNREAD_HERE])
def test_the_usual_forms_are_correct(form: str) -> None:
    assert diagnose(problem("18"), f"She pays 3 and 5.\n#### {form}").kind == "correct"
    assert diagnose(problem("81"), f"She pays 3 and 5.\n#### {form}").kind != "correct"


@pytest.mark.parametrize(
    "text",
    [
        "#### not 14", "#### x/14", "#### √14", "#### 14²", "#### 1$4", "#### 2^14", "\\boxed{14", "#### 14x",
        "#### 14 dozen eggs", "#### .14", "#### - 14", "#### 14/2", "#### 14 thousand", "#### 14!", "#### 14 (million)",
        "#### (14)!", "#### 14x²k",
    ],
)  # fmt: skip
def test_a_number_with_more_to_it_is_not_correct(text: str) -> None:
    assert diagnose(problem("14"), text).kind != "correct"


def test_malformed_thousands_are_not_correct() -> None:
    assert diagnose(problem("14000"), "#### 1,4000").kind != "correct"
    assert diagnose(problem("-14"), "#### - 14").kind == "correct"
    assert diagnose(problem("1/2"), "#### .5").kind == "correct"
    assert diagnose(problem("1/2"), "\\boxed{\\frac{1}{2}}").kind == "correct"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ("#### 5*(1+2)", "correct"), ("#### 3*5 = 15", "correct"), ("#### 15", "reasoning"), ("#### 5+5+5", "reasoning"),
        ("#### 2.5*3*2", "reasoning"), ("#### 3+5", "reasoning"), ("#### 3+5+2=15", "arithmetic"),
        ("#### 1$2+3", "unreadable"), ("5*3 = 15", "format"), ("5*4 = 20", "reasoning"), ("none", "unreadable"),
        ("#### 5!", "unreadable"),
    ],
)  # fmt: skip
def test_expressions_that_must_reach_a_target(response: str, kind: str) -> None:
    countdown = Problem("p", "Make 15.", "15", info={"numbers": (1, 2, 3, 5)})
    assert diagnose(countdown, response).kind == kind


def test_a_number_that_was_wrong_once_is_right_when_it_comes_about_properly() -> None:
    # 8 first stands for 3+4, then for 4*2: 8+1 is 9 and not 8.
    text = "3+4=8\n4*2=8\n8+1=10\n#### 10"
    assert diagnose(problem("9"), text).kind == "arithmetic"
    assert diagnose(problem("8"), text).kind == "reasoning"


@pytest.mark.parametrize(
    ("response", "right", "total"),
    [
        ("3+4=7, 7*2=15", 1, 2),
        ("48/2 = <<48/2=24>>24 clips", 1, 1),
        ("has <<48/2=24>>24 clips", 1, 1),
        ("3+4 = 7+1 = 8", 2, 2),
        ("2+3 = 4+1", 1, 1),
        ("3+4 = 8+1 = 9", 1, 2),
        ("$5*3=$15", 1, 1),
        ("1,000*2=2,000", 1, 1),
        ("5×2=10; 9÷3=4", 1, 2),
        ("7 / 2 = 3.5 each", 1, 1),
        ("in 2020 7*2=14", 1, 1),
        ("so 12. 7*2=14", 1, 1),
        ("x = 5", 0, 0),
        ("7 = 7", 0, 0),
        ("a+b=c", 0, 0),
        ("1/0=5", 0, 0),
        ("-3+5=2", 1, 1),
        ("5-8 = -3", 1, 1),
        ("", 0, 0),
    ],
)
def test_equations_are_counted(response: str, right: int, total: int) -> None:
    verdict = diagnose(problem("0"), response)
    assert (verdict.equations_right, verdict.equations) == (right, total)


def test_answers_that_are_no_numbers() -> None:
    assert diagnose(problem("Tuesday"), "#### Tuesday").kind == "correct"
    assert diagnose(problem("\\sqrt{2}"), "\\boxed{\\sqrt{2}}").kind == "correct"
    assert diagnose(problem("Tuesday"), "#### Monday").kind == "reasoning"
    assert diagnose(problem("A"), "#### a").kind == "reasoning"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_texts_take_no_time(text: str) -> None:
    spent: list[float] = []
    for _ in range(
        3
    ):  # processor time, the best of three: other work of the process does not count
        begun = time.process_time()
        assert diagnose(problem("123454321"), text).kind in ("reasoning", "unreadable")
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05


@given(st.text(alphabet="0123456789+-*/=()<>#. $,x\n", max_size=200))
def test_any_text_has_a_diagnosis(text: str) -> None:
    verdict = diagnose(problem("7"), text)
    assert 0 <= verdict.equations_right <= verdict.equations
    if verdict.kind in ("format", "arithmetic", "correct"):
        assert any(c.isdigit() for c in text)


@pytest.mark.parametrize("split", ["train", "test"])
def test_published_solutions(split: str) -> None:
    task = GSM8K(split, path=str(gsm8k(split)))
    right = total = 0
    for index in range(len(task)):
        p = task.problem(index)
        verdict = diagnose(p, p.solution)
        assert verdict.kind == "correct", p.id
        unmarked = p.solution.replace("####", "So")
        if "answer is" not in unmarked:  # one row says so in passing
            assert diagnose(p, unmarked).kind == "format", p.id
            assert read_marked(unmarked) is None
        right, total = right + verdict.equations_right, total + verdict.equations
    # What is not exact there is rounded (1/3 = 0.33).
    assert total > 3 * len(task)
    assert right / total > 0.995


def test_a_slip_in_a_published_solution_is_arithmetic() -> None:
    task = GSM8K("test", path=str(gsm8k("test")))
    p = task.problem(0)
    assert p.solution.count("<<16-3-4=9>>9") == 1
    slipped = p.solution.replace("=9>>9", "=8>>8").replace("<<9*2=18>>18", "<<8*2=16>>16")
    verdict = diagnose(p, slipped.replace("#### 18", "#### 16"))
    assert (verdict.kind, verdict.equations_right, verdict.equations) == ("arithmetic", 1, 2)
