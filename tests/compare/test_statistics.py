"""What may be called a difference."""

import numpy as np
import pytest

from understudy.compare.statistics import Interval, aggregate, differences, disjoint, judge


def test_a_tie_is_no_difference():
    same = [[0.5, 0.6, 0.7, 0.8, 0.9]]
    (found,) = differences({"a": same, "b": same}, higher_is_better=True)
    assert found.verdict == "no difference"
    assert found.difference.value == 0
    assert found.improvement.value == 0.5
    assert found.p == 1
    assert found.because == ""


def test_ten_seeds_apart_are_a_difference_with_its_direction():
    good, bad = [list(range(10, 20))], [list(range(10))]
    (found,) = differences({"good": good, "bad": bad}, higher_is_better=True)
    assert found.verdict == "better"
    # The middle six of ten, 12 … 17 and 2 … 7.
    assert found.difference.value == pytest.approx(10)
    assert 0 < found.difference.low < 10 < found.difference.high
    assert (found.improvement.value, found.improvement.low) == (1, 1)
    assert found.p == pytest.approx(2 / 184756)
    (turned,) = differences({"good": good, "bad": bad}, higher_is_better=False)
    assert turned.verdict == "worse"
    assert turned.improvement.value == 0
    (other,) = differences({"bad": bad, "good": good}, higher_is_better=True)
    assert other.verdict == "worse"
    assert other.difference.value == pytest.approx(-10)


def test_three_seeds_are_too_few_and_that_is_said():
    (found,) = differences({"a": [[4.0, 5, 6]], "b": [[1.0, 2, 3]]}, higher_is_better=True)
    assert found.difference.low > 0
    assert found.p == pytest.approx(0.1)
    assert found.verdict == "no difference"
    assert "0.1" in found.because


def test_pairs_share_the_chance_of_an_error():
    # 2 of 70 alone; of three pairs the least p counts three times.
    scores = {"a": [[5.0, 6, 7, 8]], "b": [[1.0, 2, 3, 4]]}
    assert differences(scores, higher_is_better=True)[0].verdict == "better"
    scores["c"] = [[1.0, 2, 3, 4]]
    found = {(d.first, d.second): d for d in differences(scores, higher_is_better=True)}
    assert found["a", "b"].p == pytest.approx(6 / 70)
    assert found["a", "b"].verdict == "no difference"
    assert "so few runs" in found["a", "b"].because


def test_over_tasks_evidence_adds_up():
    a, b = [[4.0, 5, 6]] * 3, [[1.0, 2, 3]] * 3
    (found,) = differences({"a": a, "b": b}, higher_is_better=True)
    # z of p 0.1 is 1.645; three of them add up to 2.849 = 4.935/√3, of which p is 0.00439.
    assert found.p == pytest.approx(0.00439, abs=2e-5)
    assert found.verdict == "better"
    (against,) = differences({"a": [a[0], b[0]], "b": [b[0], a[0]]}, higher_is_better=True)
    assert against.p == pytest.approx(1)
    assert against.verdict == "no difference"


def test_the_interval_and_the_test_must_agree():
    assert judge(Interval(1, 0.5, 2), 0.01) == "better"
    assert judge(Interval(1, 0.5, 2), 0.01, sign=-1) == "worse"
    assert judge(Interval(1, 0.5, 2), 0.06) == "no difference"
    assert judge(Interval(1, -0.1, 2), 0.01) == "no difference"
    assert judge(Interval(1, 0, 2), 0.01) == "no difference"


def test_single_runs_differ_where_their_intervals_are_disjoint():
    low, high = Interval(0.2, 0.1, 0.3), Interval(0.5, 0.4, 0.6)
    assert disjoint(high, low, higher_is_better=True) == "better"
    assert disjoint(low, high, higher_is_better=True) == "worse"
    assert disjoint(low, high, higher_is_better=False) == "better"
    assert disjoint(Interval(0.3, 0.2, 0.4), high, higher_is_better=True) == "no difference"


def test_an_aggregate_is_of_the_middle_half():
    found = aggregate([[0.0, 1, 2, 100], [1.0, 1, 2, 2]])
    # 0 1 | 1 1 2 2 | 2 100.
    assert found.value == pytest.approx(1.5)
    assert found.low < 1.5 < found.high
    assert aggregate([np.array([3.0])]) == Interval(3, 3, 3)
