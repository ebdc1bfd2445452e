"""Plans are read strictly, quickly, and never evaluated; the pattern is exactly what is read."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings, strategies as st

from understudy.envs.grid.plans import (
    ALONE,
    EXPLORE,
    INSTRUCTIONS,
    LONGEST,
    MAX_STEPS,
    WAIT,
    WITH_OBJECT,
    PlanError,
    Step,
    candidates,
    pattern,
    read,
    write,
)
from understudy.types import UnderstudyError

HERE = ("locked blue door", "red key", "blue key", "2 (odd) [a-z]+")
NAMES = st.sampled_from(HERE)
STEPS = st.builds(Step, st.sampled_from(ALONE)) | st.builds(
    Step, st.sampled_from(WITH_OBJECT), NAMES
)
PLANS = st.lists(STEPS, min_size=1, max_size=MAX_STEPS).map(tuple)


@pytest.mark.parametrize(
    ("objects", "held"),
    [
        ((), ""),
        (("key",), "key"),
        (("locked door", "key"), ""),
        (("locked blue door", "red key", "blue key"), "red key"),
        (("2 (odd) [a-z]+ box", "closed door", "goal", "ball"), "ball"),
    ],
)
def test_every_candidate_is_read_back(objects: tuple[str, ...], held: str) -> None:
    plans = candidates(objects, held)
    assert len(set(plans)) == len(plans)
    assert {EXPLORE, WAIT} <= set(plans)
    for plan in plans:
        assert read(write(plan), objects) == plan
        assert re.fullmatch(pattern(objects), write(plan))


def test_candidates_mean_something() -> None:
    plans = set(
        map(write, candidates(("locked door", "open red door", "goal", "key", "box"), "key"))
    )
    assert plans == {
        *ALONE, "go to locked door", "open locked door", "go to open red door", "go to goal",
        "go to box", "pick up box", "drop key",
    }  # fmt: skip


def test_a_plan_is_read_leniently() -> None:
    expected = (Step("pick up", "red key"), Step("open", "locked blue door"), Step("wait"))
    for text in (
        "pick up red key, open locked blue door, wait",
        "  Pick up the red key ,open the locked blue door,  WAIT. \n",
        "PICK UP RED KEY,OPEN LOCKED BLUE DOOR,WAIT...",
    ):
        assert read(text, HERE) == expected
    assert write(expected) == "pick up red key, open locked blue door, wait"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no step; there is explore"),
        ("fly", "'fly' is no step"),
        ("explore everything", "'explore everything' is no step"),
        ("go to", "'go to' is no step"),
        ("wait,", "'' is no step"),
        ("go to green key", "no 'green key' here; there is locked blue door, red key"),
        ("go to key", "no 'key' here"),
        ("pick up red key blue key", "no 'red key blue key' here"),
        ("drop the the red key", "no 'the red key' here"),
        ("goto red key", "'goto red key' is no step"),
        ("wait, wait, wait, wait, wait", "at most 4 steps"),
        ("explore(explore(wait))", "is no step"),
        ("[['wait']]", "is no step"),
        ("__import__('os').system('true')", "is no step"),
        ("go to .*", "no '.*' here"),
        ("pick up (red|blue) key", "here; there is"),
        ("w\u0430it", "is no step"),  # a Cyrillic a
        ("wait\x00", r"'wait\x00' is no step"),
        ("go to red\nkey", r"no 'red\nkey' here"),
        ("\ud7ff\udc00", "is no step"),
        ("go to " + "\U0001f511" * 60, "here"),
    ],
)
def test_what_is_no_plan_is_said_in_a_line(text: str, said: str) -> None:
    with pytest.raises(PlanError) as error:
        read(text, HERE)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
    assert isinstance(error.value, UnderstudyError)


@pytest.mark.parametrize(
    "text",
    [
        "wait" * 2_500_000,
        "wait, " * 1_700_000,
        " " * 10_000_000 + "wait",
        "go to " + "(" * 10_000_000,
        "." * 10_000_000,
        "\u0130" * LONGEST,
        "," * LONGEST,
        "go to the " * 40,
    ],
    ids=["long", "steps", "blank", "nested", "dots", "dotted I", "commas", "the"],
)
def test_hostile_texts_are_refused_at_once(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(PlanError) as error:
        read(text, HERE)
    assert time.process_time() - begun < 0.05
    assert len(str(error.value)) < 250


def test_nothing_is_here() -> None:
    assert read("explore walls", ()) == (Step("explore walls"),)
    with pytest.raises(PlanError, match="no 'key' here; there is nothing"):
        read("go to key", ())
    assert not re.fullmatch(pattern(()), "go to ")


@given(PLANS)
def test_every_plan_matches_the_pattern_and_is_read_back(plan: tuple[Step, ...]) -> None:
    assert read(write(plan), HERE) == plan
    assert re.fullmatch(pattern(HERE), write(plan))


PIECES = (*ALONE, *WITH_OBJECT, *HERE, ", ", " ", ",", "the ", "key", "odd", "Wait", ".", "")


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | PLANS.map(write))
def test_the_pattern_is_what_is_read_as_it_is_written(text: str) -> None:
    """Of all texts, those that match are the ones that are read and written again the same."""
    try:
        same = write(read(text, HERE)) == text
    except PlanError:
        same = False
    assert bool(re.fullmatch(pattern(HERE), text)) == same


@given(st.from_regex(pattern(HERE), fullmatch=True))
def test_all_that_matches_is_read(text: str) -> None:
    assert write(read(text, HERE)) == text


@given(st.text(max_size=LONGEST + 5))
def test_any_text_is_a_plan_or_an_error_in_a_line(text: str) -> None:
    try:
        plan = read(text, HERE)
    except PlanError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert re.fullmatch(pattern(HERE), write(plan))


def test_the_instructions_name_every_step() -> None:
    for step in (*ALONE, *(f"{verb} X" for verb in WITH_OBJECT)):
        assert re.search(rf"[ ,]{step}[,.]", INSTRUCTIONS)
