"""Arithmetic on text: values, what is refused, how results are written, interjections."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from tests.envs.cases import HOSTILE
from understudy.envs.arithmetic import evaluate, parse_number, show
from understudy.envs.calculator import calculate, interject

VALUES = [
    ("1+2*3", "7"), ("(1+2)*3", "9"), ("2-3-4", "-5"), ("24/4/2", "3"), ("12/8", "1.5"), ("1/3", "0.33"),
    ("2/3", "0.67"), ("-1/3", "-0.33"), ("1/8", "0.125"), ("1/3*3", "1"), ("0.1+0.2", "0.3"), ("-3+5", "2"),
    ("3--5", "8"), ("2*-3", "-6"), ("1,000*2", "2000"), ("$5*2", "10"), ("5×2", "10"), ("10÷4", "2.5"), ("5−2", "3"),
    ("2x3", "6"), (".5+.5", "1"), ("45.0", "45"), ("((((7))))", "7"), (" 1 + 1 ", "2"), ("1/64", "0.015625"),
    ("1/128", "0.01"), ("0-1/128", "-0.01"), ("1/300", "0.00"), ("99999999999999999999+1", "100000000000000000000"),
    ("123456789012345678901.5*2", "246913578024691357803"), ("100000000000000000000.5", "100000000000000000000.5"),
]  # fmt: skip
REFUSED = [
    "", "x", "1+", "*2", "(1", "1)", "()", "1/0", "1/(2-2)", "2**3", "2^3", "9**9**9", "50%", "3(4)", "1 2", "10,00+1",
    "1.2.3", "5!", "1$2", "1€2", "0,500+1", "__import__('os')", "1e3", "٣+1", "(" * 17 + "1" + ")" * 17, "+".join("1" * 66), "1" * 41, "nan",
]  # fmt: skip


@pytest.mark.parametrize(("expression", "result"), VALUES)
def test_calculate(expression: str, result: str) -> None:
    assert calculate(expression) == result
    assert interject(f"He has <<{expression}=") == f"{result}>>"


@pytest.mark.parametrize("expression", REFUSED)
def test_refused(expression: str) -> None:
    assert calculate(expression) is None
    assert interject(f"He has <<{expression}=") == ""


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    assert calculate("+".join("1" * 64)) == "64"
    assert calculate("9" * 40) == "9" * 40
    assert calculate("(" * 16 + "1" + ")" * 16) == "1"


@pytest.mark.parametrize(
    "text", ["", "1+1=", "<1+1=", "<<1+1", "<<1+1=2", "<<1+1= ", "<<1+1=2>>", "<<1\n+1=", "<<="]
)
def test_no_interjection(text: str) -> None:
    assert interject(text) == ""


def test_the_last_open_annotation_counts() -> None:
    assert interject("<<1+1=2>>2 and <<2*3=") == "6>>"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_texts_take_no_time(text: str) -> None:
    begun = time.process_time()
    assert calculate(text) is None or len(text) < 256
    interject(text)
    interject(f"<<{text}=")
    assert time.process_time() - begun < 0.05


@given(st.text(alphabet="0123456789+-*/(). ,<>=$x", max_size=60))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    value = evaluate(text)
    if value is not None:
        assert calculate(text) == show(value)
        assert parse_number(show(abs(value))) is not None or abs(value) >= 10**40


TREES = st.recursive(
    st.integers(0, 99).map(lambda n: (str(n), Fraction(n))),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner)
        .filter(lambda t: t[1] != "/" or t[2][1] != 0)
        .map(lambda t: (f"({t[0][0]}{t[1]}{t[2][0]})", combined(t[0][1], t[1], t[2][1])))
    ),
    max_leaves=12,
)


def combined(left: Fraction, sign: str, right: Fraction) -> Fraction:
    if sign in "+-":
        return left + right if sign == "+" else left - right
    return left * right if sign == "*" else left / right


@given(TREES)
def test_expressions_have_the_value_they_were_built_with(tree: tuple[str, Fraction]) -> None:
    assert evaluate(tree[0]) == tree[1]


@given(st.fractions(max_denominator=10**9).filter(lambda f: abs(f) < 10**30))
def test_shown_numbers_are_exact_or_rounded_to_two_places(value: Fraction) -> None:
    shown = Fraction(show(value))
    decimals = len(show(value).partition(".")[2])
    assert shown == value if decimals not in (0, 2) else abs(shown - value) <= Fraction(1, 200)
    assert (decimals == 0) == (value.denominator == 1)
