"""Reading answers: a table of forms, hostile texts in bounded time, random texts."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from tests.envs.cases import HOSTILE
from understudy.envs import answers
from understudy.envs.answers import canonical, equal, read_last_number, read_marked, read_number

EIGHTEEN = [
    "18", "18.", "18.0", "18.00", "$18", "$18.00", "\\$18", "$18$", "$$18$$", "€18", "18€", "£18", "¥18",
    "18 dollars", "18 cups.", "18 cups of tea", "18%", "18\\%", "18 %", "**18**", "**18** dollars", "*18*", "_18_",
    "`18`", "+18", "018", "18/1", "36/2", "\\frac{36}{2}", "\\dfrac{36}{2}", "\\tfrac{36}{2}", "\\boxed{18}",
    "１８", "1.8e1", "1.8 \\times 10^1", "1.8 × 10^{1}", "x = 18", "= 18", "about 18", "exactly 18 cups", "(18)",
    "[18]", "\"18\"", "18 cups!", "18;", "18,", "18 (cups)", "18 m^2", "18 m²", "18km/h", "18kg", "18m", "18°", "18°C",
    "\\text{18}", "18\\text{ cups}", "\\(18\\)", "\\[18\\]", "18</s>", "18<|eot_id|>", "18\u00a0cups",
    "18. I hope it is correct", "18 a day", "18 p.m.", "18 T-shirts", "18 cups per day", "18. " + "So it is " * 40,
]  # fmt: skip
OTHER = [
    ("-18", "-18"), ("−18", "-18"), ("–18", "-18"), ("- 18", "-18"), ("-$18", "-18"), ("$-18", "-18"),
    ("1,000", "1000"), ("1,000.00", "1000"), ("12,345,678", "12345678"), ("$1,800", "1800"), ("1e3", "1000"),
    ("2E-1", "1/5"), ("0.5", "1/2"), (".5", "1/2"), ("1/2", "1/2"), ("\\frac{1}{2}", "1/2"), ("-\\frac{1}{2}", "-1/2"),
    ("½", "1/2"), ("3 1/2", "7/2"), ("3½", "7/2"), ("-3 1/2", "-7/2"), ("0", "0"), ("-0", "0"), ("0.10", "1/10"),
    ("1e30", "1" + "0" * 30), ("9" * 40, "9" * 40),
]  # fmt: skip
UNREADABLE = [
    "", " ", "eighteen", "72x", "72 x", "5k", "5 thousand", "5 million", "2 dozen", "5 squared", "2 pi", "3y",
    "72/0", "0/0", "\\frac{1}{0}", "7,2", "10,00", "1,00,000", "12,345,67", "1,0000", "18 or 19", "18 19", "18:30",
    "5+3", "18*2", "18 = 18", "18-", "18-2", "1/2/3", "2^3", "9**9**9", "--5", "+-5", "1.2.3", "5 . 5", "1_000", "²",
    "٣", "nan", "Infinity", "1e31", "1e-31", "1e999", "9" * 41, "1" + "," + "000" * 20, "\\sqrt{4}",
    "18!", "18! Good", "72y", "72 y", "5y^2", "5y - x", "2xy", "5 M", "5 (million)", "5 million/year", "5 millions",
    "5 bn", "5 tenths", "5\\alpha", "5\\sqrt", "2 and a half", "2 cups and a half", "5 plus two", "18 or nineteen",
    "3 point five", "3*1/2", "3_1/2", "3 * \\frac{1}{2}", "1</s>8", "18 m - n", "0,500", "1" + " " * 198 + "8",
    "5" + " " * 196 + "million", "18 cups and 3 plates", "3 4/3", "1.5 1/2",
]  # fmt: skip


def test_the_table_is_large() -> None:
    assert len(EIGHTEEN) + len(OTHER) + len(UNREADABLE) >= 60


@pytest.mark.parametrize(
    "mark", ["#### ", "####", "The answer is: ", "the final answer is ", "So THE ANSWER IS "]
)
@pytest.mark.parametrize("form", EIGHTEEN)
def test_equivalent_forms(mark: str, form: str) -> None:
    assert read_marked(f"She pays 3 and 5.\n{mark}{form}") == "18"


@pytest.mark.parametrize(("form", "value"), OTHER)
def test_other_forms(form: str, value: str) -> None:
    assert read_marked(f"#### {form}") == value
    assert read_number(form) == Fraction(value)


@pytest.mark.parametrize("form", UNREADABLE)
def test_unreadable_forms(form: str) -> None:
    assert read_marked(f"I see 18.\n#### {form}") is None
    assert read_number(form) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#### 1\n#### 2", "2"),
        ("#### 5 \\boxed{6}", "6"),
        ("\\boxed{6}\nThe answer is 7.", "7"),
        ("#### 5\n\nNow 7 more.", "5"),
        ("The answer is \\boxed{5}", "5"),
        ("The answer is: $5$.", "5"),
        ("so \\boxed{\\frac{1}{2}} of it", "1/2"),
        ("\\fbox{5} or so 9", "5"),
        ("the answer is clear. #### 5", "5"),
        ("#### 5\nThe answer is obvious", None),
        ("the answer is not 5", None),
        ("Answer 5", None),
        ("####\n5", None),
        ("\\boxed{12", None),
        ("5", None),
        ("", None),
    ],
)
def test_the_last_mark_counts(text: str, value: str | None) -> None:
    assert read_marked(text) == value


def test_a_mark_far_from_the_end_is_still_read_within_the_limit() -> None:
    assert read_marked("#### 5\n" + "a" * (answers.MAX_RESPONSE - 10)) == "5"
    assert read_marked("#### 5\n" + "a" * answers.MAX_RESPONSE) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is 5, then 7.", "7"), ("so -2", "-2"), ("x=-2", "-2"), ("(-2)", "-2"), ("3-2", "2"), ("5 - 3", "3"),
        ("10-20", "20"), ("1,000 in all", "1000"), ("7 = 3.50", "7/2"), ("$4.", "4"), ("none", None), ("", None),
        ("5 " + "9" * 50, "5"),
    ],
)  # fmt: skip
def test_last_number(text: str, value: str | None) -> None:
    assert read_last_number(text) == value


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("1/2", "0.5", True), ("2,000", "2000.0", True), ("18 cups", "18", True), ("-3", "−3", True),
        ("a", " a ", True), ("a", "b", False), ("a", "1", False), ("1", "2", False), ("1", "-1", False),
        ("0.333", "1/3", False), ("10", "1", False),
    ],
)  # fmt: skip
def test_equal(left: str, right: str, same: bool) -> None:
    assert equal(left, right) is same
    assert equal(right, left) is same


@pytest.mark.parametrize("read", [read_marked, read_last_number, read_number])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_texts_take_no_time(read, text: str) -> None:
    # Processor time, the best of three: other processes on the machine do not count.
    spent = []
    for _ in range(3):
        begun = time.process_time()
        read(text)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05


def test_speed() -> None:
    text = "She has 3+4=7 apples.\nThen there are 7*2=14.\n#### 14"
    begun = time.process_time()
    for _ in range(4000):
        assert read_marked(text) == "14"
    assert 4000 / (time.process_time() - begun) > 20_000


PIECES = st.sampled_from(
    [
        "####",
        "the answer is",
        "\\boxed{",
        "}",
        "{",
        "\\frac",
        "1",
        "23",
        ",",
        ".",
        "-",
        "/",
        "e",
        "$",
        " ",
        "\n",
        "½",
    ]
)


@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_gives_a_number_or_none(text: str) -> None:
    for value in (read_marked(text), read_last_number(text)):
        assert value is None or canonical(Fraction(value)) == value
    assert equal(text, text)


@given(st.fractions(max_denominator=10**6).filter(lambda f: abs(f.numerator) < 10**20))
def test_canonical_numbers_read_back(value: Fraction) -> None:
    assert read_marked(f"#### {canonical(value)}") == canonical(value)


@given(st.integers(-(10**30), 10**30))
def test_thousands_read_back(value: int) -> None:
    assert read_marked(f"The answer is ${value:,} dollars.") == str(value)
