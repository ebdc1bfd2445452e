"""The record of trials only grows, fits, and keeps what is worth knowing."""

import json

import numpy as np
import pytest

from understudy.envs.search.space import Point, Space, box, choices
from understudy.roles.optimizer.history import CHARS_PER_TOKEN, History, line
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.errors import ConfigError

BOX = box([f"x{i}" for i in range(4)], -6.0, 6.0, 0.1)
TABLE = choices([f"c{i}" for i in range(6)], 4)
TOKENS = 250


def trial(point: Point, *returns: float) -> Trial:
    n = len(returns)
    return Trial(0, "random", point, returns, (1,) * n, tuple(range(n)))


def some(space: Space, n: int, seed: int = 0) -> list[Trial]:
    rng = np.random.default_rng(seed)
    return [
        trial(tuple(row), *rng.normal(0.0, 50.0, rng.integers(1, 4)).tolist())
        for row in space.sample(n, rng).tolist()
    ]


def test_a_line_is_what_was_tried_and_what_came_of_it() -> None:
    assert line(trial((12, -3, 40, 0, 5), 80.0, 95.0, 87.5, 87.5)) == "12 -3 40 0 5 = 87.5 (n=4)"
    assert line(trial((0,), -1234567.0)) == "0 = -1.2346e+06 (n=1)"


@pytest.mark.parametrize("space", [BOX, TABLE])
def test_what_was_written_stays_until_it_no_longer_fits(space: Space) -> None:
    history, before, compactions = History(space, TOKENS), "", 0
    trials = some(space, 120)
    for count in range(1, len(trials) + 1):
        text = history.text(trials[:count])
        assert len(text) <= TOKENS * CHARS_PER_TOKEN
        assert text.endswith(f"{line(trials[count - 1])}\n")
        if not text.startswith(before):
            compactions += 1
            assert len(text) <= TOKENS * CHARS_PER_TOKEN / 2
        before = text
    # Each compaction makes room for many lines.
    assert 2 <= compactions <= 20
    # Every line is that of a trial, in the order they were tried, none twice.
    lines = [line(t) for t in trials]
    places = [lines.index(shown) for shown in text.splitlines()]
    assert places == sorted(set(places))


def test_the_best_the_latest_and_the_most_different_are_kept() -> None:
    crowd = [trial((i % 3, i % 2, 0, 0), float(i % 7)) for i in range(90)]
    best, far = trial((30, 30, 30, 30), 1000.0), trial((-60, -60, 60, -60), -500.0)
    trials = [*crowd[:20], best, *crowd[20:30], far, *crowd[30:]]
    text = History(BOX, 600).text(trials)
    assert len(text.splitlines()) < len(trials)
    for kept in (best, far, *trials[-3:]):
        assert f"{line(kept)}\n" in text
    # A choice is as far from any other; the one point that shares nothing is kept.
    same = [trial((0, 0, 0, 0, 0, i % 3), 1.0 + i / 100) for i in range(80)]
    odd = trial((3, 3, 3, 3, 3, 3), -1.0)
    assert line(odd) in History(TABLE, 450).text([*same[:30], odd, *same[30:]])


def test_a_lucky_episode_is_no_elite() -> None:
    sure = [trial((i, 0, 0, 0), 90.0, 91.0, 92.0, 91.0) for i in range(3)]
    noise = [trial((-i, 5, 5, 5), *(0.0, 100.0)[: 1 + i % 2]) for i in range(70)]
    text = History(BOX, 600).text([*sure, *noise])
    for kept in sure:
        assert line(kept) in text


@pytest.mark.parametrize("stop", [1, 17, 60, 99])
def test_it_goes_on_from_its_state(stop: int) -> None:
    trials = some(BOX, 100, seed=3)
    whole, first, second = (History(BOX, TOKENS) for _ in range(3))
    texts = [whole.text(trials[:count]) for count in range(1, 101)]
    assert [first.text(trials[:count]) for count in range(1, stop + 1)] == texts[:stop]
    second.load(json.loads(json.dumps(first.state())))
    assert [second.text(trials[:count]) for count in range(stop + 1, 101)] == texts[stop:]


def test_too_little_room_is_an_error_that_says_how_much_is_needed() -> None:
    with pytest.raises(
        ConfigError, match=r"10 are too few .* of 4 parameters; at least (\d+)"
    ) as caught:
        History(BOX, 10)
    needed = int(str(caught.value).split("at least ")[1].split()[0])
    history = History(BOX, needed)
    assert len(history.text(some(BOX, 300))) <= needed * CHARS_PER_TOKEN
    with pytest.raises(ConfigError, match="too few"):
        History(BOX, needed - 1)


def test_nothing_tried_is_no_text() -> None:
    assert History(BOX, TOKENS).text(Trials()) == ""
