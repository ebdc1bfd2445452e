"""Open-loop predictions as a picture: what was dreamt beside what happened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from understudy.run.errors import RunError

Array = np.ndarray[Any, Any]
MOST_CURVES = 8
"""Features of a vector that are drawn."""
FRAMES = 10
"""Pictures in a row, of an observation that is an image."""


def draw_dream(
    actual: Mapping[str, Array],
    dreamt: Mapping[str, Array],
    seen: int,
    out: Path,
    *,
    title: str = "",
) -> Path:
    """Writes a PNG: one small plot per feature, or a strip of frames per image.

    Args:
        actual: what happened, [T] or [T, n] or [T, height, width, channels] per key.
        dreamt: the prediction, alike.
        seen: steps whose observations the model was shown; a line marks where they end.
        out: the file.
        title: above the picture.

    Raises:
        RunError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError(
            f"{out}: a picture needs matplotlib; pip install understudy[plots]"
        ) from error
    curves: list[tuple[str, Array, Array]] = []
    strips: list[tuple[str, Array, Array]] = []
    for name, truth in actual.items():
        if truth.ndim == 4:
            strips.append((name, truth, dreamt[name]))
            continue
        wide, guess = truth.reshape(len(truth), -1), dreamt[name].reshape(len(truth), -1)
        several = wide.shape[1] > 1
        curves += [
            (f"{name}[{i}]" if several else name, wide[:, i], guess[:, i])
            for i in range(min(MOST_CURVES, wide.shape[1]))
        ]
    rows = len(curves) + 2 * len(strips)
    figure = Figure(figsize=(8, 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axis, (name, truth, guess) in zip(axes, curves, strict=False):
        axis.plot(truth, color="black", linewidth=1, label="happened")
        axis.plot(guess, color="tab:orange", linewidth=1, label="dreamt")
        axis.axvline(seen - 0.5, color="grey", linestyle=":", linewidth=1)
        axis.set_ylabel(name)
    if curves:
        axes[0].legend(loc="upper right", fontsize="small")
        axes[len(curves) - 1].set_xlabel(f"step (observations shown to the model: first {seen})")
    for place, (name, truth, guess) in enumerate(strips):
        chosen = np.linspace(0, len(truth) - 1, FRAMES).astype(int)
        for below, (label, frames) in enumerate((("happened", truth), ("dreamt", guess))):
            axis = axes[len(curves) + 2 * place + below]
            axis.imshow(np.concatenate(list(frames[chosen]), axis=1).squeeze())
            axis.set(yticks=[], xticks=[], ylabel=f"{name}\n{label}")
    figure.suptitle(title)
    figure.savefig(out, dpi=110)
    return out
