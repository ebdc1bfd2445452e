"""Low-rank adapters (Hu et al. 2021): made and loaded with peft, read without it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from understudy.lm.base import LMError
from understudy.lm.matmul import linear


def add_lora(model: nn.Module, rank: int, *, seed: int = 0) -> nn.Module:
    """`model` with fresh adapters of `rank` on every linear layer but the output layer's.

    Alpha is twice the rank; the second factor starts at zero, so the model is unchanged at first,
    and the first is drawn from `seed`.

    Raises:
        LMError: peft is not installed, or the rank is not positive.
    """
    peft = _peft()
    with _without_deprecations():
        adapted = peft.get_peft_model(model, _config(peft, model, rank, "all-linear", "CAUSAL_LM"))
    return _drawn(adapted, seed)


def inject_lora(
    model: nn.Module, rank: int, *, targets: str | list[str] = "all-linear", seed: int = 0
) -> None:
    """Puts fresh adapters of `rank` into `model` itself; everything else in it is frozen.

    Raises:
        LMError: peft is not installed, the rank is not positive, or no layer is a target.
    """
    peft = _peft()
    config = _config(peft, model, rank, targets)
    try:
        with _without_deprecations():
            peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        raise LMError(f"LoRA does not fit {type(model).__name__}: {error}") from error
    _drawn(model, seed)


def _config(
    peft: Any, model: nn.Module, rank: int, targets: str | list[str], task: str | None = None
) -> Any:
    if rank < 1:
        raise LMError(f"lora_rank must be at least 1, got {rank}")
    return peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=targets,
        task_type=task,
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),  # GPT-2's layers
    )


def _drawn(adapted: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_A" in name:  # peft draws these from the global generator
            bound = parameter.shape[1] ** -0.5
            noise = torch.rand(parameter.shape, generator=generator)
            parameter.data.copy_((2 * noise - 1) * bound)
    return adapted


def load_lora(model: nn.Module, adapter: str | Path) -> nn.Module:
    """`model` with the trainable adapter saved in the folder `adapter`.

    Raises:
        LMError: peft is not installed, or the folder holds no adapter.
    """
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise LMError(f"no LoRA adapter in {adapter}: adapter_config.json is not there")
    peft = _peft()
    try:
        with _without_deprecations():
            return peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise LMError(f"cannot load the LoRA adapter in {adapter}: {reason[:300]}") from error


@contextmanager
def _without_deprecations() -> Generator[None]:
    """Peft reads attributes that newer transformers deprecate; that is no news for our users."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is deprecated.*")
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise LMError('LoRA needs peft: pip install "understudy[lora]"') from error
    return peft


def is_linear(module: nn.Module) -> bool:
    """Whether `module` is a linear layer, or one with plain low-rank factors added."""
    if type(module) is nn.Linear:
        return True
    variant = any(getattr(module, "use_dora", {}).values()) or getattr(module, "lora_variant", None)
    base = getattr(module, "base_layer", None)
    return type(base) is nn.Linear and hasattr(module, "lora_A") and not variant


def project(module: Any, x: Tensor, *, adapter: bool) -> Tensor:
    """What a linear layer makes of x [..., in], its active adapters added when `adapter`."""
    base = getattr(module, "base_layer", module)
    y = linear(x, base.weight, base.bias)
    for name in active(module) if adapter else ():
        low = linear(x, module.lora_A[name].weight)
        y = y + linear(low, module.lora_B[name].weight) * module.scaling[name]
    return y


def effective(module: Any, *, adapter: bool) -> tuple[Tensor, Tensor | None]:
    """Weight [out, in] and bias of a linear layer, its active adapters added when `adapter`."""
    base = getattr(module, "base_layer", module)
    weight = base.weight
    for name in active(module) if adapter else ():
        weight = weight + module.get_delta_weight(name)
    return weight, base.bias


def merged(model: nn.Module, *, adapter: bool) -> Iterator[tuple[str, Tensor]]:
    """The weights of `model` by their names without adapters, which are added when `adapter`.

    Raises:
        LMError: an adapter is of a kind that `effective` does not know.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        prefix = f"{name}." if name else ""
        if hasattr(module, "base_layer"):
            if not (is_linear(module) or type(module.base_layer) is Conv1D):
                raise LMError(f"{name}: only plain LoRA on linear layers can be merged")
            with torch.no_grad():
                weight, bias = effective(module, adapter=adapter)
            yield f"{prefix}weight", weight.detach()
            if bias is not None:
                yield f"{prefix}bias", bias.detach()
        elif not re.search(r"\.(base_layer|lora_\w+)(\.|$)", name):
            for own, parameter in module.named_parameters(recurse=False):
                yield prefix + own, parameter.detach()


def active(module: Any) -> list[str]:
    """The adapters that act on a linear layer."""
    return [name for name in getattr(module, "active_adapters", ()) if name in module.lora_A]
