"""What a sequence core of the world model is: the one contract behind GRU, attention and Mamba.

Alignment, the same for every core (t counts the steps of a chunk)::

    token_t = E([z_t, a_t])          made by the world model, width `token_width`
    y_t     = Observed.h[:, t]       summarises the tokens up to and with t, width `width`
    h_{t+1} = y_t                    and h_t = 0 where is_first_t: Observed.before[:, t]
    f_t     = [z_t, h_t]             what decoder, reward, continuation, actor and critic read

The prior is p(z_{t+1} | h_{t+1}), so it sees z_t and a_t. `is_first_t` empties the state BEFORE token
t is consumed: token t belongs to the new episode, and nothing older reaches y_t.

A core whose `coupled` is true is meant for a posterior q(z_t | h_t, x_t), which makes training
sequential: the world model calls `reset` and `step` for each t. The others are meant for q(z_t | x_t):
all tokens are known beforehand and one `observe` does the chunk. Every core can do both.

A state is a dict of tensors, rows first, and a fresh state is all zeros. `state["h"]` is the last
output [B, width]: y_{t-1} before token t, or zero at an episode's start. Nothing is changed in place.

**Replay context.** A chunk is better started from what happened before it than from zero.

- `context == 0` (GRU, slots): store `pack(state)` [B, n] with each step, unpack it when a
  chunk that begins there is drawn. Such a state is of the weights that made it; refresh it after an update.
- `context == W > 0` (attention, Mamba): the state is a window of keys and values, or some thousand
  numbers, too large to be stored for every step. Draw the W steps before the chunk as well, make their tokens anew from the stored z and a,
  and run `observe` over them without gradient; its `state` starts the chunk. The first token of that
  context need not be an episode's first. Earlier tokens than W are forgotten by this;
  in an unbroken run they still act, attention's through W - 1 steps per layer. Positions then count from
  the context's first token, which rotations do not notice and learned positions (GPT-2) do.

`pack` works for attention as well, which is what checkpoints use: one [B, n] tensor for safetensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from understudy.roles.world_model.cores.spec import CoreError

State = dict[str, Tensor]
"""Tensors [B, …] by name; `h` [B, width] is always there; zeros where an episode begins."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a core makes of T tokens of B rows."""

    h: Tensor
    """[B, T, H] y_t, the output after token t; it is h_{t+1}."""
    before: Tensor
    """[B, T, H] h_t, the output before token t, zero where an episode begins; for features f_t."""
    state: State
    """After the last token; the next chunk goes on from here."""
    handle: Any
    """For `starts`."""


