"""Every core keeps the contract, and a core that breaks one promise is caught."""

import pytest
import torch
from torch import Tensor, nn

from understudy.roles.world_model.cores.base import Core, Observed, State, lagged
from understudy.roles.world_model.cores.build import make_core
from understudy.roles.world_model.cores.check import check_core
from understudy.roles.world_model.cores.gru import GRU
from understudy.roles.world_model.cores.slots import SlotsCore
from understudy.roles.world_model.cores.spec import CoreConfig, CoreError, parse_core

TOKEN = 6
SMALL = CoreConfig(width=32, window=4, parts=(4, 2))
ALL = ("gru", "block_gru", "llama", "gpt2", "gpt_neox", "mamba", "mamba2", "slots")


@pytest.mark.parametrize("name", ALL)
def test_contract(name: str):
    check_core(make_core(name, TOKEN, SMALL).train(), seeds=2, length=7)


@pytest.mark.parametrize("name", ["pocket", "pocket+lora", "pocket+random+frozen"])
def test_contract_of_loaded_bodies(name: str):
    # Trained weights are larger than fresh ones, and so is the rounding of their gradients.
    check_core(make_core(name, TOKEN, SMALL).double().train(), seeds=1, length=6)


@pytest.mark.parametrize("window", [1, 2, 20])
def test_contract_of_other_windows(window: int):
    check_core(make_core("llama", TOKEN, CoreConfig(width=16, window=window)), seeds=1)


# --- broken cores ---


class Deaf(GRU):
    """Resets nothing within a chunk."""

    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        seen = super().observe(tokens, torch.zeros_like(is_first), state)
        return Observed(seen.h, lagged(seen.h, is_first, state), seen.state, seen.handle)


class Leaky(GRU):
    """A reset sets the value, but lets the gradient through."""

    def reset(self, state: State, mask: Tensor) -> State:
        return {k: torch.where(mask[:, None], v - v.detach(), v) for k, v in state.items()}


class Prophet(GRU):
    """Outputs know the mean of all tokens."""

    def prepare(self, tokens: Tensor) -> Tensor:
        x = super().prepare(tokens)
        return x + x.mean(1, keepdim=True) if x.ndim == 3 else x


class Crowd(GRU):
    """Rows are normalised together."""

    def prepare(self, tokens: Tensor) -> Tensor:
        return super().prepare(tokens - tokens.mean(0))


class Blind(GRU):
    """The last feature of a token, the action say, does not get in."""

    def prepare(self, tokens: Tensor) -> Tensor:
        return super().prepare(torch.cat([tokens[..., :-1], 0 * tokens[..., -1:]], dim=-1))


class Forgetful(GRU):
    """Every step begins anew."""

    def advance(self, x: Tensor, state: State) -> State:
        return super().advance(x, {"h": 0 * state["h"]})


class Late(GRU):
    """`starts` are one step off."""

    def starts(self, handle, index: Tensor, *, before: bool = False) -> State:
        return super().starts(handle, index, before=not before)


class Meddler(GRU):
    """Writes into the state it was given."""

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        h, after = super().step(token, state)
        state["h"].add_(1)
        return h, after


class Noisy(GRU):
    """Dropout is on."""

    def prepare(self, tokens: Tensor) -> Tensor:
        return nn.functional.dropout(super().prepare(tokens), 0.1)


class Clinging(GRU):
    """Detaches nothing."""

    def detach(self, state: State) -> State:
        return dict(state)


class Unshifted(GRU):
    """h_t is the output after token t."""

    def observe(self, tokens: Tensor, is_first: Tensor, state: State) -> Observed:
        seen = super().observe(tokens, is_first, state)
        return Observed(seen.h, seen.h, seen.state, seen.handle)


class Warm(GRU):
    """A fresh state is not zero."""

    def init_state(self, batch: int) -> State:
        return {"h": super().init_state(batch)["h"] + 0.1}


class Scrambled(GRU):
    """Packing loses something."""

    def pack(self, state: State) -> Tensor:
        return super().pack(state).round(decimals=2)


class Severed(GRU):
    """No gradient between steps."""

    def advance(self, x: Tensor, state: State) -> State:
        return super().advance(x, self.detach(state))


