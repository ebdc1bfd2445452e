"""Frames as a moving picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from understudy.run.errors import RunError
from understudy.run.files import on_disk


def write_gif(frames: Iterable[Any], out: Path, *, frame_ms: int) -> Path:
    """Writes at least one frame [H, W, 3] of bytes as a GIF that repeats.

    Raises:
        RunError: pillow is missing, or the file cannot be written.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise RunError(f"{out}: a video needs pillow; pip install understudy[video]") from error
    first, *others = [Image.fromarray(np.asarray(frame)) for frame in frames]
    with on_disk(out):
        first.save(out, save_all=True, append_images=others, duration=frame_ms, loop=0)
    return out
