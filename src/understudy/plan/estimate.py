"""What a run will ask of a language model and of memory, before it is begun."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from understudy.lm.base import LMError, Reply, Request, Unparsed
from understudy.lm.ledger import read_prices
from understudy.lm.spec import LMSpec, parse_spec
from understudy.types import Message, Usage

CHARS_PER_TOKEN = 3.0
"""Of prose, numbers and JSON together, on the safe side of the 4 of prose."""
TEMPLATE = 4
"""Tokens that a message has around its text."""
FLOAT = 4
"""Bytes of a number: weights are trained and kept in float32."""
HALF = 2
"""The same in bfloat16."""


@dataclass(frozen=True)
class Body:
    """What of a Llama-like model its size follows from."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    """Width of a head."""
    feed_forward: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding."""

    @property
    def block(self) -> int:
        """Numbers in the linear layers of one block: q, k, v, o, and three of the feed-forward."""
        attention = 2 * self.hidden * self.head * (self.heads + self.kv_heads)
        return attention + 3 * self.hidden * self.feed_forward

    @property
    def parameters(self) -> int:
        """All numbers: embeddings, blocks with two norms, the last norm."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * (self.block + 2 * self.hidden) + self.hidden

    def adapter(self, rank: int) -> int:
        """Numbers of LoRA adapters on every linear layer of the blocks: (in + out) × rank each."""
        wide, narrow = self.heads * self.head, self.kv_heads * self.head
        ends = 2 * (self.hidden + wide) + 2 * (self.hidden + narrow)
        return self.layers * rank * (ends + 3 * (self.hidden + self.feed_forward))

    def cache(self, tokens: int, *, half: bool = False) -> int:
        """Bytes of the keys and values of so many tokens."""
        size = HALF if half else FLOAT
        return 2 * self.layers * self.kv_heads * self.head * tokens * size

    def activations(self, tokens: int, *, half: bool = False, checkpointing: bool = False) -> int:
        """Bytes kept for the gradient of so many tokens: a block's in- and outputs, and the logits.

        Per token and block 8 vectors of the model's width, 4 of the feed-forward's and 4 of the heads';
        the logits, their log-probabilities and the gradient of both. In half precision the sums over
        blocks and what the norms keep, 6 vectors of the model's width, stay whole. Checkpointed: one
        block's, and one vector for each.
        """
        others = 4 * self.feed_forward + 4 * self.heads * self.head
        block = FLOAT * (8 * self.hidden + others)
        if half:
            block = FLOAT * 6 * self.hidden + HALF * (4 * self.hidden + others)
        blocks = self.layers * block
        if checkpointing:
            blocks = block + self.layers * FLOAT * self.hidden
        return tokens * (blocks + FLOAT * 4 * self.vocabulary)


@dataclass(frozen=True)
class Estimate:
    """What a run takes, every answer being as long as it may be."""

    lm: str | None
    """Who is asked; None for nobody."""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    """None where the price is not known; 0 for a model that runs in this process."""
    memory: Mapping[str, int] = field(default_factory=dict[str, int])
    """Bytes, by what they are for."""
    notes: Sequence[str] = ()
    steps: int = 0
    """Environment steps; 0 where that is not what is counted."""
    updates: int = 0
    """Optimizer steps; 0 where that is not what is counted."""

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.completion_tokens


def priced(
    lm: str, calls: int, prompt_tokens: int, completion_tokens: int, **more: Any
) -> Estimate:
    """An estimate with the money that its tokens cost."""
    spec, price = parse_spec(lm), None
    if spec.has_weights or spec.kind in ("vllm", "replay"):
        usd = 0.0
    else:
        prices = read_prices()
        near = [name for name in prices if spec.name.startswith(name)]
        price = prices[max(near, key=len)] if near else None
        usd = None if price is None else price.picousd(prompt_tokens, completion_tokens) / 1e12
    return Estimate(lm, calls, prompt_tokens, completion_tokens, usd, **more)


def body_of(lm: str) -> Body | None:
    """The body of a model that runs in this process, from its folder; None where that is not here.

    Raises:
        LMError: its configuration cannot be read.
    """
    spec = parse_spec(lm)
    text = _config(spec)
    if text is None:
        return None
    try:
        found = json.loads(text)
        hidden, heads = found["hidden_size"], found["num_attention_heads"]
        return Body(
            hidden=hidden, layers=found["num_hidden_layers"], heads=heads,
            kv_heads=found.get("num_key_value_heads") or heads,
            head=found.get("head_dim") or hidden // heads,
            feed_forward=found["intermediate_size"], vocabulary=found["vocab_size"],
            tied=bool(found.get("tie_word_embeddings", False)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise LMError(
            f"{lm}: its config.json is not that of a Llama-like model: {error}"
        ) from error


def _config(spec: LMSpec) -> str | None:
    folder = _folder(spec)
    file = folder / "config.json" if folder is not None else None
    return file.read_text("utf-8") if file is not None and file.is_file() else None


def _folder(spec: LMSpec) -> Path | None:
    if spec.kind == "pocket":
        return Path(str(resources.files("understudy.lm").joinpath("pocket")))
    return Path(spec.name) if spec.kind == "hf" else None


@cache
def _vocabulary(lm: str) -> Tokenizer | None:
    """That of a model whose folder is here."""
    folder = _folder(parse_spec(lm))
    file = folder / "tokenizer.json" if folder is not None else None
    return Tokenizer.from_file(str(file)) if file is not None and file.is_file() else None


def tokens_of(lm: str, messages: Sequence[Message]) -> int:
    """How many tokens a question has: counted where the vocabulary is here, else by its length."""
    vocabulary = _vocabulary(lm)
    if vocabulary is None:
        return sum(TEMPLATE + round(len(m.content) / CHARS_PER_TOKEN) for m in messages)
    return sum(TEMPLATE + len(vocabulary.encode(m.content).ids) for m in messages)


class Silent:
    """Stands in for a language model in a rehearsal: counts what it is asked, and says nothing usable."""

    def __init__(self, lm: str) -> None:
        """`lm` is whom it stands for."""
        self.name, self.calls, self.prompt_tokens, self.completion_tokens = lm, 0, 0, 0

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Every answer is as long as it may be."""
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        read, written = tokens_of(self.name, request.messages), request.sampling.max_tokens
        self.calls += 1
        self.prompt_tokens += read
        self.completion_tokens += written
        usage = Usage(calls=1, prompt_tokens=read, completion_tokens=written)
        return Reply("", Unparsed("", "a rehearsal"), usage=usage)
