"""Where tensors are computed: `run.device`, one setting for all roles."""

from __future__ import annotations

import torch

from understudy.run.errors import ConfigError


def device_of(name: str) -> torch.device:
    """The device that `run.device` names.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, or `auto`: cuda where there is one, else the CPU.

    Raises:
        ConfigError: CUDA is asked for, and there is none or not so many.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if found else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= found:
        there = f"devices 0 to {found - 1} alone" if found else "none"
        raise ConfigError(
            f"run.device: {name} is asked for and torch {torch.__version__} finds {there}; "
            "use --run.device cpu"
        )
    return device
