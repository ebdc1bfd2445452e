"""Learning curves as a picture: one line per method, a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.run.errors import RunError

Curve = Sequence[tuple[float, float]]
"""(steps, value) pairs, steps rising."""


def draw(
    curves: Mapping[str, Sequence[Curve]],
    out: Path,
    *,
    ylabel: str,
    title: str = "",
    xlabel: str = "environment steps",
    band: Literal["range", "quartiles"] = "range",
    points: Mapping[str, Curve] | None = None,
) -> Path:
    """Writes a PNG or SVG of each method's curves over its seeds.

    Args:
        curves: method → one curve per seed; a curve of a single point is drawn as a level.
        out: the file, whose ending is the format.
        ylabel: what the values are.
        title: above the picture.
        xlabel: what is spent.
        band: range draws the mean, with least to greatest shaded; quartiles the median, with the
            middle half shaded.
        points: method → single points, drawn as dots of the method's colour.

    Raises:
        RunError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError(
            f"{out}: a picture needs matplotlib; pip install understudy[plots]"
        ) from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for method, seeds in curves.items():
        seeds = [seed for seed in seeds if len(seed)]
        if not seeds:
            continue
        if all(len(seed) == 1 for seed in seeds):
            level = float(np.mean([seed[0][1] for seed in seeds]))
            axes.axhline(
                level, linestyle="--", linewidth=1, color="grey", label=f"{method} ({level:.2f})"
            )
            continue
        # Seeds may have been evaluated at different steps: compared where all of them are known.
        start, end = max(seed[0][0] for seed in seeds), min(seed[-1][0] for seed in seeds)
        grid = np.linspace(start, max(start, end), 200)
        values = np.array([np.interp(grid, *np.array(seed).T) for seed in seeds])
        low, middle, high = _over_seeds(values, band)
        (line,) = axes.plot(grid, middle, label=f"{method}, {len(seeds)} seeds")
        axes.fill_between(grid, low, high, alpha=0.2, color=line.get_color())
        if points and method in points:
            axes.scatter(*np.array(points[method]).T, s=16, color=line.get_color())
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.legend()
    figure.savefig(out, dpi=120)
    return out


def _over_seeds(values: NDArray[np.float64], band: str) -> tuple[NDArray[np.float64], ...]:
    """Lower edge, line and upper edge over the seeds [S, X]."""
    if band == "range":
        return values.min(0), values.mean(0), values.max(0)
    return tuple(np.quantile(values, (0.25, 0.5, 0.75), axis=0))
