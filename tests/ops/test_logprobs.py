"""Log-probabilities of chosen tokens, whole and in parts, against the naive form."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from understudy.ops import logprobs, selective_log_softmax, token_logprobs

WIDE = torch.float64


def naive(hidden, weight, ids, temperature, bias):
    table = (F.linear(hidden, weight, bias) / temperature).log_softmax(-1)
    return table.gather(-1, ids[..., None])[..., 0]


def case(seed, batch=2, length=3, width=4, vocabulary=5, dtype=WIDE):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype).requires_grad_()

    ids = torch.randint(vocabulary, (batch, length), generator=g)
    return normal(batch, length, width), normal(vocabulary, width), ids, normal(vocabulary)


def test_selective_log_softmax_by_hand():
    logits = torch.tensor([[[0.0, math.log(3)], [5.0, -math.inf]]])  # (1/4, 3/4), (1, 0)
    found = selective_log_softmax(logits, torch.tensor([[1, 0]]))
    torch.testing.assert_close(found, torch.tensor([[math.log(0.75), 0.0]]))


def test_temperature_by_hand():
    # W h = (0, 2 ln 3); halved by the temperature: (1/4, 3/4).
    weight = torch.tensor([[0.0], [2 * math.log(3)]])
    for chunk in (1, 100):
        found = token_logprobs(
            torch.ones(1, 2, 1), weight, torch.tensor([[0, 1]]), 2.0, chunk=chunk
        )
        torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]).log())


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6),
    st.sampled_from([0.5, 1.0, 2.0]), st.booleans(), st.integers(1, 80),
)  # fmt: skip
def test_value_and_gradients_are_the_naive_ones(
    seed, batch, length, vocabulary, temperature, biased, chunk
):
    hidden, weight, ids, bias = case(seed, batch, length, 4, vocabulary)
    inputs = [hidden, weight, bias][: 2 + biased]
    mine = token_logprobs(
        hidden, weight, ids, temperature, bias if biased else None, chunk=chunk, dtype=WIDE
    )
    theirs = naive(hidden, weight, ids, temperature, bias if biased else None)
    torch.testing.assert_close(mine, theirs)
    upstream = torch.randn(ids.shape, generator=torch.Generator().manual_seed(seed), dtype=WIDE)
    grads = (torch.autograd.grad((x * upstream).sum(), inputs) for x in (mine, theirs))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("chunk", [5, 10, 1000])
def test_gradcheck(chunk):
    hidden, weight, ids, bias = case(0)
    assert torch.autograd.gradcheck(
        lambda h, w, b: token_logprobs(h, w, ids, 0.7, b, chunk=chunk, dtype=WIDE),
        (hidden, weight, bias),
    )


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_each_input_alone_can_need_a_gradient(wanted):
    hidden, weight, ids, bias = case(1)
    inputs = [x.detach().requires_grad_(i == wanted) for i, x in enumerate((hidden, weight, bias))]
    found = token_logprobs(inputs[0], inputs[1], ids, 0.7, inputs[2], chunk=6, dtype=WIDE)
    found.sum().backward()
    (expected,) = torch.autograd.grad(
        naive(hidden, weight, ids, 0.7, bias).sum(), [(hidden, weight, bias)[wanted]]
    )
    torch.testing.assert_close(inputs[wanted].grad, expected)
    assert [x.grad is None for x in inputs].count(True) == 2


@pytest.mark.parametrize("chunk", [50, 100_000])
def test_half_precision_is_summed_in_single(chunk):
    """Also over the 1,024 parts that the smaller chunk makes of it."""
    hidden, weight, ids, bias = case(2, 16, 64, 16, 50, torch.bfloat16)
    found = token_logprobs(hidden, weight, ids, 1.0, bias, chunk=chunk)
    assert found.dtype == torch.float32
    grads = torch.autograd.grad(found.sum(), (hidden, weight, bias))
    assert all(g.dtype == torch.bfloat16 for g in grads)
    wide = [x.detach().float().requires_grad_() for x in (hidden, weight, bias)]
    exact = naive(wide[0], wide[1], ids, 1.0, wide[2])
    torch.testing.assert_close(found, exact, atol=0.1, rtol=0.02)
    for mine, theirs in zip(grads, torch.autograd.grad(exact.sum(), wide), strict=True):
        assert (mine.float() - theirs).norm() / theirs.norm() < 0.01


class Largest:
    """A product that remembers how many logits it was ever asked for at once."""

    def __init__(self):
        self.logits, self.calls = 0, 0

    def __call__(self, x, weight, bias=None):
        out = F.linear(x, weight, bias)
        self.calls += 1
        if out.shape[-1] == 1000:
            self.logits = max(self.logits, out.numel())
        return out


@pytest.mark.parametrize("grad", [True, False])
def test_never_more_logits_at_once_than_the_chunk(grad):
    hidden, weight, ids, bias = case(3, 4, 10, 4, 1000)
    product = Largest()
    with torch.set_grad_enabled(grad):
        found = token_logprobs(hidden, weight, ids, 1.0, bias, product=product, chunk=3000)
    assert (product.logits, product.calls) == (3000, 14)
    if grad:
        found.sum().backward()
        # Made again, then a product for the hidden states' gradient and one for the weights'.
        assert (product.logits, product.calls) == (3000, 14 + 3 * 14)


def kept(function):
    """Numbers that the backward pass keeps alive."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        function()
    return max(sizes)


def test_the_backward_pass_keeps_no_table():
    hidden, weight, ids, bias = case(4, 4, 10, 4, 1000)
    parts = kept(lambda: token_logprobs(hidden, weight, ids, 1.0, bias, chunk=3000))
    assert parts == weight.numel()  # far less than 4 · 10 · 1000
    assert kept(lambda: naive(hidden, weight, ids, 1.0, bias)) == 40_000


def test_small_tables_are_one_product():
    hidden, weight, ids, bias = case(5)
    product = Largest()
    token_logprobs(hidden, weight, ids, 1.0, bias, product=product)
    assert product.calls == 1
    assert hidden.numel() < logprobs.CHUNK


@pytest.mark.parametrize("chunk", [1, 100])
def test_no_tokens(chunk):
    hidden, weight, ids, _ = case(6, length=0)
    found = token_logprobs(hidden, weight, ids, chunk=chunk)
    assert found.shape == (2, 0)
    found.sum().backward()
    assert not weight.grad.any()


def test_bad_input_is_one_clear_line():
    hidden, weight, ids, _ = case(7)
    with pytest.raises(ValueError, match=r"hidden states \[2, 3, 4\] for tokens \[2, 2\]"):
        token_logprobs(hidden, weight, ids[:, :2])
    with pytest.raises(ValueError, match="temperature is 0; it must be above 0"):
        token_logprobs(hidden, weight, ids, 0)


@pytest.mark.parametrize("chunk", [6, 1000])
def test_single_precision_unless_asked_otherwise(chunk):
    hidden, weight, ids, bias = case(8)
    found = token_logprobs(hidden, weight, ids, 1.0, bias, chunk=chunk)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, naive(hidden, weight, ids, 1.0, bias).float())
    grads = torch.autograd.grad(found.sum(), (hidden, weight, bias))
    assert all(g.dtype == WIDE for g in grads)
