"""A tiny Llama with random weights and a character tokenizer, made in milliseconds, for tests."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from understudy.lm.local import LocalLM
from understudy.lm.lora import add_lora

SPECIAL = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
UNKNOWN = "<|unknown|>"
ASCII = "\n" + "".join(map(chr, range(32, 127)))
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def char_tokenizer(characters: str = ASCII) -> PreTrainedTokenizerFast:
    """One token per character, four control tokens, and a chat template that uses them."""
    words = (UNKNOWN, *SPECIAL, *characters)
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in (UNKNOWN, *SPECIAL)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=list(SPECIAL[:3]),
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    seed: int = 0,
    *,
    characters: str = ASCII,
    hidden: int = 32,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    context: int = 512,
    lora_rank: int | None = None,
    **config: Any,
) -> LocalLM:
    """A random Llama over characters. `config` goes to `LlamaConfig`."""
    tokenizer = char_tokenizer(characters)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        **config,
    }
    model = LlamaForCausalLM(LlamaConfig(**settings))
    randomize(model, seed)
    return LocalLM(model if lora_rank is None else add_lora(model, lora_rank), tokenizer)


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: int, scale: float = 0.2) -> None:
    """Normal weights of standard deviation `scale`; gains around one, so that none is trivial."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator) * scale
        parameter.copy_(noise if parameter.ndim > 1 else 1 + noise)
