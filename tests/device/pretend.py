"""A pretended accelerator: real numbers, computed by the CPU, under the name of another device.

Within `pretended()` every tensor made on, or moved to, `DEVICE` is a `Pretended`: it says that it is there and
holds its numbers on the CPU. An operation on tensors of both devices is an error, as it is with CUDA, and with
the same exceptions: a CPU number without axes goes with anything, indices may be on the CPU, and `_to_copy` and
`copy_` move. The name is `meta`, as torch starts no driver for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import __future__ as _future
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta")
MOVES = ("_to_copy", "copy_", "set_")
INDEXED = ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_")


class MixedDevices(RuntimeError):
    """An operation was given tensors of two devices."""


class Pretended(torch.Tensor):
    """Numbers on the CPU that say they are on `DEVICE`."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        # What C++ refuses to subclasses: on a real device `numpy` fails, and `tolist` and `repr` copy.
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.numpy:
                raise MixedDevices("numpy() of a tensor that is not on the CPU")
            if function is torch.Tensor.tolist:
                return args[0].detach().cpu().tolist()
            if function is torch.Tensor.__repr__:
                return f"Pretended({args[0].held})"
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None):
        return dispatched(op, args, kwargs or {})


def dispatched(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation, on the numbers held; its result is where its arguments are, or where it is told to be."""
    name = op.overloadpacket.__name__
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, Pretended)]
    if there and name not in MOVES:
        first = args[:1] if name in INDEXED else (args, kwargs)
        rest = [x for x in tree_flatten(first)[0] if isinstance(x, torch.Tensor)]
        rest += tensors[-1:] if name.startswith(("index_put", "_index_put")) else []
        strange = [x for x in rest if not isinstance(x, Pretended) and x.dim() > 0]
        if strange:
            raise MixedDevices(f"{op}: a CPU tensor {list(strange[0].shape)} meets the device's")
    told = kwargs.get("device")
    if told is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    bare = tree_map_only(Pretended, lambda x: x.held, (args, kwargs))
    found = op(*bare[0], **bare[1])
    goes = bool(there) if told is None else torch.device(told).type == DEVICE.type
    if not goes:
        return found
    same = {id(x.held): x for x in there}  # an operation in place gives back what it was given
    return tree_map_only(
        torch.Tensor, lambda x: same[id(x)] if id(x) in same else Pretended(x), found
    )


class _Mode(TorchDispatchMode):
    """Sees what is made on the device from no tensor at all."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Numbers of Python: `torch.tensor(…, device=…)` makes them on the CPU and moves them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


@contextmanager
def pretended():
    """The device is there.

    `inference_mode` is `no_grad`, as torch has no wrapped tensors without a version counter; fused optimizers
    take the device for one that they know; a module that is moved keeps its parameters themselves, and with them
    which are tied.
    """
    known = ["meta", *optimizer._get_fused_kernels_supported_devices()]
    with (
        mock.patch.object(_future, "get_swap_module_params_on_conversion", return_value=True),
        mock.patch.object(torch.inference_mode, "__enter__", _enter),
        mock.patch.object(torch.inference_mode, "__exit__", _leave),
        mock.patch.object(optimizer, "_get_fused_kernels_supported_devices", return_value=known),
        _Literals(),
        _Mode(),
    ):
        yield DEVICE


def _enter(context: Any) -> None:
    context.before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)


def _leave(context: Any, *_: object) -> None:
    torch.set_grad_enabled(context.before)
