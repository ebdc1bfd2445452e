"""The contract of a sequence core, tried: for whoever adds a core or changes one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.roles.world_model.cores.base import Core, Observed, State
from understudy.roles.world_model.cores.spec import CoreError

EARLIER = 3
"""Tokens consumed before a case begins, so that its state is not a fresh one."""


@dataclass(frozen=True, slots=True)
class Case:
    """A core and a chunk of tokens."""

    core: Core
    tokens: Tensor
    """[B, T, D]."""
    is_first: Tensor
    """[B, T]."""
    state: State
    """Before the chunk."""
    tolerance: float

    def same(self, found: Tensor, expected: Tensor, otherwise: str) -> None:
        """Demands that two outputs are the same, up to tolerance · the larger of 1 and their size."""
        _demand(self.core, found.shape == expected.shape, f"{otherwise}: shapes differ")
        off = float((found - expected).abs().max()) if found.numel() else 0.0
        size = max(1.0, float(expected.abs().max()) if expected.numel() else 0.0)
        _demand(self.core, off <= self.tolerance * size, f"{otherwise} (by {off:.1e})")

    def demand(self, kept: bool, otherwise: str) -> None:
        """Demands one thing."""
        _demand(self.core, kept, otherwise)


def check_core(
    core: Core, *, rows: int = 3, length: int = 9, seeds: int = 3, tolerance: float = 1e-5
) -> None:
    """Tries every promise of the contract on random tokens and reset patterns.

    The core should be in float32 or better, and may be in training mode.

    Args:
        core: which one; its weights are not changed.
        rows: B, at least 2.
        length: T, at least 4.
        seeds: how many random cases.
        tolerance: what counts as the same, of outputs and gradients, times their size where that is
            above 1. Loaded weights keep it in double precision only.

    Raises:
        CoreError: a promise is not kept; which one.
    """
    if rows < 2 or length < 4 or seeds < 1:
        raise CoreError(f"a check needs 2 rows of 4 steps, once; got {rows}, {length}, {seeds}")
    for seed in range(seeds):
        case = _case(core, rows, length, seed, tolerance)
        with torch.no_grad():
            seen = core.observe(case.tokens, case.is_first, case.state)
            _shapes(case, seen)
            _purity(case, seen)
            _steps(case, seen)
            _continuation(case, seen)
            _dreams(case, seen)
            _causality(case, seen)
            _rows_alone(case, seen)
            _fresh_after_reset(case, seen)
        _gradients(case)
        _no_gradient_across_reset(case)
        _detachment(case)


def _case(core: Core, rows: int, length: int, seed: int, tolerance: float) -> Case:
    draw = torch.Generator().manual_seed(seed)
    parameter = next(core.parameters())
    tokens = torch.randn(rows, EARLIER + length, core.token_width, generator=draw)
    tokens = tokens.to(parameter.device, parameter.dtype)
    is_first = torch.rand(rows, EARLIER + length, generator=draw) < 0.25
    is_first[0] = False  # one row without a reset, so that memory can be seen
    is_first[1, EARLIER + length // 2] = True  # and one with
    is_first = is_first.to(parameter.device)
    with torch.no_grad():
        earlier = core.observe(tokens[:, :EARLIER], is_first[:, :EARLIER], core.init_state(rows))
    later = tokens[:, EARLIER:], is_first[:, EARLIER:]
    return Case(core, *later, core.detach(earlier.state), tolerance)


def _shapes(case: Case, seen: Observed) -> None:
    rows, length = case.is_first.shape
    fresh = case.core.init_state(rows)
    outputs = [rows, length, case.core.width]
    case.demand(list(seen.h.shape) == outputs, f"observe gives {list(seen.h.shape)}, not {outputs}")
    case.demand("h" in fresh, 'a state has no "h"')
    rows_first = all(v.shape[0] == rows for v in (*fresh.values(), *seen.state.values()))
    case.demand(rows_first, "a state has a tensor whose first dimension is not the rows")
    case.demand(not any(v.any() for v in fresh.values()), "a fresh state is not all zeros")
    case.same(seen.state["h"], seen.h[:, -1], 'state["h"] is not the last output')
    lagged = torch.cat([case.state["h"][:, None], seen.h[:, :-1]], dim=1)
    lagged = lagged.masked_fill(case.is_first[..., None], 0)
    case.same(seen.before, lagged, "before is not the output one step earlier, zero at a reset")


def _purity(case: Case, seen: Observed) -> None:
    inputs = {"tokens": case.tokens, "is_first": case.is_first, **case.state}
    copies = {name: value.clone() for name, value in inputs.items()}
    again = case.core.observe(case.tokens, case.is_first, case.state)
    case.core.step(case.tokens[:, 0], case.state)
    case.core.reset(case.state, case.is_first[:, -1])
    for name, value in inputs.items():
        case.demand(torch.equal(value, copies[name]), f"{name} is changed in place")
    case.demand(torch.equal(again.h, seen.h), "the same input gives another output: dropout is on")


def _steps(case: Case, seen: Observed) -> None:
    outputs, state = _walk(case.core, case.tokens, case.is_first, case.state)
    case.same(outputs, seen.h, "steps give other outputs than one observe")
    following = case.tokens[:, 0]
    same = case.core.step(following, state)[0], case.core.step(following, seen.state)[0]
    case.same(*same, "the state after steps is not the state after one observe")


def _continuation(case: Case, seen: Observed) -> None:
    length = case.is_first.shape[1]
    for cut in (1, length // 2):
        head = case.core.observe(case.tokens[:, :cut], case.is_first[:, :cut], case.state)
        flat = case.core.pack(head.state)
        width = case.core.pack(case.core.init_state(1)).shape[1]
        rows = case.tokens.shape[0]
        case.demand(list(flat.shape) == [rows, width], "packed states are of different sizes")
        for state in (head.state, case.core.unpack(flat)):
            tail = case.core.observe(case.tokens[:, cut:], case.is_first[:, cut:], state)
            both = torch.cat([head.h, tail.h], dim=1)
            case.same(both, seen.h, f"observe in two parts, cut at {cut}, gives other outputs")


def _dreams(case: Case, seen: Observed) -> None:
    """From every (b, t) along the recorded tokens, as far as they go."""
    rows, length = case.is_first.shape
    index = torch.arange(rows * length, device=case.tokens.device)
    for before in (True, False):
        starts = case.core.starts(seen.handle, index, before=before)
        for time in range(length):
            here = index[index % length == time]
            state = {name: value[here] for name, value in starts.items()}
            expected = seen.before[:, time] if before else seen.h[:, time]
            case.same(state["h"], expected, f'starts, before={before}, have another "h"')
            begin = time + int(not before)
            if begin < length:
                is_first = case.is_first[:, begin:].clone()
                is_first[:, 0] &= not before  # such a start has been emptied already
                outputs, _ = _walk(case.core, case.tokens[:, begin:], is_first, state)
                text = f"a dream from step {time}, before={before}, is not what observe made"
                case.same(outputs, seen.h[:, begin:], text)


def _causality(case: Case, seen: Observed) -> None:
    middle = case.is_first.shape[1] // 2
    tokens = case.tokens.clone()
    tokens[:, middle] += 1
    moved = case.core.observe(tokens, case.is_first, case.state).h - seen.h
    case.demand(bool(moved[:, middle].abs().amax(-1).gt(0).all()), "an output misses its token")
    case.same(moved[:, :middle], torch.zeros_like(moved[:, :middle]), "a token moves the past")


def _fresh_after_reset(case: Case, seen: Observed) -> None:
    for row, time in case.is_first.nonzero().tolist():
        rest = slice(row, row + 1), slice(time, None)
        fresh = case.core.observe(case.tokens[rest], case.is_first[rest], case.core.init_state(1))
        case.same(fresh.h, seen.h[rest], "what follows a reset is not a fresh sequence")


def _rows_alone(case: Case, seen: Observed) -> None:
    for row in range(case.tokens.shape[0]):
        only = slice(row, row + 1)
        state = {name: value[only] for name, value in case.state.items()}
        alone = case.core.observe(case.tokens[only], case.is_first[only], state)
        case.same(alone.h, seen.h[only], "a row depends on the others")


def _gradients(case: Case) -> None:
    """Within an episode: from every token feature, and from the step before; also in a dream."""
    core, last = case.core, case.tokens.shape[1] - 1
    quiet = torch.zeros_like(case.is_first)
    tokens = case.tokens.clone().requires_grad_()
    seen = core.observe(tokens, quiet, case.state)
    (slope,) = torch.autograd.grad(seen.h[:, last].square().sum(), tokens)
    case.demand(bool(slope[:, last].ne(0).all()), "an output ignores a feature of its token")
    if core.context != 1:
        moved = slope[:, last - 1].abs().amax(-1)
        case.demand(bool(moved.gt(0).all()), "an output ignores the token before its own")
    tokens = case.tokens.clone().requires_grad_()
    walked, _ = _walk(core, tokens, quiet, case.state)
    (dreamt,) = torch.autograd.grad(walked[:, last].square().sum(), tokens)
    case.same(dreamt, slope, "gradients through steps are not those of one observe")
    learning = [p for p in core.parameters() if p.requires_grad]
    case.demand(bool(learning), "no parameter is trained")


def _no_gradient_across_reset(case: Case) -> None:
    core, middle = case.core, case.tokens.shape[1] // 2
    is_first = torch.zeros_like(case.is_first)
    is_first[:, middle] = True
    tokens = case.tokens.clone().requires_grad_()
    state = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in case.state.items()}
    seen = core.observe(tokens, is_first, state)
    sources = [tokens, *(v for v in state.values() if v.requires_grad)]

    def reached(outputs: Tensor) -> list[Tensor]:
        slopes = torch.autograd.grad(
            outputs.square().sum(), sources, retain_graph=True, materialize_grads=True
        )
        return [slopes[0][:, :middle], *slopes[1:]]

    leaks = any(bool(slope.ne(0).any()) for slope in reached(seen.h[:, middle:]))
    case.demand(not leaks, "a gradient passes a reset")
    memory = any(bool(slope.ne(0).any()) for slope in reached(seen.h[:, :middle])[1:])
    case.demand(memory or core.context == 1, "no gradient reaches the state before the chunk")


def _detachment(case: Case) -> None:
    core = case.core
    tokens = case.tokens.clone().requires_grad_()
    seen = core.observe(tokens, case.is_first, case.state)
    index = torch.arange(2, device=tokens.device)
    for state in (seen.state, core.starts(seen.handle, index)):
        case.demand(state["h"].requires_grad, "a state has lost its gradients before detach")
        cut = core.detach(state)
        case.demand(not any(v.requires_grad for v in cut.values()), "detach leaves a gradient")


def _walk(core: Core, tokens: Tensor, is_first: Tensor, state: State) -> tuple[Tensor, State]:
    """Outputs of single steps, and the state behind them."""
    outputs = list[Tensor]()
    for token, mask in zip(tokens.unbind(1), is_first.unbind(1), strict=True):
        output, state = core.step(token, core.reset(state, mask))
        outputs.append(output)
    return torch.stack(outputs, dim=1), state


def _demand(core: Core, kept: bool, otherwise: str) -> None:
    if not kept:
        raise CoreError(f"{type(core).__name__}: {otherwise}")
