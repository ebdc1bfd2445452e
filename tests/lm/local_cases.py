"""Models and prompts that the tests of the local model share."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from understudy.lm.base import Completion, Sampling
from understudy.lm.fake import char_tokenizer, randomize, tiny_model
from understudy.lm.local import LocalLM

PROMPTS = ("What is 2 + 3?", "x", "A much longer prompt than the others, for padding.")


def llama(**options) -> LocalLM:
    return tiny_model(1, **options)


def llama3_rope() -> LocalLM:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 100.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    return tiny_model(2, rope_parameters=rope)


def yarn_rope() -> LocalLM:
    rope = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0}
    rope["original_max_position_embeddings"] = 16
    return tiny_model(2, rope_parameters=rope)


def tied_and_biased() -> LocalLM:
    return tiny_model(3, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=12)


def qwen2() -> LocalLM:
    tokenizer = char_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    randomize(model, 4)
    return LocalLM(model, tokenizer)


def lora() -> LocalLM:
    lm = tiny_model(5, lora_rank=4)
    stir(lm)
    return lm


def dynamic_rope() -> LocalLM:
    """Not covered by the own engine."""
    return tiny_model(6, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})


def gpt2() -> LocalLM:
    """Not covered by the own engine."""
    tokenizer = char_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=256,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    randomize(model, 7)
    return LocalLM(model, tokenizer)


OWN = (llama, llama3_rope, yarn_rope, tied_and_biased, qwen2, lora)
SLOW = (dynamic_rope, gpt2)


@torch.no_grad()
def stir(lm: LocalLM) -> None:
    """Moves the trained parameters away from where they start."""
    generator = torch.Generator().manual_seed(9)
    for parameter in lm.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def prompts(lm: LocalLM) -> list[list[int]]:
    return [lm.encode(text) for text in PROMPTS]


def sampled(lm: LocalLM, sampling: Sampling, **options) -> list[list[Completion]]:
    return lm.sample(prompts(lm), sampling, **options)


def tokens(groups: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[c.ids for c in group] for group in groups]


def recorded(groups: list[list[Completion]], length: int) -> torch.Tensor:
    """Recorded log-probabilities [B, length], right-padded with 0."""
    rows = [list(c.logprobs) for group in groups for c in group]
    return torch.tensor([row + [0.0] * (length - len(row)) for row in rows])


def plain_logprobs(lm: LocalLM, prompt: list[int], ids: tuple[int, ...], temperature: float = 1.0):
    """Log-probabilities of one completion by transformers' own forward, one row, no padding."""
    logits = lm.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)[range(len(ids)), list(ids)]
