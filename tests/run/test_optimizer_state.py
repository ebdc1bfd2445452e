"""An optimizer's state through a checkpoint."""

from pathlib import Path

import pytest
import torch

from understudy.run.checkpoint import load, pack_optimizer, save, unpack_optimizer
from understudy.run.errors import RunError


def _model(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.AdamW]:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    groups = [{"params": model[0].parameters(), "lr": 0.013}, {"params": model[2].parameters()}]
    return model, torch.optim.AdamW(groups, lr=1e-3, betas=(0.8, 0.95), amsgrad=True)


def _train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.9


def test_an_optimizer_goes_on_to_the_bit(tmp_path: Path) -> None:
    model, optimizer = _model()
    _train(model, optimizer, 0, 5)
    tensors, values = pack_optimizer(optimizer)
    save(tmp_path, 5, {"weights": model.state_dict(), "optimizer": tensors}, {"optimizer": values})
    _train(model, optimizer, 5, 10)

    other, resumed = _model(seed=1)
    found = load(tmp_path)
    assert found is not None
    other.load_state_dict(found.tensors["weights"])
    unpack_optimizer(resumed, found.tensors["optimizer"], found.state["optimizer"])
    assert resumed.param_groups[0]["betas"] == (0.8, 0.95)
    _train(other, resumed, 5, 10)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    (before, values), (after, others) = pack_optimizer(optimizer), pack_optimizer(resumed)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert values == others


def test_an_optimizer_of_another_shape_is_refused() -> None:
    _, optimizer = _model()
    tensors, values = pack_optimizer(optimizer)
    flat = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(RunError, match=r"groups of \[2\] parameters, not \[1\]"):
        unpack_optimizer(flat, tensors, values)
