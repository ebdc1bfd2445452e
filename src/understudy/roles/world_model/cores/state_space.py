"""What the Mamba cores share: layers of a body scanned over time, with the state after every step.

transformers' own Mamba returns the last state only, cannot begin anew inside a sequence, and goes on
from a filled cache by one token at a time only; so the layers are run here, on the body's weights.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.lm.backbone import Body
from understudy.roles.world_model.cores.base import (
    Core,
    Observed,
    State,
    lagged,
    reset,
)
from understudy.roles.world_model.cores.layers import Inward
from understudy.roles.world_model.cores.scan import ages
from understudy.roles.world_model.cores.spec import CoreError

Pair = tuple[Tensor, Tensor]
"""A layer's state: the last inputs of its convolution [B, K - 1, C], and what its recurrence holds [B, …]."""


class Path(Protocol):
    """What one layer went through."""

    def last(self) -> Pair:
        """The state after the last step."""
        ...

    def at(self, row: Tensor, time: Tensor) -> Pair:
        """The states after steps `time` [N] of rows `row` [N]."""
        ...


@dataclass(frozen=True, slots=True)
class Passed:
    """What `starts` needs of an `observe`."""

    paths: list[Path]
    first: State
    is_first: Tensor
    h: Tensor
    before: Tensor


class StateSpaceCore(Core):
    """The layers of a state-space body; a subclass says what a layer's mixer does.

    Args:
        body: one of `understudy.lm.backbone` of the right kind.
        token_width: D.
        context: steps from which a chunk's state is rebuilt; 0 where packed states are stored, which
            are some thousand numbers a step.

    Raises:
        CoreError: the body is of another kind.
    """

    coupled = False
    kind: str

    def __init__(self, body: Body, token_width: int, context: int = 0) -> None:
        super().__init__()
        if body.kind != self.kind:
            raise CoreError(f"a {self.kind} core needs a {self.kind} body, got {body.kind}")
        self.token_width, self.width, self.context = token_width, body.width, context
        self.inward = Inward(token_width, body.width, body.scale)
        self.body = body
        self.kernel: int = body.model.config.conv_kernel

    @abstractmethod
    def mix(self, mixer: Any, x: Tensor, state: Pair, age: Tensor) -> tuple[Tensor, Path]:
        """One mixer over x [B, T, width] from `state`; age [B, T] is 0 where an episode begins."""

    @abstractmethod
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of a layer's state, without rows."""

    def init_state(self, batch: int) -> State:
        """As `Core.init_state`."""
        zero = next(self.inward.parameters()).new_zeros
        conv, ssm = self.shapes()
        state = {"h": zero(batch, self.width)}
        for i in range(self.body.layers):
            state[f"conv.{i}"], state[f"ssm.{i}"] = zero(batch, *conv), zero(batch, *ssm)
        return state

    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        """As `Core.observe`, in one pass."""
        h, paths = self._pass(tokens, state, ages(is_first, self.kernel))
        before = lagged(h, is_first, state)
        after = _state(h[:, -1], [path.last() for path in paths])
        return Observed(h, before, after, Passed(paths, state, is_first, h, before))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """As `Core.step`."""
        age = torch.full((token.shape[0], 1), self.kernel, device=token.device)
        h, paths = self._pass(token[:, None], state, age)
        return h[:, 0], _state(h[:, 0], [path.last() for path in paths])

    def starts(self, handle: Any, index: Tensor, *, before: bool = False) -> State:
        """As `Core.starts`."""
        passed: Passed = handle
        length = passed.is_first.shape[1]
        row, time = index // length, index % length
        if not before:
            found = [path.at(row, time) for path in passed.paths]
            return _state(passed.h.flatten(0, 1)[index], found)
        found = [path.at(row, (time - 1).clamp(min=0)) for path in passed.paths]
        state = _state(passed.before.flatten(0, 1)[index], found)
        opening = time == 0
        for name in state.keys() - {"h"}:
            mask = opening.reshape(-1, *[1] * (state[name].ndim - 1))
            state[name] = torch.where(mask, passed.first[name][row], state[name])
        return reset(state, passed.is_first.flatten()[index])

    def _pass(self, tokens: Tensor, state: State, age: Tensor) -> tuple[Tensor, list[Path]]:
        x = self.inward(tokens)
        paths = list[Path]()
        for i, layer in enumerate(self.body.model.layers):
            pair = state[f"conv.{i}"], state[f"ssm.{i}"]
            mixed, path = self.mix(layer.mixer, layer.norm(x), pair, age)
            x = x + mixed
            paths.append(path)
        return self.body.model.norm_f(x), paths


def _state(h: Tensor, pairs: list[Pair]) -> State:
    state = {"h": h}
    for i, (conv, ssm) in enumerate(pairs):
        state[f"conv.{i}"], state[f"ssm.{i}"] = conv, ssm
    return state
