import pytest
import torch

from tests.lm import local_cases as cases
from understudy.lm import matmul
from understudy.lm.base import Sampling


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 7)])
def test_values_and_gradients_are_those_of_plain_products(monkeypatch, onednn, bias, shape):
    if not onednn:
        monkeypatch.setattr(matmul, "_ONEDNN", None)
    elif matmul._ONEDNN is None:
        pytest.skip("this build of PyTorch has no oneDNN")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, *shape, generator=generator, requires_grad=True)
    weight = torch.randn(6, 7, generator=generator, requires_grad=True)
    offset = torch.randn(6, generator=generator, requires_grad=True) if bias else None
    y = matmul.linear(x, weight, offset)
    torch.testing.assert_close(y, x @ weight.T + (0 if offset is None else offset))
    pull = torch.randn(y.shape, generator=generator)
    inputs = [x, weight] if offset is None else [x, weight, offset]
    got = torch.autograd.grad(y, inputs, pull)
    expected = [pull @ weight, torch.einsum("...o,...i->oi", pull, x), pull.flatten(0, -2).sum(0)]
    for ours, plain in zip(got, expected, strict=False):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_types(dtype):
    lm = cases.llama()
    wide = type(lm)(lm.model, lm.tokenizer, dtype=dtype)
    groups = cases.sampled(wide, Sampling(max_tokens=12, seed=1), copies=2)
    scores = wide.logprobs(cases.prompts(wide), cases.tokens(groups)).detach()
    tolerance = 1e-5 if dtype == torch.float64 else 0.3
    torch.testing.assert_close(
        scores, cases.recorded(groups, scores.shape[1]), atol=tolerance, rtol=0
    )
