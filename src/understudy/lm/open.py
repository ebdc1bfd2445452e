"""From the string that names a language model to the model."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import torch

from understudy.lm.base import ChatLM, ChoiceLM, LMError
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.endpoint import OPENAI_URL, EndpointLM
from understudy.lm.ledger import Ledger, read_prices
from understudy.lm.local import LocalLM
from understudy.lm.replay import CachedChoiceLM, CachedLM, ReplayLM, open_replay
from understudy.lm.spec import LMSpec, parse_spec
from understudy.lm.vllm_chat import VllmChat


def open_lm(
    text: str,
    *,
    run_folder: Path | None = None,
    max_usd: float | None = None,
    max_tokens: int | None = None,
    prices: Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ChatLM:
    """The model that answers; every call goes through a cache and a ledger.

    Args:
        text: `pocket`, `hf:NAME`, `openai:MODEL`, `http://host:port/v1#MODEL`, `vllm:NAME` or
            `replay:FILE`; see `spec.FORMS`.
        run_folder: Gets `lm/cache.sqlite` and `lm/ledger.json`; without it they are in memory.
        max_usd: No call is made that could bring the money spent above this.
        max_tokens: The same for tokens.
        prices: A table of prices that goes before the bundled one.
        device: Where a local model's weights go.
        dtype: Their number type.

    Raises:
        LMError: The string is no model, or the model cannot be opened. Nothing is downloaded or
            spent for a string that is none.
    """
    spec = parse_spec(text)
    if spec.file is not None:
        return open_replay(spec.file, spec.name or None)
    table = read_prices(prices)
    inner = None
    if spec.has_weights:
        inner = LocalChat(*_load(spec, None, device, dtype))
    elif spec.kind == "vllm":
        inner = VllmChat(spec.name)
    folder = None if run_folder is None else run_folder / "lm"
    cache = Cache(folder and folder / "cache.sqlite")
    try:
        ledger = Ledger(
            cache,
            prices=table,
            max_usd=max_usd,
            max_tokens=max_tokens,
            export=folder and folder / "ledger.json",
        )
        if isinstance(inner, LocalChat):
            return CachedChoiceLM(inner, cache, ledger)
        if inner is not None:
            return CachedLM(inner, cache, ledger)
        return EndpointLM(spec.url or OPENAI_URL, spec.name, cache=cache, ledger=ledger)
    except BaseException:
        cache.close()
        raise


@contextmanager
def opened(
    text: str,
    *,
    run_folder: Path | None = None,
    max_usd: float | None = None,
    device: str | torch.device = "cpu",
) -> Generator[ChatLM]:
    """`open_lm` for the length of a block; then its connections, books and files are closed."""
    lm = open_lm(text, run_folder=run_folder, max_usd=max_usd, device=device)
    try:
        yield lm
    finally:
        if isinstance(lm, (EndpointLM, ReplayLM)):
            lm.close()
        if isinstance(lm, (CachedLM, CachedChoiceLM)):
            lm.ledger.export()
        if isinstance(lm, (CachedLM, CachedChoiceLM, EndpointLM)):
            lm.cache.close()


def can_steer(lm: ChatLM) -> bool:
    """Whether requests may have a `Steer`: a model in this process, or a recording of one."""
    return lm.has_steered() if isinstance(lm, ReplayLM) else isinstance(lm, ChoiceLM)


def open_token_lm(
    text: str,
    *,
    lora_rank: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LocalLM:
    """The model whose weights can be trained.

    Args:
        text: `pocket` or `hf:NAME_OR_PATH[@REVISION][+adapter=PATH]`.
        lora_rank: Puts a fresh LoRA adapter of this rank on.
        device: Where the weights go.
        dtype: Their number type.

    Raises:
        LMError: The string is no model or one without weights, or the model cannot be loaded.
    """
    spec = parse_spec(text)
    if not spec.has_weights:
        raise LMError(
            f"training needs weights, and {text} gives none; use pocket or hf:NAME_OR_PATH"
        )
    return _load(spec, lora_rank, device, dtype)[0]


def _load(
    spec: LMSpec, lora_rank: int | None, device: str | torch.device, dtype: torch.dtype
) -> tuple[LocalLM, str]:
    """A local model, and its name with what makes its weights these and no others."""
    where = pocket_folder() if spec.kind == "pocket" else spec.name
    lm = LocalLM.load(
        where,
        adapter=spec.adapter,
        lora_rank=lora_rank,
        device=device,
        dtype=dtype,
        revision=spec.revision,
    )
    name = "pocket" if spec.kind == "pocket" else f"hf:{spec.name}"
    folder = Path(where)
    commit = getattr(lm.model.config, "_commit_hash", None) or spec.revision or "main"
    name += f"@{_digest(folder) if folder.is_dir() else commit}"
    return lm, name if spec.adapter is None else f"{name}+adapter={_digest(spec.adapter)}"


def pocket_folder() -> Path:
    """Where the bundled model is.

    Raises:
        LMError: it is missing.
    """
    folder = Path(str(resources.files("understudy.lm").joinpath("pocket")))
    if not (folder / "config.json").is_file():
        raise LMError(f"the bundled model is missing: no {folder}; name one with hf:NAME_OR_PATH")
    return folder


def _digest(folder: Path) -> str:
    """Of all weights in a folder: a trained checkpoint often has the path of the one before."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]
