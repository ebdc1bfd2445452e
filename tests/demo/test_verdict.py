"""What a part of the demo may say."""

import pytest

from understudy.compare.rows import Row
from understudy.demo.verdict import compared
from understudy.run.outcome import Cost, Learning, Score


def _row(who: str, value: float, seed: int = 0, *, half: float = 0.05, higher: bool = True) -> Row:
    score = Score(value, value - half, value + half, 100, "success", higher_is_better=higher)
    lm, cost = ("pocket", Cost(2, 30, 0.0, 1.5, 1.0)) if who == "lm" else (None, Cost())
    return Row("teacher", "x", who, lm, seed, f"{who}-{seed}", score, False, Learning("", ()), cost)


def test_one_seed_each_is_judged_by_disjoint_intervals_against_the_best_baseline():
    found = compared([_row("lm", 0.8), _row("ppo", 0.5), _row("chance", 0.1)], "lm")
    assert found.verdict == "better"
    assert list(found.baselines) == ["ppo", "chance"]
    assert found.of == "100 held out, one seed"
    assert compared([_row("lm", 0.55), _row("ppo", 0.5)], "lm").verdict == "no difference"
    assert compared([_row("lm", 0.3), _row("ppo", 0.5)], "lm").verdict == "worse"


def test_where_less_is_better_the_best_baseline_is_the_least():
    rows = [_row("lm", 0.6, higher=False), _row("a", 0.9, higher=False)]
    assert compared(rows, "lm").verdict == "better"
    rows += [_row("b", 0.4, higher=False)]
    found = compared(rows, "lm")
    assert list(found.baselines) == ["b", "a"]
    assert found.verdict == "worse"


def test_seeds_are_judged_by_seeds_and_their_costs_are_added():
    rows = [_row("lm", 1 + i / 10, i) for i in range(5)]
    rows += [_row("ppo", i / 10, i, half=9.0) for i in range(5)]
    found = compared(rows, "lm")
    assert found.verdict == "better"
    assert found.of == "5 seeds"
    assert found.figure.value == pytest.approx(1.2)
    assert found.cost == Cost(10, 150, 0.0, 7.5, 5.0)


def test_a_tie_and_too_few_seeds_are_no_difference():
    same = [_row(who, i / 10, i) for who in ("lm", "ppo") for i in range(5)]
    assert compared(same, "lm").verdict == "no difference"
    few = [_row("lm", 0.9, 0), _row("lm", 0.8, 1), _row("ppo", 0.1, 0), _row("ppo", 0.2, 1)]
    found = compared(few, "lm")
    assert found.verdict == "no difference"
    assert "so few runs" in found.because


def test_baselines_share_the_chance_of_an_error():
    rows = [_row("lm", i / 10, i) for i in range(4)] + [_row("a", 1 + i / 10, i) for i in range(4)]
    assert compared(rows, "lm").verdict == "worse"
    # The same beside another one: p 2/70 counts three times, as in the part's table.
    rows += [_row("b", i / 10, i) for i in range(4)]
    assert compared(rows, "lm").verdict == "no difference"
