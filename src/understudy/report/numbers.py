"""Numbers as a reader wants them, and the interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000


def is_number(value: Any) -> bool:
    """Whether it is a finite int or float of a size that can be drawn (a bool is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def number(value: float | None) -> str:
    """Four significant digits, thousands separated; a dash for what is not a number."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        text = f"{value:.3g}"
    elif value == int(value):
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """A share, to a tenth of a percent."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def interval(low: float, high: float, share: bool = False) -> str:
    """The two ends."""
    show = percent if share else number
    return f"[{show(low)}, {show(high)}]"


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of `values`, one per seed; None for one.

    The percentile bootstrap of `ops.bootstrap_ci` (Efron & Tibshirani 1993, section 13.3) for the
    mean, written without the package that needs torch.
    """
    if len(values) < 2:
        return None
    sample, rng = np.array(values, float), np.random.default_rng(0)
    means = [sample[rng.integers(len(sample), size=len(sample))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
