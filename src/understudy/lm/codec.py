"""Text to tokens and back with a Hugging Face tokenizer, safe against control tokens in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from understudy.lm.base import LMError
from understudy.types import Message

# Private-use characters stand for text that must not be read as template or control tokens.
_OPEN, _CLOSE, _HERE = "\ue000", "\ue001", "\ue002"


class TokenizerCodec:
    """The `Codec` of a tokenizer. A tokenizer without a chat template gets "role: content" lines."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos_ids = eos_ids
        self._pieces: list[str] = []
        unknown = tokenizer.unk_token_id
        special = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._controls = [text for i, text in special.items() if i != unknown]
        self._control_ids = {i for i in special if i != unknown}
        self._control_pattern = re.compile("|".join(map(re.escape, self._controls)) or r"(?!)")
        held = rf"{_OPEN}(\d{{1,6}}){_CLOSE}"
        self._held_pattern = re.compile(held)
        # Some tokenizers put a space before any text; an anchor in front keeps it away.
        anchor = self._plain("\n")
        self._anchor = anchor if self.decode([*anchor, *self._plain("x")]) != "\nx" else []

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._eos_ids

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`; no token is added. Text never becomes a control token.

        Raises:
            LMError: the tokenizer made a control token all the same.
        """
        if not text:
            return []
        ids = self._plain("\n" + text) if self._anchor else []
        behind = bool(ids) and ids[: len(self._anchor)] == self._anchor
        ids = ids[len(self._anchor) :] if behind else self._plain(text)
        if bad := self._control_ids.intersection(ids):
            raise LMError(f"the tokenizer turns text into control token {min(bad)}: {text[:60]!r}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens left out."""
        return self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def pieces(self) -> list[str]:
        """The text of each token of the vocabulary by itself, control tokens empty."""
        if not self._pieces:
            self._pieces = [self.decode([i]) for i in range(len(self._tokenizer))]
        return self._pieces

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation, ending where the assistant's answer begins (or goes on).

        Only the template makes control tokens: one spelled out in a message stays text.

        Raises:
            LMError: there is no message, or the template refuses them.
        """
        if not messages:
            raise LMError("a prompt needs at least one message")
        held = [Message(m.role, self._hold(m.content)) for m in messages]
        render = self._render if self._tokenizer.chat_template else self._lines
        if held[-1].role == "assistant":
            begun = held[-1].content
            text, found, _ = render([*held[:-1], Message("assistant", _HERE)], False).rpartition(
                _HERE
            )
            if not found:
                raise LMError("the chat template drops the assistant's last message")
            text += begun
        else:
            text = render(held, True)
        return self._encode_held(text)

    def _plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _hold(self, text: str) -> str:
        """`text` with each control token's spelling replaced by a number between marks."""
        return self._control_pattern.sub(
            lambda match: f"{_OPEN}{self._controls.index(match[0])}{_CLOSE}", text
        )

    def _encode_held(self, text: str) -> list[int]:
        """Tokens of a rendered conversation: control tokens parsed, held spellings as text."""
        ids: list[int] = []
        for place, part in enumerate(self._held_pattern.split(text)):
            if place % 2 and int(part) < len(self._controls):
                ids += self.encode(self._controls[int(part)])
            elif part:
                ids += self._tokenizer.encode(part, add_special_tokens=False)
        return ids

    def _render(self, messages: Sequence[Message], answer: bool) -> str:
        """The conversation as the chat template writes it; it also writes BOS where it belongs."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answer
            )
        except TemplateError as error:
            reason = " ".join(str(error).split())
            raise LMError(f"the chat template refuses the messages: {reason}") from error

    def _lines(self, messages: Sequence[Message], answer: bool) -> str:
        start = self._tokenizer.decode(self._tokenizer.encode(""))
        lines = [f"{m.role}: {m.content}" for m in messages] + ["assistant:"] * answer
        return start + "\n".join(lines)
