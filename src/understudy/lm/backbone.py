"""Bodies of language models without their words: embeddings in, hidden states out.

A body is made fresh (Llama, GPT-2, GPT-NeoX, Mamba, Mamba-2) or loaded with its weights: the bundled
model, or any Hugging Face decoder by folder or name. Its word embeddings are dropped unless asked
for. Dropout is off, whatever the mode.

Attention bodies are pure functions: keys and values come in and go out, nothing is kept or changed in
place. State-space bodies are handed out as weights; what scans them is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    GPT2Config,
    GPT2Model,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaModel,
    Mamba2Config,
    Mamba2Model,
    MambaConfig,
    MambaModel,
)
from transformers.cache_utils import Cache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from understudy.lm.base import LMError
from understudy.lm.local import no_progress_bars
from understudy.lm.lora import inject_lora
from understudy.lm.open import pocket_folder
from understudy.lm.spec import parse_spec

Fresh = Literal["llama", "gpt2", "gpt_neox", "mamba", "mamba2"]
Training = Literal["full", "frozen", "lora"]
KeyValues = list[tuple[Tensor, Tensor]]
"""Keys and values [B, heads, length, d] of every layer."""

STATE_SPACE = ("mamba", "mamba2")
ROTARY_LIMIT = 4096
LORA_TARGETS: dict[str, str | list[str]] = {
    "mamba": ["in_proj", "x_proj"],  # the rest is read as raw weights, past any adapter
    "mamba2": ["in_proj"],
}


class Body(nn.Module):
    """The layers of a language model between its embeddings and its output layer."""

    def __init__(self, model: Any, *, loaded: bool, keep_embedding: bool = False) -> None:
        """Takes a transformers base model; `loaded` says whether its weights were trained.

        Raises:
            LMError: its attention cannot be given a past.
        """
        super().__init__()
        config = model.config
        table = model.get_input_embeddings()
        self.kind: str = config.model_type
        self.width: int = config.hidden_size
        self.layers: int = config.num_hidden_layers
        self.state_space = self.kind in STATE_SPACE
        self.positions: int | None = _learned_positions(model)
        """How many positions have an embedding of their own; None where they are rotations."""
        self.sliding: int | None = _sliding(config)
        """How many inputs the layers with the shortest windows see; None where all see all."""
        natural = loaded or self.positions is not None
        self.scale = float(table.weight.detach().square().mean().sqrt()) if natural else 1.0
        """Root mean square of the inputs this body is used to."""
        self.embedding: nn.Embedding | None = table if keep_embedding else None
        model.set_input_embeddings(nn.Identity())
        self.model = model
        self.train(False)
        self.cached: list[tuple[torch.Size, torch.Size]] = [] if self.state_space else self._tried()
        """Of every attention layer, the shape of one input's keys and values: [1, heads, 1, d]."""

    @torch.no_grad()
    def _tried(self) -> list[tuple[torch.Size, torch.Size]]:
        """Two inputs, one after the other: whether the layers keep their past as others do."""
        x, place = torch.zeros(1, 1, self.width), torch.zeros(1, 1, dtype=torch.long)
        seen = torch.ones(1, 1, 2, dtype=torch.bool)
        try:
            _, past = self(x, seen[..., :1], place, [])
            self(x, seen, place + 1, past)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise LMError(f"{self.kind} keeps its past in a way of its own: {reason}") from error
        return [(keys.shape, values.shape) for keys, values in past]

    def train(self, mode: bool = True) -> Self:
        """Switches everything but the transformers model, whose dropout stays off."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(
        self, x: Tensor, visible: Tensor, positions: Tensor, past: KeyValues
    ) -> tuple[Tensor, KeyValues]:
        """Hidden states of x [B, T, width], and all keys and values, the past ones first.

        Args:
            x: [B, T, width].
            visible: [B, T, P + T] bool; whether an input attends to a past one or one of these.
            positions: [B, T] where each input stands in its own sequence.
            past: keys and values of P earlier inputs; an empty list for none.

        Raises:
            LMError: the body is a state-space model, or not all layers keep keys and values.
        """
        if self.state_space:
            raise LMError(f"a {self.kind} body has no attention; scan its layers instead")
        if self.positions is not None:
            positions = positions % self.positions
        closed = torch.finfo(x.dtype).min
        mask = torch.zeros_like(visible, dtype=x.dtype).masked_fill(~visible, closed)
        window = _Window(past)
        hidden = self.model(
            inputs_embeds=x,
            attention_mask=mask[:, None],
            position_ids=positions,
            past_key_values=window,
            use_cache=True,
        ).last_hidden_state
        if len(window.now) != self.layers:
            raise LMError(f"{self.kind} keeps {len(window.now)} caches for {self.layers} layers")
        return hidden, window.now


class _Window(Cache):
    """The cache that layers write to, made of new tensors only, so that gradients pass."""

    def __init__(self, past: KeyValues) -> None:
        super().__init__(layers=[])
        self.past = past
        self.now: KeyValues = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Past and new keys and values of one layer."""
        if self.past:
            keys, values = self.past[layer_idx]
            key_states = torch.cat([keys, key_states], dim=2)
            value_states = torch.cat([values, value_states], dim=2)
        self.now.append((key_states, value_states))
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """How many inputs came before."""
        return self.past[0][0].shape[2] if self.past else 0


