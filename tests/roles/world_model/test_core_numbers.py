"""The cores' numbers: those of transformers on the same weights, of loops, and of formulas by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    BloomConfig,
    BloomModel,
    FalconConfig,
    FalconModel,
    Gemma2Config,
    Gemma2Model,
    Mamba2Config,
    Mamba2Model,
    MambaConfig,
    MambaModel,
    MistralConfig,
    MistralModel,
    OPTConfig,
    OPTModel,
    Qwen3Config,
    Qwen3Model,
)  # fmt: skip

from understudy.roles.world_model.cores import mamba2
from understudy.roles.world_model.cores.attention import AttentionCore
from understudy.roles.world_model.cores.base import Core
from understudy.roles.world_model.cores.build import make_core
from understudy.roles.world_model.cores.check import check_core
from understudy.roles.world_model.cores.gru import GRU, BlockGRU, BlockLinear
from understudy.roles.world_model.cores.scan import (
    ages,
    convolve,
    linear_scan,
    selective_scan,
)
from understudy.roles.world_model.cores.spec import CoreConfig, CoreError

TOKEN = 6
NEVER = torch.zeros(2, 21, dtype=torch.bool)


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def library(core: Core, x: Tensor) -> Tensor:
    """What transformers' own forward makes of the tokens, and no cache, mask or position of ours."""
    body = core.body
    return body.model(inputs_embeds=core.inward(x), use_cache=False).last_hidden_state


def observed(core: Core, x: Tensor) -> Tensor:
    return core.observe(x, NEVER[: x.shape[0], : x.shape[1]], core.init_state(x.shape[0])).h


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "pocket", "mamba", "mamba2"])
def test_the_library_agrees(name: str):
    core = make_core(name, TOKEN, CoreConfig(width=32, window=21))
    x = tokens(2, 21, TOKEN)
    torch.testing.assert_close(observed(core, x), library(core, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba", "mamba2"])
def test_the_library_agrees_on_every_episode(name: str):
    core = make_core(name, TOKEN, CoreConfig(width=32, window=21))
    x, is_first = tokens(2, 21, TOKEN), NEVER.clone()
    is_first[:, [0, 5, 6, 13]] = True
    found = core.observe(x, is_first, core.init_state(2)).h
    episodes = [library(core, part) for part in x.split([5, 1, 7, 8], dim=1)]
    torch.testing.assert_close(found, torch.cat(episodes, dim=1), atol=1e-5, rtol=1e-5)


def test_a_mamba_folder(tmp_path: Path):
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(3)
        config = MambaConfig(
            vocab_size=11, hidden_size=24, num_hidden_layers=3, state_size=5, conv_kernel=3,
            expand=3, use_bias=True, time_step_rank=4,
        )  # fmt: skip
        MambaModel(config).save_pretrained(tmp_path)
    core, x = make_core(f"hf:{tmp_path}", TOKEN), tokens(2, 21, TOKEN)
    theirs = MambaModel.from_pretrained(tmp_path).eval()
    expected = theirs(inputs_embeds=core.inward(x), use_cache=False).last_hidden_state
    torch.testing.assert_close(observed(core, x), expected, atol=1e-5, rtol=1e-5)
    assert not any("embed" in key for key in core.state_dict())


@pytest.mark.parametrize("chunk", [4, 7, 64])
def test_a_mamba2_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int):
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(4)
        config = Mamba2Config(
            vocab_size=11, hidden_size=24, num_hidden_layers=3, state_size=5, conv_kernel=3,
            expand=2, num_heads=6, head_dim=8, n_groups=3, chunk_size=5, use_bias=True,
            time_step_limit=(0.01, 0.05),
        )  # fmt: skip
        Mamba2Model(config).save_pretrained(tmp_path)
    monkeypatch.setattr(mamba2, "CHUNK", chunk)
    core, x = make_core(f"hf:{tmp_path}", TOKEN), tokens(2, 21, TOKEN)
    theirs = Mamba2Model.from_pretrained(tmp_path).eval()
    expected = theirs(inputs_embeds=core.inward(x), use_cache=False).last_hidden_state
    torch.testing.assert_close(observed(core, x), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        index = torch.arange(42)
        seen = core.observe(x, NEVER, core.init_state(2))
        starts = core.starts(seen.handle, index, before=True)
        dreamt, _ = core.step(x.flatten(0, 1), starts)
    torch.testing.assert_close(dreamt, expected.flatten(0, 1), atol=1e-5, rtol=1e-5)


# --- attention ---

TINY = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}  # fmt: skip
DECODERS = {
    "qwen3": (Qwen3Model, Qwen3Config(**TINY, num_key_value_heads=1, head_dim=12)),
    "gemma2": (Gemma2Model, Gemma2Config(**TINY, num_key_value_heads=1, head_dim=8)),
    "opt": (
        OPTModel,
        OPTConfig(**TINY, ffn_dim=24, max_position_embeddings=12, word_embed_proj_dim=16),
    ),
    "falcon": (FalconModel, FalconConfig(**TINY)),
}


@pytest.mark.parametrize("name", DECODERS)
def test_other_decoders(name: str, tmp_path: Path):
    make, config = DECODERS[name]
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(5)
        make(config).save_pretrained(tmp_path)
    x = tokens(2, 12, TOKEN)
    core = make_core(f"hf:{tmp_path}", TOKEN, CoreConfig(window=12))
    torch.testing.assert_close(observed(core, x), library(core, x), atol=1e-5, rtol=1e-5)
    check_core(make_core(f"hf:{tmp_path}", TOKEN, CoreConfig(window=3)), seeds=1, length=4)
    assert core.body.positions == (12 if name == "opt" else None)


def test_a_decoder_with_a_cache_of_its_own_kind(tmp_path: Path):
    BloomModel(BloomConfig(vocab_size=8, hidden_size=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(CoreError, match="bloom keeps its past in a way of its own"):
        make_core(f"hf:{tmp_path}", TOKEN)


def test_a_window_wider_than_the_bodys_own(tmp_path: Path):
    config = MistralConfig(**TINY, num_key_value_heads=1, sliding_window=5)
    MistralModel(config).save_pretrained(tmp_path)
    check_core(make_core(f"hf:{tmp_path}", TOKEN, CoreConfig(window=5)), seeds=1, length=4)
    with pytest.raises(CoreError, match="has 1 to 5"):
        make_core(f"hf:{tmp_path}", TOKEN, CoreConfig(window=6))


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (MambaModel, MambaConfig(vocab_size=8, hidden_size=16, num_hidden_layers=2)),
        (Mamba2Model, Mamba2Config(vocab_size=8, hidden_size=16, num_hidden_layers=2, num_heads=4, head_dim=8, n_groups=1, state_size=4)),
    ],
)  # fmt: skip
def test_adapters_of_state_space_bodies_are_heard(tmp_path: Path, make, config):
    make(config).save_pretrained(tmp_path)
    core = make_core(f"hf:{tmp_path}+lora", TOKEN, CoreConfig(lora_rank=2))
    observed(core, tokens(2, 5, TOKEN)).square().sum().backward()
    factors = [p for n, p in core.named_parameters() if "lora_B" in n]
    assert factors
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in factors)


