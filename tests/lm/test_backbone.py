"""Bodies: their sizes, what is kept of them, dropout, gradients through earlier keys and values."""

from pathlib import Path

import pytest
import torch

from understudy.lm.backbone import Body, adapt, fresh_body, load_body
from understudy.lm.base import LMError

KINDS = ("llama", "gpt2", "gpt_neox")


def causal(rows: int, length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril().expand(rows, -1, -1)


def inputs(rows: int, length: int, width: int) -> torch.Tensor:
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_past_is_an_argument_and_gradients_pass_it(kind: str):
    body = fresh_body(kind, width=16, layers=2, heads=2).train()
    x = inputs(2, 5, 16).requires_grad_()
    places, seen = torch.arange(5).expand(2, -1), causal(2, 5)
    whole, _ = body(x, seen, places, [])
    _, past = body(x[:, :3], seen[:, :3, :3], places[:, :3], [])
    kept = [(k.clone(), v.clone()) for k, v in past]
    rest, longer = body(x[:, 3:], seen[:, 3:], places[:, 3:], past)
    torch.testing.assert_close(rest, whole[:, 3:], atol=1e-5, rtol=1e-5)
    assert all(
        torch.equal(*pair)
        for a, b in zip(past, kept, strict=True)
        for pair in zip(a, b, strict=True)
    )
    assert [k.shape for k, _ in longer] == [(2, 2, 5, 8)] * 2
    slopes = [
        torch.autograd.grad(y.square().sum(), x, retain_graph=True)[0] for y in (rest, whole[:, 3:])
    ]
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-5)
    assert slopes[0][:, :3].abs().sum() > 0


@pytest.mark.parametrize("kind", [*KINDS, "mamba", "mamba2"])
def test_no_table_of_words_is_left(kind: str):
    body = fresh_body(kind, width=16, layers=1, heads=2)
    assert body.embedding is None
    assert not any("embed" in name or "wte" in name for name, _ in body.named_parameters())
    assert not body.train().model.training


def test_a_loaded_body_knows_the_size_of_its_inputs():
    body = load_body("pocket", keep_embedding=True)
    assert body.embedding is not None
    rms = body.embedding.weight.detach().square().mean().sqrt()
    assert body.scale == pytest.approx(float(rms))
    assert (body.width, body.layers) == (192, 5)
    assert body.cached == [((1, 2, 1, 32), (1, 2, 1, 32))] * 5
    assert load_body("pocket").embedding is None
    assert fresh_body("llama", width=16, layers=1).scale == 1


def test_lora_starts_as_the_body_itself():
    x, places = inputs(1, 4, 32), torch.arange(4)[None]
    for kind in KINDS:
        body = fresh_body(kind, width=32, layers=1)
        before, _ = body(x, causal(1, 4), places, [])
        after, _ = adapt(body, "lora", rank=2)(x, causal(1, 4), places, [])
        torch.testing.assert_close(before, after)
        grown = [p for n, p in body.named_parameters() if "lora_B" in n]
        assert grown
        grown[0].data.fill_(0.1)
        moved, _ = body(x, causal(1, 4), places, [])
        assert not torch.allclose(moved, after)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: fresh_body("bert", width=16, layers=1), "no body 'bert'"),
        (lambda: fresh_body("llama", width=16, layers=1, heads=3), "do not divide"),
        (lambda: fresh_body("llama", width=12, layers=1, heads=4), "even width per head"),
        (lambda: load_body("openai:gpt"), "no body in openai:gpt"),
        (lambda: load_body("hf:/nowhere/at/all"), "cannot load the body"),
        (lambda: adapt(fresh_body("llama", width=8, layers=1, heads=1), "some"), "not 'some'"),
    ],
)
def test_bodies_that_cannot_be(make, says: str):
    with pytest.raises(LMError, match=says):
        make()


def test_a_state_space_body_has_no_attention():
    body = fresh_body("mamba", width=8, layers=1)
    with pytest.raises(LMError, match="no attention"):
        body(inputs(1, 2, 8), causal(1, 2), torch.arange(2)[None], [])


def test_an_encoder_is_no_body(tmp_path: Path):
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(
        T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(LMError, match="is no decoder"):
        load_body(f"hf:{tmp_path}")


def test_bodies_are_modules():
    assert isinstance(fresh_body("gpt2", width=8, layers=1, heads=1), Body)