class ReadFirst(SlotsCore):
    """The slot that is read comes first, as in the original, and sees neither z nor a."""

    def advance(self, x: Tensor, state: State) -> State:
        slots = torch.cat([state["h"][:, None], x + state["slots"]], dim=1)
        count = slots.shape[1]
        seen = torch.ones(count, count, dtype=torch.bool).tril().expand(len(x), -1, -1)
        hidden, _ = self.body(slots, seen, torch.arange(count).expand(len(x), -1), [])
        return {"h": hidden[:, 0], "slots": hidden[:, 1:]}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Deaf, "steps give other outputs"),
        (Leaky, "a gradient passes a reset"),
        (Prophet, "steps give other outputs|a token moves the past"),
        (Crowd, "a row depends on the others"),
        (Blind, "ignores a feature of its token"),
        (Forgetful, "ignores the token before its own"),
        (Late, "starts, before=True"),
        (Meddler, "h is changed in place"),
        (Noisy, "dropout is on"),
        (Clinging, "detach leaves a gradient"),
        (Unshifted, "before is not the output one step earlier"),
        (Warm, "a fresh state is not all zeros"),
        (Scrambled, "observe in two parts"),
        (Severed, "ignores the token before its own"),
    ],
)
def test_a_broken_core_is_caught(broken: type[GRU], promise: str):
    core = make_core("gru", TOKEN, SMALL)
    core.__class__ = broken
    with pytest.raises(CoreError, match=promise):
        check_core(core)


def test_slots_read_first_are_caught():
    core = make_core("slots", TOKEN, SMALL)
    core.__class__ = ReadFirst
    with pytest.raises(CoreError, match="an output misses its token"):
        check_core(core)


# --- names ---


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ("grue", "did you mean gru"),
        ("llma", "did you mean llama"),
        ("org/model", "did you mean hf:org/model"),
        ("hf:", "no core 'hf:'"),
        ("gru+lora", "trained whole"),
        ("pocket+lor", r"did you mean \+lora"),
        ("pocket+lora+frozen", "choose one"),
        ("pocket+lora+lora", "choose one"),
    ],
)
def test_names_that_are_none(spec: str, answer: str):
    with pytest.raises(CoreError, match=answer) as caught:
        parse_core(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "config", "answer"),
    [
        ("block_gru", CoreConfig(width=30), "multiple of 8 blocks"),
        ("block_gru", CoreConfig(width=32, parts=(4, 1)), "do not add up"),
        ("llama", CoreConfig(width=30), "do not divide"),
        ("llama", CoreConfig(width=32, window=0), "a window of 0 tokens"),
        ("gru", CoreConfig(width=0), "widths of at least 1"),
        ("hf:/no/such/folder", CoreConfig(), "cannot load the body"),
        ("pocket+lora", CoreConfig(lora_rank=0), "lora_rank must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit(spec: str, config: CoreConfig, answer: str):
    with pytest.raises(CoreError, match=answer):
        make_core(spec, TOKEN, config)


def test_weights_follow_from_the_seed_alone():
    before = torch.random.get_rng_state()
    for name in ("block_gru", "mamba2", "pocket+lora"):
        one, same, other = (make_core(name, TOKEN, SMALL, seed=s) for s in (1, 1, 2))
        assert all(map(torch.equal, one.parameters(), same.parameters()))
        assert not all(map(torch.equal, one.parameters(), other.parameters()))
    assert torch.equal(torch.random.get_rng_state(), before)


def trained(core: Core) -> set[str]:
    return {name for name, p in core.named_parameters() if p.requires_grad}


def test_what_is_trained():
    full = make_core("pocket", TOKEN, SMALL)
    assert trained(full) == dict(full.named_parameters()).keys()
    frozen = trained(make_core("pocket+frozen", TOKEN, SMALL))
    assert frozen
    assert all(name.startswith("inward.") for name in frozen)
    adapted = trained(make_core("pocket+lora", TOKEN, SMALL)) - frozen
    assert adapted
    assert all("lora_" in name for name in adapted)


def test_a_loaded_body_is_pretrained_unless_random():
    loaded, fresh = (make_core(n, TOKEN, SMALL) for n in ("pocket", "pocket+random"))
    name = "body.model.layers.0.self_attn.q_proj.weight"
    assert loaded.state_dict()[name].shape == fresh.state_dict()[name].shape
    assert not torch.equal(loaded.state_dict()[name], fresh.state_dict()[name])
    assert not any("embed" in key for key in (*loaded.state_dict(), *fresh.state_dict()))