# --- windows ---


@pytest.mark.parametrize("layers", [1, 2])
def test_the_window_is_as_long_as_it_says(layers: int):
    core = make_core("llama", TOKEN, CoreConfig(width=16, layers=layers, window=4))
    x = tokens(1, 12, TOKEN).requires_grad_()
    (slope,) = torch.autograd.grad(observed(core, x)[:, -1].square().sum(), x)
    reached = slope[0].abs().amax(-1).gt(0).tolist()
    oldest = 11 - 3 * layers
    assert reached == [t >= oldest for t in range(12)]


def test_a_state_is_rebuilt_from_its_context():
    core = make_core("llama", TOKEN, CoreConfig(width=16, layers=1, window=4))
    x = tokens(1, 12, TOKEN)
    with torch.no_grad():
        whole = observed(core, x)
        context = core.observe(x[:, 8 - core.context : 8], NEVER[:1, :4], core.init_state(1))
        rest = core.observe(x[:, 8:], NEVER[:1, :4], context.state).h
    torch.testing.assert_close(rest, whole[:, 8:], atol=1e-5, rtol=1e-5)


def test_episodes_longer_than_the_learned_positions():
    core = make_core("gpt2", TOKEN, CoreConfig(width=16, window=5))
    assert core.body.positions == 5
    assert observed(core, tokens(1, 21, TOKEN)).isfinite().all()
    with pytest.raises(CoreError, match="has 1 to 5"):
        AttentionCore(core.body, TOKEN, 6)


# --- recurrences ---


def test_linear_scan_and_its_gradient():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 5, 3, dtype=torch.double, generator=draw) for _ in range(2))
    h = torch.rand(2, 3, dtype=torch.double, generator=draw)
    state, expected = h, []
    for t in range(5):
        state = a[:, t] * state + b[:, t]
        expected.append(state)
    torch.testing.assert_close(linear_scan(a, b, h), torch.stack(expected, 1))
    inputs = [v.requires_grad_() for v in (a, b, h)]
    assert torch.autograd.gradcheck(linear_scan, inputs)


@pytest.mark.parametrize("which", [0, 1])
def test_gradients_of_the_selective_scan(which: int):
    draw = torch.Generator().manual_seed(which)

    def make(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.double, generator=draw).requires_grad_()

    delta, u, rates = make(2, 4, 3), make(2, 4, 3), make(2, 3)
    inward, outward, held = make(2, 4, 2), make(2, 4, 2), make(2, 2, 3)
    is_first = torch.tensor([[False, False, True, False], [False] * 4])

    def run(*inputs: Tensor) -> Tensor:
        delta, u, rates, inward, outward, held = inputs
        return selective_scan(delta, u, -rates, inward, outward, is_first, held)[which]

    assert torch.autograd.gradcheck(run, (delta, u, rates, inward, outward, held))


