"""vLLM's engine in this process, for whoever asks it or draws by it; its errors are one line."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from understudy.lm.base import LMError

_ENVIRONMENT = {
    # In this process: weights are handed over as tensors, functions as functions.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
}


def vllm_or_error(who: str) -> Any:
    """The module, told how to behave.

    Args:
        who: needs it, for the error.

    Raises:
        LMError: it is not installed.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        import vllm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise LMError(
            f'{who} needs vLLM, on Linux with a GPU: pip install "understudy[vllm]"'
        ) from error
    return vllm


@contextmanager
def opening(vllm: Any) -> Generator[None]:
    """An LMError for what vLLM raises where it cannot run a model."""
    try:
        yield
    except (RuntimeError, OSError, *_refusals(vllm)) as error:
        raise LMError(f"vLLM cannot run the model: {_line(error)}") from error


@contextmanager
def asking(vllm: Any) -> Generator[None]:
    """An LMError for what vLLM refuses to do; an error in its midst stays what it is."""
    try:
        yield
    except _refusals(vllm) as error:
        raise LMError(f"vLLM refuses to sample: {_line(error)}") from error


def _refusals(vllm: Any) -> tuple[type[Exception], ...]:
    """What vLLM raises for what it cannot do: newer versions a class of their own."""
    return ValueError, getattr(getattr(vllm, "exceptions", None), "VLLMError", ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