class Core(nn.Module, ABC):
    """A sequence model over tokens: many at once or one by one, with the same result.

    Dropout is off. Outputs of rows do not depend on each other.
    """

    token_width: int
    """D, features of a token."""
    width: int
    """H, features of the output."""
    coupled: bool
    """Whether it is meant for a posterior that reads h_t, and so for one step at a time."""
    context: int = 0
    """Steps before a chunk from which its state is rebuilt; 0: the packed state is stored instead."""

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """A fresh state of `batch` rows: zeros, on the core's device."""

    @abstractmethod
    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        """Consumes tokens [B, T, D]; is_first [B, T] (bool) empties the row before token t."""

    @abstractmethod
    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Consumes one token [B, D]: its output [B, H] and the state after it."""

    @abstractmethod
    def starts(self, handle: Any, index: Tensor, *, before: bool = False) -> State:
        """States [N, …] at the flat positions b·T + t in `index` [N] of an `observe`.

        Just after token t, or with `before` just before it (the reset of step t done). A dream that begins
        with the actor's own action at (b, t) begins before: the token of z_t and that action comes next.
        """

    def reset(self, state: State, mask: Tensor) -> State:
        """The state with the rows of mask [B] (bool) made fresh; no gradient passes through those."""
        return reset(state, mask)

    def detach(self, state: State) -> State:
        """The state without its history of gradients."""
        return {name: value.detach() for name, value in state.items()}

    def pack(self, state: State) -> Tensor:
        """The state as one float tensor [B, n], n the same for every state of this core."""
        rows = state["h"].shape[0]
        return torch.cat(
            [state[k].reshape(rows, -1).to(state["h"].dtype) for k in sorted(state)], 1
        )

    def unpack(self, flat: Tensor) -> State:
        """The state that `pack` made flat [B, n].

        Raises:
            CoreError: n is not that of this core.
        """
        template = self.template()
        names = sorted(template)
        sizes = [template[name].numel() for name in names]
        if flat.ndim != 2 or flat.shape[1] != sum(sizes):
            raise CoreError(f"a packed state is [rows, {sum(sizes)}], got {list(flat.shape)}")
        parts = zip(names, flat.split(sizes, dim=1), strict=True)
        return {
            name: part.reshape(flat.shape[0], *template[name].shape[1:]).to(template[name].dtype)
            for name, part in parts
        }

    def template(self) -> State:
        """One fresh row in the shapes that `pack` and `unpack` use."""
        return self.init_state(1)


def reset(state: State, mask: Tensor) -> State:
    """`state` with the rows of mask [B] (bool) zero."""
    return {
        name: value.masked_fill(mask.reshape(-1, *[1] * (value.ndim - 1)), 0)
        for name, value in state.items()
    }


def lagged(h: Tensor, is_first: Tensor, state: State) -> Tensor:
    """h_t [B, T, H] of outputs y_t [B, T, H]: one step later, zero where an episode begins."""
    shifted = torch.cat([state["h"][:, None], h[:, :-1]], dim=1)
    return shifted.masked_fill(is_first[..., None], 0)


@dataclass(frozen=True, slots=True)
class Trace:
    """The state after every step of a chunk, and what is needed for the states before."""

    after: State
    """[B, T, …]."""
    first: State
    """[B, …] before the chunk."""
    is_first: Tensor
    """[B, T] bool."""

    @classmethod
    def of(cls, states: Sequence[State], first: State, is_first: Tensor) -> Trace:
        """Of the states after steps 0 .. T-1, each [B, …], as a loop of `step` collects them."""
        after = {name: torch.stack([s[name] for s in states], dim=1) for name in first}
        return cls(after, first, is_first)

    def at(self, index: Tensor, *, before: bool = False) -> State:
        """States at flat positions b·T + t, as `Core.starts` gives them."""
        length = self.is_first.shape[1]
        if not before:
            return {name: value.flatten(0, 1)[index] for name, value in self.after.items()}
        row, time = index // length, index % length
        opening = time == 0
        previous = (index - 1).clamp(min=0)
        found = {
            name: torch.where(
                opening.reshape(-1, *[1] * (value.ndim - 2)),
                self.first[name][row],
                value.flatten(0, 1)[previous],
            )
            for name, value in self.after.items()
        }
        return reset(found, self.is_first.flatten()[index])


class RecurrentCore(Core):
    """A core that is only a step; `observe` is a loop of it."""

    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        """As `Core.observe`, one step after the other."""
        first, states = state, list[State]()
        inputs = self.prepare(tokens).unbind(1)
        for x, mask in zip(inputs, is_first.unbind(1), strict=True):
            state = self.advance(x, self.reset(state, mask))
            states.append(state)
        trace = Trace.of(states, first, is_first)
        h = trace.after["h"]
        return Observed(h, lagged(h, is_first, first), state, trace)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """As `Core.step`."""
        state = self.advance(self.prepare(token), state)
        return state["h"], state

    def starts(self, handle: Any, index: Tensor, *, before: bool = False) -> State:
        """As `Core.starts`."""
        return handle.at(index, before=before)

    @abstractmethod
    def prepare(self, tokens: Tensor) -> Tensor:
        """What depends on tokens [..., D] alone, done for the whole chunk at once."""

    @abstractmethod
    def advance(self, x: Tensor, state: State) -> State:
        """The state after one prepared token [B, …]."""