def test_convolution_without_resets_is_torchs():
    x, past, weight, bias = tokens(2, 7, 3), tokens(2, 3, 3), tokens(3, 1, 4), tokens(3)
    found = convolve(x, past, weight, bias, torch.full((2, 7), 4))
    padded = torch.cat([past, x], dim=1).transpose(1, 2)
    expected = F.conv1d(padded, weight, bias, groups=3).transpose(1, 2)
    torch.testing.assert_close(found, expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 6))
def test_ages(pattern: list[bool], limit: int):
    age, expected = limit - 1, []
    for first in pattern:
        age = 0 if first else age + 1
        expected.append(age)
    assert ages(torch.tensor([pattern]), limit)[0].tolist() == expected


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.booleans(), min_size=3, max_size=10), st.sampled_from(["llama", "mamba", "mamba2"])
)
def test_any_reset_pattern(pattern: list[bool], name: str):
    core = make_core(name, TOKEN, CoreConfig(width=8, layers=1, heads=2, window=3, state_size=2))
    x, is_first = tokens(1, len(pattern), TOKEN), torch.tensor([pattern])
    with torch.no_grad():
        state, walked = core.init_state(1), []
        for t in range(len(pattern)):
            h, state = core.step(x[:, t], core.reset(state, is_first[:, t]))
            walked.append(h)
        found = core.observe(x, is_first, core.init_state(1)).h
    torch.testing.assert_close(found, torch.stack(walked, 1), atol=1e-5, rtol=1e-5)


# --- GRUs ---


def test_a_gru_step_by_hand():
    core = GRU(2, 1, hidden=1)
    with torch.no_grad():
        core.gates.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
        core.shift.copy_(torch.tensor([0.5, 0.0, -0.25]))
        x, h = torch.tensor([[0.3]]), torch.tensor([[-0.7]])
        raw = torch.tensor([-0.7, 0.3, -0.4])
        r, c, u = raw / (raw.square().mean() + 1e-4).sqrt() + torch.tensor([0.5, 0.0, -0.25])
        mix = torch.sigmoid(u - 1)
        expected = mix * torch.tanh(torch.sigmoid(r) * c) + (1 - mix) * -0.7
        torch.testing.assert_close(core.advance(x, {"h": h})["h"], expected.reshape(1, 1))


def test_a_block_sees_its_own_slice_of_h_and_all_projections():
    core = BlockGRU(TOKEN, 16, hidden=3, blocks=4, parts=(4, 2))
    with torch.no_grad():
        core.recur[0].weight.zero_()  # what every block shares of h
    h = tokens(1, 16).requires_grad_()
    out = core.advance(core.prepare(tokens(1, TOKEN)), {"h": h})["h"]
    # a block's gates see h through a norm over all of h: its own slice alone is seen without it
    core.norm = torch.nn.Identity()
    out = core.advance(core.prepare(tokens(1, TOKEN)), {"h": h})["h"]
    (slope,) = torch.autograd.grad(out[0, 4:8].sum(), h)
    assert slope[0, 4:8].ne(0).all()
    assert slope[0, :4].eq(0).all()
    assert slope[0, 8:].eq(0).all()
    x = tokens(1, TOKEN).requires_grad_()
    out = core.advance(core.prepare(x), {"h": h.detach()})["h"]
    for block in range(4):
        part = out[0, 4 * block : 4 * block + 4].sum()
        (slope,) = torch.autograd.grad(part, x, retain_graph=True)
        assert slope.ne(0).all()


def test_block_linear_is_linear_layers_side_by_side():
    layer = BlockLinear(3, 4, 5)
    x = tokens(2, 3, 4)
    expected = [x[:, i] @ layer.weight[i] + layer.bias[i] for i in range(3)]
    torch.testing.assert_close(layer(x), torch.stack(expected, 1))


def test_initial_scales():
    """Blocks are drawn by the whole width's fan-in; tokens come in at the size a body is used to."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(6)
        layer = BlockLinear(8, 50, 40)
    assert float(layer.weight.detach().std()) == pytest.approx(400**-0.5, rel=0.03)
    for name in ("pocket", "gpt2", "llama"):
        core = make_core(name, TOKEN, CoreConfig(width=32))
        size = core.inward(tokens(64, TOKEN)).detach().square().mean().sqrt()
        assert float(size) == pytest.approx(core.body.scale, rel=0.03)


def test_slots_remember_in_all_of_them():
    core = make_core("slots", TOKEN, CoreConfig(width=16))
    state = core.observe(tokens(2, 3, TOKEN), NEVER[:, :3], core.init_state(2)).state
    slots = state["slots"].detach().requires_grad_()
    h, _ = core.step(tokens(2, TOKEN), {**state, "slots": slots})
    (slope,) = torch.autograd.grad(h.square().sum(), slots)
    assert slope.abs().amax(-1).gt(0).all()
