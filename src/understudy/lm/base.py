"""What a language model can do, as protocols by capability.

A role asks for the least it needs: a `ChatLM` may be a paid API and needs no torch; a `TokenLM`
gives tokens with log-probabilities and can be trained; a `Backbone` maps embeddings to hidden
states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from understudy.types import Message, UnderstudyError, Usage

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from pydantic import BaseModel


class LMError(UnderstudyError):
    """Something about a language model that the user can mend; the text is one clear line."""


class BudgetExceeded(LMError):
    """The next call could pass `--max-usd` or `--max-tokens`; it was not made."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn."""

    max_tokens: int = 256
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps the whole vocabulary."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer; they are not part of it."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Regex:
    """An answer must match `pattern` as a whole."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Choices:
    """An answer must be one of `options`."""

    options: tuple[str, ...]


Schema: TypeAlias = "type[BaseModel] | Regex | Choices"


Piece = tuple[str, float]
"""A text of one token, and a log-weight or log-probability of it."""


class Rule(NamedTuple):
    """What is preferred at one place of an answer."""

    pattern: str
    """Applies where it matches the whole answer so far."""
    pieces: tuple[Piece, ...]
    """What may come next, with log-weights."""
    mean: float | None = None
    """Of the next piece read as a number: the weights are tilted by λ times that number, λ such that
    the mean is met (`understudy.ops.tilt`)."""


@dataclass(frozen=True, slots=True)
class Steer:
    """Log-weights added to the model's own on what an answer may say next.

    With weights w the next piece is drawn from p(piece) · exp(w(piece)), normalised: the nearest
    distribution to the model's, in relative entropy, of all that have its moments (Csiszár 1975).
    """

    rules: tuple[Rule, ...]
    """The first whose pattern matches has its say."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a ChatLM."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    schema: type[BaseModel] | Regex | Choices | None = None
    """The form the answer must have; the reply's `value` is then parsed and validated."""
    sample_index: int = 0
    """Distinguishes repeated samples of the same question, in the cache and in the seed."""
    repair: bool = True
    """Whether an answer without that form may be asked for once more, which is another call."""
    steer: Steer | None = None
    """Only where the backend says that it can (`LocalChat`, with a schema)."""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """An answer that did not have the asked-for form; the role counts it and falls back."""

    text: str
    reason: str


FinishReason = Literal["stop", "length", "environment", "content_filter", "error"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A ChatLM's answer."""

    text: str
    value: Any = None
    """The parsed answer when the request had a schema (model instance or str), or `Unparsed`."""
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    first: Usage | None = None
    """What it cost when it was first given, if it comes from a cache."""
    steered: tuple[tuple[Piece, ...], ...] = ()
    """For each place where `Request.steer` had a say: the model's own log-probabilities of its pieces,
    under the schema and before the weights."""

    @property
    def cost(self) -> Usage:
        """What it cost when it was first given: the same when a run that was cut off goes on."""
        return self.first or self.usage


@runtime_checkable
class ChatLM(Protocol):
    """Messages in, replies out. All requests of one call may be in flight at once."""

    @property
    def name(self) -> str:
        """Model and revision; part of the cache key."""
        ...

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in the order of `requests`."""
        ...


@runtime_checkable
class ChoiceLM(ChatLM, Protocol):
    """A ChatLM that can score answers exactly instead of sampling them."""

    def score_choices(self, request: Request, options: Sequence[str]) -> list[float]:
        """Natural-log probability of each option as the whole answer, normalised over options."""
        ...


@dataclass(frozen=True, slots=True)
class Reaction:
    """What an environment does in the middle of an action: add text, or end the episode."""

    append: str = ""
    done: bool = False


class React(Protocol):
    """Called whenever a row's text ends with one of the triggers, and when it samples an end.

    `row` counts prompts × copies, copies fastest; `text` is everything after the prompt so far.
    """

    def __call__(self, row: int, text: str, *, ended: bool) -> Reaction | None:
        """What the environment does now; None for nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """L tokens that follow a prompt. `ids` includes the end token when it was sampled."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Under the sampling distribution (temperature, top-p, grammar applied); 0.0 where forced."""
    sampled: tuple[bool, ...]
    finish_reason: FinishReason


@runtime_checkable
class TokenLM(Protocol):
    """Tokens with log-probabilities; its weights can be trained."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        copies: int = 1,
        triggers: tuple[str, ...] = (),
        react: React | None = None,
        row_keys: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        """`copies` completions of each prompt, [U][G].

        The noise of a row depends on `sampling.seed` and its row key only (default: its index),
        not on the batch it is sampled in.
        """
        ...

    def logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> torch.Tensor:
        """Log-probabilities [B, L] of completions [U][G] ragged, rows in order, right-padded with 0.

        Differentiable. A prompt is encoded once for all its completions.
        """
        ...


@runtime_checkable
class TrainableLM(TokenLM, Protocol):
    """What a training loop needs beyond tokens."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The parameters that are trained (the adapter's only, under LoRA)."""
        ...

    def reference(self) -> TokenLM:
        """The model as it is now, frozen; under LoRA the same model with the adapter off."""
        ...

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face folder that `AutoModelForCausalLM` loads."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Text to tokens and back, and a conversation to the text a model expects."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`; no token is added. Text never becomes a control token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens left out."""
        ...

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation, ending where the assistant's answer begins (or goes on)."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A transformer's or state-space model's body: embeddings [B, L, D] to hidden [B, L, D]."""

    def hidden(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states; `mask` [B, L] is True at real positions."""
        ...
