"""Open-loop prediction: what the model dreams, against what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.model import exponential
from understudy.roles.world_model.replay import Array
from understudy.run.files import on_disk

DREAM = "media/dream.safetensors"
"""An evaluation's dream, in its directory."""


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """An episode and the model's prediction of it from its first `seen` steps and its actions."""

    seen: int
    actual: dict[str, Array]
    """[T, …] per key, and `reward`."""
    dreamt: dict[str, Array]
    """The same, reconstructed for the steps seen and predicted after them."""


@torch.no_grad()
def open_loop(
    agent: Agent, envs: Envs, generator: torch.Generator, *, seen: int = 5, most: int = 60
) -> OpenLoop:
    """Plays the first environment's episode, then dreams it again from its actions.

    Args:
        agent: who acts, and whose model dreams.
        envs: one environment.
        generator: where the randomness of dreamt latents comes from.
        seen: steps whose observations the model is shown.
        most: steps in all.
    """
    model, core = agent.model, agent.model.core
    records, rows, actions = envs.advance(None), [], []
    state = core.init_state(1)
    for _ in range(most):
        action, state = agent.act(records, state, generator, greedy=True)
        rows.append(records)
        actions.append(action)
        if bool(records["is_last"][0]):
            break
        records = envs.advance(action.cpu().numpy())
    batch = {
        k: torch.from_numpy(np.stack([row[k] for row in rows], 1)).to(model.device) for k in rows[0]
    }
    batch["action"] = torch.stack(actions, 1)
    length = len(rows)
    seen = min(seen, length)
    known = {name: value[:, :seen] for name, value in batch.items()}
    size = model.size
    noise = exponential(generator, 1, length, size.latents, size.classes, device=model.device)
    latents = model.observe(known, core.init_state(1), noise[:, :seen])
    features, state = list(latents.features.unbind(1)), latents.observed.state
    for t in range(seen, length):
        z = model.sample(model.prior(state["h"]), noise[:, t])
        features.append(torch.cat([z, state["h"]], -1))
        now = {name: value[:, t] for name, value in batch.items()}
        if model.language is not None:
            # The words are dreamt as well: none of the episode's own is shown after `seen`.
            drawn = exponential(
                generator, 1, model.language.count, model.language.vocabulary, device=model.device
            )
            now |= model.language.draw(state["h"], drawn)
        _, state = core.step(model.token(z, model.given(batch["action"][:, t], now)), state)
    stacked = torch.stack(features, 1)
    dreamt = model.decoder.observations(model.decoder(stacked))
    dreamt["reward"] = model.rewards(stacked)
    keys = list(dreamt)
    return OpenLoop(
        seen,
        {name: batch[name][0].cpu().numpy() for name in keys},
        {name: dreamt[name][0].cpu().numpy() for name in keys},
    )


def save_dream(dream: OpenLoop, out: Path) -> None:
    """Writes it; `load_dream` reads it back."""
    arrays = {f"actual.{name}": value for name, value in dream.actual.items()}
    arrays |= {f"dreamt.{name}": value for name, value in dream.dreamt.items()}
    with on_disk(out):
        save_file({**arrays, "seen": np.array(dream.seen)}, out)


def load_dream(run: Path) -> OpenLoop:
    """The dream in an evaluation's directory."""
    with on_disk(run / DREAM):
        arrays = load_file(run / DREAM)
    parts: dict[str, dict[str, Array]] = {"actual": {}, "dreamt": {}}
    for path, value in arrays.items():
        if path != "seen":
            kind, name = path.split(".", 1)
            parts[kind][name] = value
    return OpenLoop(int(arrays["seen"]), parts["actual"], parts["dreamt"])
