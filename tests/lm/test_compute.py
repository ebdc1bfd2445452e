"""Precision, packing and checkpointing change what a pass costs, not what it says."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tests.lm import local_cases as cases
from understudy.lm.base import LMError, Sampling
from understudy.lm.compute import ComputeConfig
from understudy.lm.fake import tiny_model
from understudy.lm.local import LocalLM

PROMPTS = [[7, 8, 9, 10, 11, 12], [20], [30, 31, 32], [33, 34, 35, 36, 37, 38, 39]]
LENGTHS = [[1, 9, 0, 2], [30], [], [3, 28, 7]]
ROWS = [
    [[(7 * u + 3 * g + i) % 80 + 6 for i in range(length)] for g, length in enumerate(group)]
    for u, group in enumerate(LENGTHS)
]


def scored(lm: LocalLM, compute: ComputeConfig, temperature: float = 1.3):
    """Log-probabilities, and the gradient of a sum that weighs all of them differently."""
    lm = copy.deepcopy(lm)
    lm.compute = compute
    scores = lm.logprobs(PROMPTS, ROWS, temperature=temperature)
    weights = torch.linspace(-1, 2, scores.numel()).view_as(scores)
    (scores * weights).sum().backward()
    return scores.detach(), [p.grad for p in lm.parameters()]


def assert_equal(one, two, tolerance=1e-5):
    torch.testing.assert_close(one[0], two[0], atol=tolerance, rtol=0)
    assert one[1]
    for ours, theirs in zip(one[1], two[1], strict=True):
        scale = float(theirs.abs().max()) + 1e-3
        torch.testing.assert_close(ours, theirs, atol=tolerance * scale, rtol=tolerance)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", cases.OWN)
def test_packed_is_padded(make, checkpointing):
    lm = make()
    packed = ComputeConfig(packed=True, checkpointing=checkpointing)
    assert_equal(scored(lm, packed), scored(lm, ComputeConfig()))


@pytest.mark.parametrize("make", [*cases.OWN, *cases.SLOW])
def test_checkpointing_changes_no_gradient(make):
    lm = make()
    # To the bit: what is made again is made in the same way.
    assert_equal(scored(lm, ComputeConfig(checkpointing=True)), scored(lm, ComputeConfig()), 0)


@pytest.mark.parametrize("make", [cases.llama, cases.dynamic_rope])
def test_a_checkpointed_model_still_samples(make):
    lm = make()
    before = cases.sampled(lm, Sampling(max_tokens=8))
    lm.compute = ComputeConfig(checkpointing=True)
    lm.logprobs(PROMPTS, ROWS).sum().backward()
    assert cases.sampled(lm, Sampling(max_tokens=8)) == before
    assert not any(module.training for module in lm.model.modules())


def kept(lm: LocalLM, compute: ComputeConfig) -> int:
    """Bytes kept for the gradient, weights left out."""
    lm.compute = compute
    weights = {p.untyped_storage().data_ptr() for p in lm.model.parameters()}
    found: dict[int, torch.Tensor] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in weights:
            found[x.untyped_storage().data_ptr()] = x
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        scores = lm.logprobs(PROMPTS, ROWS)
    assert scores.requires_grad
    return sum(x.untyped_storage().nbytes() for x in found.values())


@pytest.mark.parametrize("packed", [False, True])
def test_checkpointing_keeps_one_state_per_block(packed):
    deep, shallow = tiny_model(1, layers=9), tiny_model(1, layers=1)
    plain = [kept(lm, ComputeConfig(packed=packed)) for lm in (shallow, deep)]
    saved = [kept(lm, ComputeConfig(packed=packed, checkpointing=True)) for lm in (shallow, deep)]
    assert (saved[1] - saved[0]) * 10 < plain[1] - plain[0]


def test_packed_keeps_no_padding():
    lm = cases.llama()
    # 30 tokens of the longest row, 80 real ones in 8 rows.
    assert kept(lm, ComputeConfig(packed=True)) < 0.6 * kept(lm, ComputeConfig())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", [cases.llama, cases.qwen2, cases.lora, cases.tied_and_biased])
def test_half_precision_is_near_and_keeps_whole_weights(make, packed):
    lm = make()
    half = scored(lm, ComputeConfig(precision="bfloat16", packed=packed))
    plain = scored(lm, ComputeConfig())
    assert half[0].dtype == torch.float32
    assert all(grad.dtype == torch.float32 for grad in half[1])
    gap = (half[0] - plain[0]).abs().max()
    assert 1e-4 < gap < 0.3  # these models' logits are far apart
    ours, theirs = (torch.cat([g.flatten() for g in grads]) for grads in (half[1], plain[1]))
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.995


@pytest.mark.parametrize("make", [cases.llama, cases.lora, cases.gpt2])
def test_half_precision_samples_as_it_scores(make):
    lm = make()
    lm.compute = ComputeConfig(precision="bfloat16")
    groups = cases.sampled(lm, Sampling(max_tokens=24, seed=3), copies=3)
    scores = lm.logprobs(cases.prompts(lm), cases.tokens(groups)).detach()
    gap = (scores - cases.recorded(groups, scores.shape[1])).abs().max()
    assert gap < 0.3


def test_a_model_of_transformers_is_not_packed():
    with pytest.raises(LMError, match="runs through transformers"):
        cases.gpt2().compute = ComputeConfig(packed=True)
