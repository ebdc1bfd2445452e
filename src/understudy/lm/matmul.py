"""Linear layers on a CPU through oneDNN, which on many processors beats the default BLAS twice.

PyTorch itself takes oneDNN for single precision only inside `torch.compile`; the operator is the
one its compiled code calls. Where it is not there, or on other devices and types, this is
`torch.nn.functional.linear`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ONEDNN: Any = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X [..., in] · weightᵀ [in, out] + bias, without autograd."""
    if _ONEDNN is None or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return F.linear(x, weight, bias)
    return _ONEDNN(x, weight, bias, "none", [], "")