def fresh_body(
    kind: Fresh,
    *,
    width: int,
    layers: int,
    heads: int = 4,
    positions: int = 128,
    state_size: int = 16,
    seed: int = 0,
) -> Body:
    """A body with random weights, which follow from `seed` alone.

    Args:
        kind: the architecture.
        width: features of inputs and outputs.
        layers: how many.
        heads: attention heads, or Mamba-2's heads; they divide the width.
        positions: GPT-2's learned positions; later ones begin again at the first.
        state_size: features of the state per channel, of the state-space kinds.
        seed: of the weights.

    Raises:
        LMError: the kind is unknown or the widths do not fit.
    """
    makers: dict[str, Callable[[], Any]] = {
        "llama": lambda: LlamaModel(_llama(width, layers, heads)),
        "gpt2": lambda: GPT2Model(_gpt2(width, layers, heads, positions)),
        "gpt_neox": lambda: GPTNeoXModel(_gpt_neox(width, layers, heads)),
        "mamba": lambda: MambaModel(_mamba(width, layers, state_size)),
        "mamba2": lambda: Mamba2Model(_mamba2(width, layers, heads, state_size)),
    }
    if kind not in makers:
        raise LMError(f"no body {kind!r}; there are {', '.join(makers)}")
    if width < 1 or layers < 1 or heads < 1 or width % heads:
        raise LMError(f"{heads} heads do not divide a body's width of {width} ({layers} layers)")
    if kind in ("llama", "gpt_neox") and width // heads % 2:
        raise LMError(f"rotations need an even width per head, got {width} / {heads}")
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        return Body(makers[kind](), loaded=False)


def load_body(
    text: str,
    *,
    random_weights: bool = False,
    keep_embedding: bool = False,
    seed: int = 0,
) -> Body:
    """The body of `pocket` or `hf:NAME_OR_PATH[@REVISION]`, in float32.

    Args:
        text: which model; safetensors only, and no code of others is run.
        random_weights: the same architecture with weights drawn from `seed`, for comparison.
        keep_embedding: keeps the table of word embeddings, as `Body.embedding`.
        seed: of the random weights.

    Raises:
        LMError: the model cannot be loaded or takes no embeddings.
    """
    spec = parse_spec(text)
    if spec.kind not in ("pocket", "hf") or spec.adapter is not None:
        raise LMError(f"no body in {text}; write pocket or hf:NAME_OR_PATH[@REVISION]")
    name = str(pocket_folder()) if spec.kind == "pocket" else spec.name
    options: dict[str, Any] = {
        "local_files_only": Path(name).is_dir(),
        "revision": spec.revision,
        "trust_remote_code": False,
    }
    bars = no_progress_bars() if options["local_files_only"] else nullcontext()
    try:
        config: Any = AutoConfig.from_pretrained(name, **options)
        if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise LMError(f"{text} is no decoder: its kind is {config.model_type}")
        with bars:
            model: Any = AutoModel.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, **options
            )
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise LMError(f"cannot load the body of {text}: {reason[:300]}") from error
    if random_weights:
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(seed)
            model = AutoModel.from_config(config)
    return Body(model, loaded=not random_weights, keep_embedding=keep_embedding)


def adapt(body: Body, training: Training, *, rank: int = 8, seed: int = 0) -> Body:
    """Says what of a body is trained: all of it, nothing, or a fresh LoRA adapter of `rank`.

    Raises:
        LMError: `training` is unknown, or LoRA is asked for and peft is not installed.
    """
    if training == "frozen":
        body.requires_grad_(False)
    elif training == "lora":
        body.requires_grad_(False)
        targets = LORA_TARGETS.get(body.kind, "all-linear")
        inject_lora(body.model, rank, targets=targets, seed=seed)
    elif training != "full":
        raise LMError(f"a body is trained full, frozen or lora, not {training!r}")
    return body


def _learned_positions(model: Any) -> int | None:
    limit = getattr(model.config, "max_position_embeddings", None)
    words = model.get_input_embeddings()
    tables = (m for m in model.modules() if isinstance(m, nn.Embedding) and m is not words)
    return limit if limit and any(table.num_embeddings >= limit for table in tables) else None


def _sliding(config: Any) -> int | None:
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window is None or (kinds is not None and "sliding_attention" not in kinds):
        return None
    return window


def _llama(width: int, layers: int, heads: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=-(-8 * width // 3 // 32) * 32,
        max_position_embeddings=ROTARY_LIMIT,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


def _gpt2(width: int, layers: int, heads: int, positions: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=1,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        n_positions=positions,
        bos_token_id=None,
        eos_token_id=None,
    )


def _gpt_neox(width: int, layers: int, heads: int) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=ROTARY_LIMIT,
        bos_token_id=None,
        eos_token_id=None,
    )


def _mamba(width: int, layers: int, state_size: int) -> MambaConfig:
    return MambaConfig(
        vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        state_size=state_size,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )


def _mamba2(width: int, layers: int, heads: int, state_size: int) -> Mamba2Config:
    return Mamba2Config(
        vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        num_heads=heads,
        head_dim=2 * width // heads,
        state_size=state_size,
        n_groups=1,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
