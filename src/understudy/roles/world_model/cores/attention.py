"""Attention cores: any decoder's body over the tokens of an episode, a sliding window of them visible.

Each token attends to itself and at most W - 1 tokens before it in the same episode, in every layer;
positions count from the episode's first token. Many tokens at once, one at a time, or a few after a few
are therefore the same computation. The state keeps keys and values of the last W - 1 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.lm.backbone import Body, KeyValues
from understudy.roles.world_model.cores.base import Core, Observed, State, lagged
from understudy.roles.world_model.cores.layers import Inward
from understudy.roles.world_model.cores.spec import CoreError


@dataclass(frozen=True, slots=True)
class Seen:
    """What `starts` needs of an `observe`: S earlier tokens and the T of the chunk."""

    keys_values: KeyValues
    """[B, heads, S + T, d] of each layer."""
    positions: Tensor
    """[B, T]."""
    h: Tensor
    before: Tensor


class AttentionCore(Core):
    """A decoder's body with a window of `window` tokens, the present one included.

    Args:
        body: an attention body of `understudy.lm.backbone`.
        token_width: D.
        window: W; at most the body's learned positions, and its own window.

    Raises:
        CoreError: the window does not fit, or the body has no attention.
    """

    coupled = False

    def __init__(self, body: Body, token_width: int, window: int) -> None:
        super().__init__()
        if body.state_space:
            raise CoreError(f"a {body.kind} body has no attention")
        most = min(body.positions or window, body.sliding or window)
        if not 1 <= window <= most:
            raise CoreError(f"a window of {window} tokens: this body's attention has 1 to {most}")
        self.token_width, self.width = token_width, body.width
        self.window = self.context = window
        self.inward = Inward(token_width, body.width, body.scale)
        self.body = body

    def init_state(self, batch: int) -> State:
        """As `Core.init_state`, with an empty window."""
        return self._fresh(batch, 0)

    def template(self) -> State:
        """One fresh row with a full window."""
        return self._fresh(1, self.window - 1)

    def pack(self, state: State) -> Tensor:
        """As `Core.pack`; the window is padded on its left."""
        full = {
            name: F.pad(value, (0, 0, self.window - 1 - value.shape[2], 0))
            if value.ndim == 4
            else value
            for name, value in state.items()
        }
        return super().pack(full)

    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        """As `Core.observe`, in one pass."""
        positions = _positions(is_first, state["position"])
        h, keys_values = self._attend(tokens, positions, state)
        before = lagged(h, is_first, state)
        after = self._state(h[:, -1], positions[:, -1] + 1, keys_values)
        return Observed(h, before, after, Seen(keys_values, positions, h, before))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """As `Core.step`, one cached step."""
        position = state["position"]
        h, keys_values = self._attend(token[:, None], position[:, None], state)
        return h[:, 0], self._state(h[:, 0], position + 1, keys_values)

    def starts(self, handle: Any, index: Tensor, *, before: bool = False) -> State:
        """As `Core.starts`: each state has a window of its own, a copy."""
        seen: Seen = handle
        length = seen.positions.shape[1]
        row, time = index // length, index % length
        whole = seen.keys_values[0][0].shape[2]
        size = min(self.window - 1, whole)
        last = whole - length + time - int(before)
        # slots before the first are masked wherever they end up: a position counts what is real
        slots = last[:, None] + torch.arange(1 - size, 1, device=index.device)
        slots = slots.clamp(min=0)

        def gather(x: Tensor) -> Tensor:
            return x.transpose(1, 2)[row[:, None], slots].transpose(1, 2)

        windows = [(gather(keys), gather(values)) for keys, values in seen.keys_values]
        h = (seen.before if before else seen.h).flatten(0, 1)[index]
        position = seen.positions.flatten()[index] + int(not before)
        return self._state(h, position, windows)

    def _attend(self, tokens: Tensor, positions: Tensor, state: State) -> tuple[Tensor, KeyValues]:
        past = [(state[f"keys.{i}"], state[f"values.{i}"]) for i in range(self.body.layers)]
        earlier, length = past[0][0].shape[2], tokens.shape[1]
        here = torch.arange(earlier, earlier + length, device=tokens.device)
        there = torch.arange(earlier + length, device=tokens.device)
        distance = here[:, None] - there
        reach = positions.clamp(max=self.window - 1)[..., None]
        visible = (distance >= 0) & (distance <= reach)
        return self.body(self.inward(tokens), visible, positions, past)

    def _state(self, h: Tensor, position: Tensor, keys_values: KeyValues) -> State:
        state = {"h": h, "position": position}
        for i, (keys, values) in enumerate(keys_values):
            cut = max(0, keys.shape[2] - (self.window - 1))
            state[f"keys.{i}"], state[f"values.{i}"] = keys[:, :, cut:], values[:, :, cut:]
        return state

    def _fresh(self, batch: int, length: int) -> State:
        zero = next(self.inward.parameters()).new_zeros
        state = {
            "h": zero(batch, self.width),
            "position": zero(batch, dtype=torch.long),
        }
        for i, (keys, values) in enumerate(self.body.cached):
            state[f"keys.{i}"] = zero(batch, keys[1], length, keys[3])
            state[f"values.{i}"] = zero(batch, values[1], length, values[3])
        return state


def _positions(is_first: Tensor, position: Tensor) -> Tensor:
    """Where tokens [B, T] stand in their episodes, when the first would stand at `position` [B]."""
    time = torch.arange(is_first.shape[1], device=is_first.device)
    start = torch.where(is_first, time, -1).cummax(dim=1).values
    return torch.where(start < 0, position[:, None] + time, time - start)
