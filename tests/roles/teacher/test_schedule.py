"""How the teacher's weight fades."""

import pytest

from understudy.roles.teacher.config import DistillConfig
from understudy.roles.teacher.schedule import paper, weight


@pytest.mark.parametrize(
    ("iteration", "wanted"),
    [(0, 10.0), (1, 9.995), (1000, 5.0), (1979, 0.105), (1980, 0.1), (2500, 0.1), (2999, 0.1), (3000, 0.0), (9999, 0.0)],
)  # fmt: skip
def test_the_papers_weight(iteration, wanted):
    assert paper(iteration) == pytest.approx(wanted, abs=1e-12)
    config = DistillConfig(schedule="paper", weight=3.0, iteration_steps=256)
    for steps in (256 * iteration, 256 * iteration + 255):  # of one iteration
        assert weight(config, steps) == paper(iteration)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ("linear", {0: 2.0, 250: 1.5, 500: 1.0, 1000: 0.0, 5000: 0.0}),
        ("cosine", {0: 2.0, 250: 1.7071068, 500: 1.0, 750: 0.2928932, 1000: 0.0, 5000: 0.0}),
        ("constant", {0: 2.0, 5000: 2.0}),
        ("adaptive", {0: 2.0, 5000: 2.0}),
    ],
)
def test_the_others(schedule, at):
    config = DistillConfig(schedule=schedule, weight=2.0, steps=1000)
    assert {t: weight(config, t) for t in at} == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_they_end_at_exactly_nothing(schedule):
    config = DistillConfig(schedule=schedule, weight=2.0, steps=1000)
    assert weight(config, 1000) == 0.0
    assert weight(config, 999) > 0.0
