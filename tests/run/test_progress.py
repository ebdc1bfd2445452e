"""What a person sees."""

import io

import pytest
from rich.console import Console

from understudy.run.progress import Progress, significant


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _show(*, terminal: bool, enabled: bool = True) -> str:
    out, clock = io.StringIO(), _Clock()
    console = Console(file=out, force_terminal=terminal, width=120)
    with Progress(40, "toy", start=20, enabled=enabled, console=console, clock=clock) as bar:
        for step in range(21, 41):
            clock.now += 2.5
            bar.update(step, loss=1 / step)
    return out.getvalue()


def test_plain_lines_every_ten_seconds_and_at_the_end() -> None:
    lines = _show(terminal=False).splitlines()
    # A step takes 2.5 s: every fourth is shown, 24, 28, …, 40. At 24, 16 steps are left: 40 s.
    assert len(lines) == 5
    assert lines[0] == "toy 24/40  0.4 steps/s  0:00:40 left  loss 0.04167"
    assert lines[-1] == "toy 40/40  0.4 steps/s  0:00:00 left  loss 0.025"


def test_a_bar_on_a_terminal() -> None:
    text = _show(terminal=True)
    assert "40/40" in text
    assert "0.4 steps/s  0:00:00 left  loss 0.025" in text


def test_silence() -> None:
    assert _show(terminal=True, enabled=False) == ""
    assert _show(terminal=False, enabled=False) == ""


def test_a_last_batch_past_the_total_leaves_no_time() -> None:
    out, clock = io.StringIO(), _Clock()
    with Progress(40, "toy", console=Console(file=out, width=120), clock=clock) as bar:
        clock.now += 10
        bar.update(44)
    assert "toy 44/40  4.4 steps/s  0:00:00 left" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1000.0, 3, "1000"),
        (-14980.4, 4, "-14980"),
        (999.6, 3, "1000"),
        (99.96, 3, "100"),
        (0.12345, 3, "0.123"),
        (12.0, 3, "12"),
        (0.0, 3, "0"),
        (float("nan"), 3, "nan"),
        (float("-inf"), 3, "-inf"),
    ],
)
def test_no_number_has_its_whole_part_as_a_power_of_ten(
    value: float, digits: int, text: str
) -> None:
    assert significant(value, digits) == text


def test_a_sign_where_it_is_asked_for() -> None:
    assert significant(2000.0, 3, "+") == "+2000"
    assert significant(0.5, 3, "+") == "+0.5"
