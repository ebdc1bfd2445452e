"""From an `--lm` string to a language model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from understudy.lm.base import ChatLM, LMError
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.endpoint import OPENAI_URL, EndpointLM
from understudy.lm.ledger import Ledger
from understudy.lm.local import LocalLM
from understudy.lm.replay import CachedChoiceLM, ReplayLM
from understudy.lm.spec import LMSpec, parse_spec


def pocket_folder() -> Path:
    """The bundled model's Hugging Face folder.

    Raises:
        LMError: this installation has no bundled model.
    """
    folder = Path(str(files("understudy.lm") / "pocket"))
    if not (folder / "model.safetensors").is_file():
        raise LMError(
            f"no bundled model in {folder}; make one: understudy policy pretrain --config recipes/pocket.toml"
        )
    return folder


def open_token_lm(text: str, *, lora_rank: int | None = None, device: str = "cpu") -> LocalLM:
    """A model whose tokens can be sampled, scored and trained.

    Raises:
        LMError: a malformed string, a model that cannot be loaded, or one without weights here.
    """
    spec = parse_spec(text)
    if not spec.local:
        raise LMError(
            f"{text}: its weights are not in this process, and here they are needed; use pocket or hf:NAME_OR_PATH"
        )
    return _local(spec, lora_rank=lora_rank, device=device)


def open_lm(
    text: str,
    *,
    run_folder: Path | None = None,
    max_usd: float | None = None,
    max_tokens: int | None = None,
) -> ChatLM:
    """A model that answers messages, behind the cache and the ledger of a run.

    Args:
        text: the LM string.
        run_folder: the run whose `lm/` holds the cache and the ledger; in memory without one.
        max_usd: no call is made that could pass this.
        max_tokens: the same in tokens, prompt and answer.

    Raises:
        LMError: a malformed string, a missing key, file or model.
    """
    spec = parse_spec(text)
    if spec.kind == "replay":
        return ReplayLM(Path(spec.name))
    if spec.kind == "vllm":
        raise LMError(
            f"{text}: in-process vLLM is not in this version; start its server and use http://127.0.0.1:8000/v1#{spec.name}"
        )
    cache = Cache(run_folder / "lm" / "cache.sqlite" if run_folder else None)
    export = run_folder / "lm" / "ledger.json" if run_folder else None
    ledger = Ledger(cache, max_usd=max_usd, max_tokens=max_tokens, export=export)
    if spec.local:
        return CachedChoiceLM(LocalChat(_local(spec), name=text), cache, ledger)
    url = OPENAI_URL if spec.kind == "openai" else spec.url
    return EndpointLM(url, spec.name, cache=cache, ledger=ledger)


def check_lm(text: str, *, max_usd: float | None = None) -> None:
    """Opens a model and leaves nothing of it, for an error before there is a run directory.

    Raises:
        LMError: as `open_lm`.
    """
    lm = open_lm(text, max_usd=max_usd)
    if isinstance(lm, (EndpointLM, ReplayLM)):
        lm.close()


def _local(spec: LMSpec, *, lora_rank: int | None = None, device: str = "cpu") -> LocalLM:
    path = pocket_folder() if spec.kind == "pocket" else spec.name
    return LocalLM.load(
        path, adapter=spec.adapter, lora_rank=lora_rank, revision=spec.revision, device=device
    )
