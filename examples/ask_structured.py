"""An answer in a form, and a choice scored exactly, from any language model.

python examples/ask_structured.py [LM]
"""

import sys
from typing import Literal

from pydantic import BaseModel, Field

from understudy.lm.base import ChoiceLM, Request, Sampling
from understudy.lm.open import open_lm
from understudy.types import Message


class Day(BaseModel):
    mood: int = Field(ge=1, le=7)
    weather: Literal["sun", "rain"]
    hours_outside: list[int] = Field(min_length=1, max_length=3)


def main(name: str) -> None:
    lm = open_lm(name)
    ask = Message("user", "How was the day?")
    reply = lm.chat([Request((ask,), Sampling(max_tokens=64, seed=1), schema=Day)])[0]
    print(reply.value)  # a Day: a local model decodes under a grammar, so the form always holds
    if isinstance(lm, ChoiceLM):
        print(lm.score_choices(Request((ask,)), ["good", "bad"]))  # log-probabilities that sum to 1


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "pocket")
