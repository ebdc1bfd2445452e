"""How a problem is put to a language model: instructions, worked examples, the answer so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.types import Message


@dataclass(frozen=True)
class Prompt:
    """A system instruction and few-shot examples, the same for every problem.

    Args:
        system: instruction; empty for none.
        examples: pairs (question, worked answer), put as earlier turns of the conversation.
    """

    system: str = ""
    examples: Sequence[tuple[str, str]] = ()

    def messages(self, question: str, so_far: str = "") -> tuple[Message, ...]:
        """The conversation up to the answer; `so_far` is the part of it already written."""
        turns: list[Message] = [Message("system", self.system)] if self.system else []
        for asked, worked in self.examples:
            turns += [Message("user", asked), Message("assistant", worked)]
        turns.append(Message("user", question))
        if so_far:
            turns.append(Message("assistant", so_far))
        return tuple(turns)
