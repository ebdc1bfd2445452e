"""An episode as a moving picture: MiniGrid's drawing of every step, written as a GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.roles.teacher.evaluate import HELD_OUT_SEED, Act
from understudy.run.errors import RunError
from understudy.run.files import on_disk

FRAME_MS = 150


def record(act: Act, env: Any, out: Path) -> Path:
    """Plays one held-out episode and writes it.

    Args:
        act: who plays; it is shown batches of one.
        env: a single environment that observes {image, mission} and renders RGB arrays.
        out: the GIF.

    Raises:
        RunError: pillow is not installed, or the file cannot be written.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise RunError(f"{out}: a video needs pillow; pip install understudy[video]") from error
    observation, _ = env.reset(seed=HELD_OUT_SEED)
    frames = [Image.fromarray(env.render())]
    starts, over = torch.ones(1, dtype=torch.bool), False
    while not over:
        batch = {"image": observation["image"][None], "mission": (observation["mission"],)}
        action = int(act(batch, starts)[0])
        observation, _, terminated, truncated, _ = env.step(action)
        frames.append(Image.fromarray(np.asarray(env.render())))
        over, starts = terminated or truncated, torch.zeros(1, dtype=torch.bool)
    with on_disk(out):
        frames[0].save(
            out, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, optimize=True
        )
    return out
