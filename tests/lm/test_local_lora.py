import pytest
import torch

from tests.lm import local_cases as cases
from understudy.lm.base import LMError
from understudy.lm.fake import tiny_model
from understudy.lm.local import LocalLM


def score(lm: LocalLM) -> torch.Tensor:
    return lm.logprobs(cases.prompts(lm), [[lm.encode("so it is")]] * 3)


def test_a_fresh_adapter_changes_nothing_and_an_update_changes_only_it():
    lm, base = tiny_model(5, lora_rank=4), tiny_model(5)
    assert torch.equal(score(lm), score(base))
    before = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    trained = list(lm.parameters())
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    for _ in range(2):  # the second factor starts at zero, so the first moves one step later
        optimizer.zero_grad()
        (-score(lm).sum()).backward()
        optimizer.step()
    changed = {n for n, p in lm.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if "lora_" in n}
    assert len(trained) == len(changed) == 2 * 7 * 2
    assert score(lm).sum() > score(base).sum()


def test_the_reference_is_the_base_model_without_a_copy():
    lm = cases.lora()
    reference, base = lm.reference(), tiny_model(5)
    assert reference._model is lm._model
    assert torch.equal(score(reference), score(base))
    assert not torch.allclose(score(lm), score(base), atol=1e-2)
    assert not score(reference).requires_grad
    prompts = cases.prompts(lm)
    same = [m.sample(prompts, cases.Sampling(max_tokens=9)) for m in (reference, base, lm)]
    assert same[0] == same[1] != same[2]
    assert score(lm).requires_grad
    assert len(list(lm.parameters())) == 28


def test_the_slow_path_leaves_the_adapter_out_too():
    lm = cases.lora()
    fast = score(lm.reference())
    lm.slow_because = "asked for"
    torch.testing.assert_close(score(lm.reference()), fast, atol=1e-5, rtol=0)
    score(lm).sum().backward()
    assert all(p.grad is not None for p in lm.parameters())
    prompts, sampling = cases.prompts(lm), cases.Sampling(max_tokens=9)
    slow = cases.tokens(lm.reference().sample(prompts, sampling))
    assert slow == cases.tokens(tiny_model(5).sample(prompts, sampling))


def test_save_merges_the_adapter(tmp_path):
    lm = cases.lora()
    lm.save(tmp_path / "whole")
    again = LocalLM.load(tmp_path / "whole")
    torch.testing.assert_close(score(again), score(lm), atol=1e-5, rtol=0)
    assert not (tmp_path / "whole" / "adapter_config.json").exists()
    lm.reference().save(tmp_path / "base")
    assert torch.equal(score(LocalLM.load(tmp_path / "base")), score(tiny_model(5)))
    assert score(lm).requires_grad


def test_an_adapter_saved_alone_goes_on_being_trained(tmp_path):
    lm = cases.lora()
    tiny_model(5).save(tmp_path / "base")
    lm.save_adapter(tmp_path / "adapter")
    again = LocalLM.load(tmp_path / "base", adapter=tmp_path / "adapter")
    assert torch.equal(score(again), score(lm))
    assert len(list(again.parameters())) == 28
    assert again.slow_because is None
    fresh = LocalLM.load(tmp_path / "base", lora_rank=2)
    assert torch.equal(score(fresh), score(tiny_model(5)))


def test_fresh_adapters_depend_on_nothing_but_the_rank():
    torch.manual_seed(1)
    one = [p.detach().clone() for p in tiny_model(5, lora_rank=4).parameters()]
    torch.manual_seed(2)
    two = list(tiny_model(5, lora_rank=4).parameters())
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_bad_adapters_are_one_clear_line(tmp_path):
    tiny_model(5).save(tmp_path)
    with pytest.raises(LMError, match="no LoRA adapter in"):
        LocalLM.load(tmp_path, adapter=tmp_path)
    with pytest.raises(LMError, match="lora_rank must be at least 1"):
        LocalLM.load(tmp_path, lora_rank=0)
