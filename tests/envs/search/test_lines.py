"""A search as text: round trips, bounds by construction, what is shown."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.envs.search.lines import ROWS, fit, pattern, question, read, unseen, write
from understudy.envs.search.space import Space, SpaceError, box, choices


@st.composite
def spaces(draw) -> Space:
    d = draw(st.integers(1, 12))
    names = [str(i) for i in range(d)]
    limit = draw(st.integers(1, 100))
    kinds = {
        "box": box(names, -limit * 0.1, limit * 0.1, 0.1),
        "choices": choices(names, draw(st.integers(2, 10))),
        "odd": box(names, -limit * 0.5, 3.0, 0.5),
    }
    kind = draw(st.sampled_from([*kinds, "both"]))
    return kinds["box"] + kinds["choices"] if kind == "both" else kinds[kind]


@given(spaces(), st.integers(0, 2**32))
def test_what_is_written_is_read_as_the_nearest_point_that_can_be_written(space: Space, seed: int):
    point = space.point(space.sample(1, np.random.default_rng(seed))[0])
    text = write(point, space)
    nearest = read(text, space)
    assert write(nearest, space) == text
    assert re.fullmatch(pattern(space), text)
    for i, (given_, found) in enumerate(zip(point, nearest, strict=True)):
        if space.categorical[i] or space.levels[i] <= 9:
            assert found == given_
    # Widest gap: half of 7/16 of the half-width.
    assert (np.abs(np.subtract(point, nearest)) <= space.levels / 8 + 1).all()


@settings(max_examples=40)
@given(spaces(), st.data())
def test_whatever_matches_is_a_point(space: Space, data: st.DataObject):
    text = data.draw(
        st.from_regex(pattern(space), fullmatch=True, alphabet=st.characters(max_codepoint=127))
    )
    assert write(read(text, space), space) == text


def test_the_middle_and_the_ends_can_be_written():
    space = box(["w"], -6.0, 6.0, 0.1)
    found = [read(f"A{k}", space)[0] for k in range(9)]
    assert found == [-60, -34, -15, -4, 0, 4, 15, 34, 60]


@pytest.mark.parametrize("text", ["", "A1", "A1B9", "A1B1C1", "B1A1", "A1 B1", "1" * 10**6])
def test_anything_else_is_refused_in_one_line(text: str):
    space = box(["a", "b"], -6.0, 6.0, 0.1)
    with pytest.raises(SpaceError) as caught:
        read(text, space)
    assert "A[0-8]B[0-8]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_question_shows_trials_from_best_to_worst_parameter_by_parameter():
    space = box(["a", "b"], -6.0, 6.0, 0.1)
    rows = [((60, 0), 30.0, 4), ((-60, 4), 10.0, 4), ((15, -4), 20.0, 4)]
    assert question(space, rows) == ("Search 9 levels, 3 tried.\nReturns 940\nA860B435\nNext:")


def test_trials_of_the_same_text_are_one_by_their_episodes():
    space = box(["a"], -6.0, 6.0, 0.1)
    rows = [((0,), 0.0, 3), ((1,), 4.0, 1), ((60,), 0.5, 1)]
    assert [row[1:] for row in fit(space, rows, 5)] == [(1.0, 4), (0.5, 1)]


@given(spaces(), st.integers(0, 60), st.integers(0, 2**32))
def test_a_question_is_short_holds_the_best_and_does_not_depend_on_chance(
    space: Space, count: int, seed: int
):
    rng = np.random.default_rng(seed)
    rows = [(space.point(p), float(rng.normal()), 1) for p in space.sample(count, rng)]
    text = question(space, rows)
    assert text == question(space, list(rows))
    assert len(text) + len(pattern(space)) // 5 <= 480
    kept = fit(space, rows, ROWS)
    assert len(kept) <= ROWS
    means = [mean for _, mean, _ in fit(space, rows, len(rows) + 1)]
    assert means == sorted(means, reverse=True)
    if kept:
        assert kept[-1][1] == means[-1]
        assert kept[0][1] == means[0]


def test_too_many_options_or_parameters_are_refused():
    with pytest.raises(SpaceError, match="11 options"):
        question(choices(["a"], 11), [])
    with pytest.raises(SpaceError, match="500 parameters"):
        question(choices([str(i) for i in range(500)], 6), [])


@given(spaces(), st.integers(0, 2**32))
def test_an_answer_that_was_tried_becomes_another_near_it(space: Space, seed: int):
    rng = np.random.default_rng(seed)
    point = read(write(space.point(space.sample(1, rng)[0]), space), space)
    assert unseen(point, space, [], rng) == point
    other = unseen(point, space, [point], rng)
    assert write(read(write(other, space), space), space) == write(other, space)
    texts = [write(p, space) for p in (point, other)]
    assert texts[0] != texts[1]
    assert sum(a != b for a, b in zip(*texts, strict=True)) <= 2


def test_where_all_was_tried_the_point_comes_back():
    space = choices(["a"], 2)
    assert unseen((1,), space, [(0,), (1,)], np.random.default_rng(0)) == (1,)
