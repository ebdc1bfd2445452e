"""A language model in this process: sampled, scored and trained with the same weights."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from understudy import ops
from understudy.lm.base import Completion, LMError, React, Sampling
from understudy.lm.codec import TokenizerCodec
from understudy.lm.compute import ComputeConfig
from understudy.lm.decoder import LlamaDecoder, fold
from understudy.lm.generate import TransformersDecoder, checkpointed, completion_logits
from understudy.lm.llama import Batch, completion_hidden, packed_hidden, why_not
from understudy.lm.lora import add_lora, effective, load_lora, merged
from understudy.lm.matmul import linear
from understudy.lm.packed import Packed, pack
from understudy.lm.sampler import Decoder, Job, TokenMasker, generate
from understudy.types import Message


class LocalLM:
    """A causal transformers model as `TokenLM`, `TrainableLM` and `Codec`.

    Llama, Qwen2 and Mistral run on an own engine that encodes a prompt once for all its
    completions; any other architecture runs through its transformers forward. Dropout is off.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._model: Any = model.to(device=device, dtype=dtype).eval()
        self._tokenizer = tokenizer
        self._lora = hasattr(model, "peft_config")
        causal: Any = self._model.get_base_model() if self._lora else self._model
        self._causal = causal
        self._adapter = True
        self._frozen = False
        self._compute = ComputeConfig()
        self.slow_because = why_not(causal)
        """Why the own engine cannot run this model; None when it does."""
        self._context: int | None = getattr(causal.config, "max_position_embeddings", None)
        self._codec = TokenizerCodec(tokenizer, _eos_ids(causal, tokenizer))

    @classmethod
    def load(
        cls,
        path_or_name: str | Path,
        *,
        adapter: str | Path | None = None,
        lora_rank: int | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
    ) -> Self:
        """A model from a Hugging Face folder or by its name on the hub; safetensors only.

        `adapter` is a folder with a saved LoRA adapter, which goes on being trained; `lora_rank`
        puts a fresh one on.

        Raises:
            LMError: the folder or name cannot be loaded, or both adapter options are given.
        """
        if adapter is not None and lora_rank is not None:
            raise LMError("give an adapter or a lora_rank, not both")
        local = Path(path_or_name).is_dir()
        if not local and (isinstance(path_or_name, Path) or path_or_name[:1] in "/.~"):
            raise LMError(f"no model folder {path_or_name}")
        options: dict[str, Any] = {
            "local_files_only": local,
            "revision": revision,
            "trust_remote_code": False,
        }
        name = str(path_or_name)
        bars = no_progress_bars() if local else nullcontext()
        try:
            with bars:
                tokenizer = AutoTokenizer.from_pretrained(name, **options)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    name, dtype=dtype, use_safetensors=True, **options
                )
        except (OSError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise LMError(f"cannot load model {name}: {reason[:300]}") from error
        if adapter is not None:
            model = load_lora(model, adapter)
        elif lora_rank is not None:
            model = add_lora(model, lora_rank)
        return cls(model, tokenizer, device=device, dtype=dtype)

    @property
    def model(self) -> Any:
        """The transformers model (a peft model under LoRA)."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        return self._tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._causal.get_input_embeddings().weight.device

    @property
    def vocabulary_size(self) -> int:
        """V, the width of the model's logits."""
        return self._causal.config.vocab_size

    @property
    def has_adapter(self) -> bool:
        """Whether a LoRA adapter is trained instead of the weights."""
        return self._lora

    @property
    def compute(self) -> ComputeConfig:
        """How it computes; may be set.

        Raises:
            LMError: packed, and the own engine cannot run this model.
        """
        return self._compute

    @compute.setter
    def compute(self, compute: ComputeConfig) -> None:
        if compute.packed and self.slow_because is not None:
            raise LMError(
                f"compute.packed: this model runs through transformers ({self.slow_because})"
            )
        self._compute = compute

    # --- Codec ---

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._codec.eos_ids

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`; no token is added. Text never becomes a control token."""
        return self._codec.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens left out."""
        return self._codec.decode(ids)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation, ending where the assistant's answer begins (or goes on)."""
        return self._codec.prompt_ids(messages)

    # --- TokenLM ---

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        copies: int = 1,
        triggers: tuple[str, ...] = (),
        react: React | None = None,
        row_keys: Sequence[int] | None = None,
        masker: TokenMasker | None = None,
    ) -> list[list[Completion]]:
        """`copies` completions [U][G] of each prompt; see `sampler.generate` for the details.

        A completion ends where the model's context ends. On Llama, the weights are copied for the
        length of the call.

        Raises:
            LMError: a prompt is empty or fills the context, or the options make no sense.
        """
        job = self.job(prompts, sampling, copies, triggers, react, row_keys, masker)
        if not prompts:
            return []
        with self._autocast():
            return generate(self._decoder(), job)

    def job(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        copies: int = 1,
        triggers: tuple[str, ...] = (),
        react: React | None = None,
        row_keys: Sequence[int] | None = None,
        masker: TokenMasker | None = None,
    ) -> Job:
        """What `sample` is asked for, whoever draws the tokens.

        Raises:
            LMError: as `sample`.
        """
        return Job(
            prompts=prompts,
            copies=copies,
            limits=[self._limit(u, p, sampling.max_tokens) for u, p in enumerate(prompts)],
            sampling=sampling,
            texts=self._codec,
            triggers=triggers,
            react=react,
            row_keys=row_keys,
            masker=masker,
        )

    def logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """Log-probabilities [B, L] of completions [U][G] ragged, rows in order, right-padded with 0.

        Differentiable, unless this is a reference.

        Raises:
            LMError: prompts and completions do not match, a prompt is empty, or temperature <= 0.
        """
        if temperature <= 0:
            raise LMError(f"temperature must be positive to score tokens, got {temperature}")
        if len(prompts) != len(completions):
            raise LMError(f"{len(prompts)} prompts but completions of {len(completions)}")
        rows = [row for group in completions for row in group]
        longest = max(map(len, rows), default=0)
        if not longest:
            return torch.zeros(len(rows), 0, device=self.device)
        for u, prompt in enumerate(prompts):
            self._limit(u, prompt, 1)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        real = torch.arange(longest, device=self.device) < lengths[:, None]
        grad = torch.is_grad_enabled() and not self._frozen
        if self._compute.packed:
            with torch.set_grad_enabled(grad):
                flat = self._packed_logprobs(pack(prompts, completions, self.device), temperature)
                return flat.new_zeros(real.shape).masked_scatter(real, flat)
        batch = Batch(
            prompts=self._pad(prompts),
            prompt_lengths=torch.tensor([len(p) for p in prompts], device=self.device),
            owners=torch.tensor(
                [u for u, group in enumerate(completions) for _ in group], device=self.device
            ),
            completions=self._pad(rows),
        )
        with torch.set_grad_enabled(grad):
            scores = self._token_logprobs(batch, temperature)
        return scores.masked_fill(~real, 0.0)

    # --- TrainableLM ---

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that are trained (the adapter's only, under LoRA)."""
        if not self._frozen:
            yield from (p for p in self._model.parameters() if p.requires_grad)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All weights as those of the plain model, by its names; an adapter is merged.

        Tied weights come under each of their names.
        """
        return merged(self._causal, adapter=self._adapter)

    def reference(self) -> LocalLM:
        """The model as it is now, frozen; under LoRA the same model with the adapter off."""
        twin = copy.copy(self)
        twin._frozen = True
        if self._lora:
            twin._adapter = False
        else:
            twin._model = twin._causal = copy.deepcopy(self._model).requires_grad_(False)
        return twin

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face folder that `AutoModelForCausalLM` loads; an adapter is merged."""
        model = self._model
        if self._lora:
            whole = copy.deepcopy(model)
            model = whole.merge_and_unload() if self._adapter else whole.unload()
        with no_progress_bars():
            model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def save_adapter(self, folder: Path) -> None:
        """Writes the LoRA adapter alone, for `load(…, adapter=folder)`.

        Raises:
            LMError: there is no adapter.
        """
        if not self._lora:
            raise LMError("this model has no LoRA adapter to save")
        self._model.save_pretrained(folder)

    # --- inside ---

    def _decoder(self) -> Decoder:
        if self.slow_because is None:
            dtype = torch.bfloat16 if self._half else None
            return LlamaDecoder(fold(self._causal, adapter=self._adapter, dtype=dtype))
        return TransformersDecoder(self._model, self._adapters)

    def _adapters(self) -> AbstractContextManager[Any]:
        off = self._lora and not self._adapter
        return self._model.disable_adapter() if off else nullcontext()

    def _token_logprobs(self, batch: Batch, temperature: float) -> Tensor:
        options = {"adapter": self._adapter, "checkpointing": self._compute.checkpointing}
        if self.slow_because is None:
            with self._autocast():
                hidden = completion_hidden(self._causal, batch, **options)
            return self._scored(hidden, batch.completions, temperature)
        saving = checkpointed(self._causal) if self._compute.checkpointing else nullcontext()
        with self._adapters(), self._autocast(), saving:
            logits = completion_logits(self._model, batch)
        return ops.selective_log_softmax(logits.float() / temperature, batch.completions)

    def _packed_logprobs(self, packed: Packed, temperature: float) -> Tensor:
        options = {"adapter": self._adapter, "checkpointing": self._compute.checkpointing}
        with self._autocast():
            hidden = packed_hidden(self._causal, packed, **options)
        return self._scored(hidden, packed.predicted, temperature)

    def _scored(self, hidden: Tensor, ids: Tensor, temperature: float) -> Tensor:
        weight, bias = effective(self._causal.lm_head, adapter=self._adapter)
        if self._half:
            # By hand: where logits are made in parts, they are made again without autocast.
            hidden, weight = hidden.bfloat16(), weight.bfloat16()
            bias = None if bias is None else bias.bfloat16()
        return ops.token_logprobs(
            hidden, weight, ids, temperature=temperature, bias_V=bias, product=linear
        )

    @property
    def _half(self) -> bool:
        return self._compute.precision == "bfloat16"

    def _autocast(self) -> AbstractContextManager[Any]:
        """Matrix products and attention in bfloat16 over float32 weights, where that is chosen."""
        kind = self.device.type
        return torch.autocast(kind, torch.bfloat16) if self._half else nullcontext()

    def _limit(self, index: int, prompt: Sequence[int], wanted: int) -> int:
        """How many tokens may follow a prompt."""
        if not prompt:
            raise LMError(f"prompt {index} is empty")
        if self._context is None:
            return wanted
        if len(prompt) >= self._context:
            raise LMError(
                f"prompt {index} has {len(prompt)} tokens; the model's context is {self._context}"
            )
        return min(wanted, self._context - len(prompt))

    def _pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return ops.pad_ragged(rows, 0, dtype=torch.long)[0].to(self.device)


@contextmanager
def no_progress_bars() -> Generator[None]:
    """Reading and writing a local folder is quick; only a download deserves a bar."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    found = [tokenizer.eos_token_id, model.config.eos_token_id]
    found.append(getattr(model.generation_config, "eos_token_id", None))
    flat = [i for ids in found for i in (ids if isinstance(ids, list) else [ids])]
    return frozenset(i for i in flat if i is not None)
