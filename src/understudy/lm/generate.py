"""Any other causal LM through its own transformers forward: slower, and never a different answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from understudy.lm.base import LMError
from understudy.lm.llama import Batch


class TransformersDecoder:
    """Feeds U·G rows through `model`, left-padded; each prompt is encoded once, then repeated.

    `adapters` opens the context a forward runs in. A model that keeps no key-value cache is an
    LMError.
    """

    def __init__(self, model: Any, adapters: Callable[[], AbstractContextManager[Any]]) -> None:
        lora = hasattr(model, "peft_config")
        accepted = inspect.signature(model.get_base_model().forward if lora else model.forward)
        if "past_key_values" not in accepted.parameters:
            raise LMError(f"{type(model).__name__} keeps no key-value cache; it cannot be sampled")
        self._model = model
        self._adapters = adapters
        self._positioned = "position_ids" in accepted.parameters

    @torch.no_grad()
    def prefill(self, prompts: Sequence[Sequence[int]], copies: int, max_tokens: int) -> Tensor:
        """Logits [U·G, V] of the first token after each prompt, copies fastest."""
        del max_tokens  # the cache grows by itself
        device, longest = self._model.device, max(map(len, prompts))
        ids = torch.tensor([[*[0] * (longest - len(p)), *p] for p in prompts], device=device)
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        self._mask = (torch.arange(longest, device=device) >= longest - lengths[:, None]).long()
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        self._cache: Any = None
        logits = self._forward(ids, positions)
        self._cache.batch_repeat_interleave(copies)
        self._mask = self._mask.repeat_interleave(copies, 0)
        self._next = lengths.repeat_interleave(copies)[:, None]
        self._copies = copies
        return logits.repeat_interleave(copies, 0)

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Logits [U·G, V] after one more token [U·G] per row."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        logits = self._forward(tokens[:, None], self._next)
        self._next = self._next + 1
        return logits

    def keep(self, prompts: Sequence[int]) -> None:
        """Forgets all prompts but these, with their rows."""
        places = torch.tensor(prompts, device=self._next.device)
        copies = torch.arange(self._copies, device=self._next.device)
        rows = (places[:, None] * self._copies + copies).flatten()
        self._cache.batch_select_indices(rows)
        self._mask, self._next = self._mask[rows], self._next[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        placed = {"position_ids": positions} if self._positioned else {}
        with self._adapters():
            output = self._model(
                input_ids=ids,
                attention_mask=self._mask,
                past_key_values=self._cache,
                use_cache=True,
                **placed,
            )
        self._cache = output.past_key_values
        return output.logits[:, -1]


def completion_logits(model: Any, batch: Batch) -> Tensor:
    """Logits [B, L, V] that predict each token of the completions; prompts are repeated."""
    rows = [
        [*batch.prompts[u, : batch.prompt_lengths[u]].tolist(), *completion]
        for u, completion in zip(batch.owners.tolist(), batch.completions.tolist(), strict=True)
    ]
    longest = max(map(len, rows))
    device = batch.prompts.device
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = torch.arange(longest, device=device) < lengths[:, None]
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    start = batch.prompt_lengths[batch.owners] - 1
    places = start[:, None] + torch.arange(batch.completions.shape[1], device=device)
    return logits[torch.arange(len(rows), device=device)[:, None], places]


@contextmanager
def checkpointed(model: Any) -> Generator[None]:
    """A forward pass within keeps each block's inputs alone for its gradient.

    The blocks of transformers do so in training mode; nothing else is put in it, as dropout stays off.

    Raises:
        LMError: the model has no such blocks.
    """
    blocks = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not blocks:
        raise LMError(f"compute.checkpointing: {type(model).__name__} has no blocks to checkpoint")
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    for block in blocks:
        block.training, block.gradient_checkpointing = True, True
        block.__dict__["_gradient_checkpointing_func"] = again
    try:
        yield
    finally:
        for block in blocks:
            block.training, block.gradient_checkpointing = False, False
