"""The form in which a language model proposes points, and how an answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from understudy.envs.search import lines
from understudy.envs.search.space import Point, Space
from understudy.lm.base import Regex, Schema, Unparsed
from understudy.run.errors import ConfigError

MOST_NUMBERS = 1000
"""Numbers in one answer; more are asked for in several."""
NUMBER_TOKENS = 8
"""Tokens of a number with its name, on the safe side."""
REASON_TOKENS = 600


class Draft:
    """A point as it was written, which may lie outside the space."""

    def __init__(self, numbers: Sequence[float], reason: str = "") -> None:
        self.numbers, self.reason = numbers, reason

    def point(self, space: Space) -> tuple[Point, bool]:
        """The nearest point of the space, and whether that is another."""
        whole = np.rint(np.array(self.numbers, float))
        inside = np.clip(whole, space.low, space.high)
        return space.point(inside.tolist()), bool((inside != whole).any())


class Form(Protocol):
    """How one call is answered."""

    proposals: int
    """Points of one answer."""
    schema: Schema
    max_tokens: int

    def read(self, value: Any) -> list[Draft]:
        """The points of an answer's value; none if it is unusable."""
        ...


class JsonForm:
    """An object with a reason and a list of points, each an object of named whole numbers.

    The schema states the bounds, but reading does not insist on them: not every provider's schemas
    know bounds, and a number that is a little too great is better cut than asked for again.
    """

    def __init__(self, space: Space, proposals: int) -> None:
        """`proposals` at a time, fewer where that would be too many numbers.

        Raises:
            ConfigError: even one point has too many.
        """
        if len(space) > MOST_NUMBERS:
            raise ConfigError(
                f"proposer: a language model cannot write {len(space)} parameters in one answer; at "
                f"most {MOST_NUMBERS}"
            )
        self.space = space
        self.proposals = max(1, min(proposals, MOST_NUMBERS // len(space)))
        self.max_tokens = REASON_TOKENS + self.proposals * (len(space) + 2) * NUMBER_TOKENS
        self.schema: Schema = self._model()

    def _model(self) -> type[BaseModel]:
        bounds = zip(
            self.space.low.tolist(), self.space.high.tolist(), self.space.categorical, strict=True
        )
        fields: dict[str, Any] = {
            f"p{i}": (Annotated[float, WithJsonSchema(_integer(*bound))], ...)
            for i, bound in enumerate(bounds)
        }
        point = create_model("Point", **fields)
        length: Any = {"minItems": self.proposals, "maxItems": self.proposals}
        listed: Any = Annotated[list[point], Field(json_schema_extra=length)]
        return create_model("Answer", reason=(str, ...), proposals=(listed, ...))

    def read(self, value: Any) -> list[Draft]:
        """As many points as were asked for, or fewer."""
        if isinstance(value, Unparsed):
            return []
        names = [f"p{i}" for i in range(len(self.space))]
        found = value.proposals[: self.proposals]
        return [Draft([getattr(one, name) for name in names], value.reason) for one in found]


def _integer(low: int, high: int, categorical: bool) -> dict[str, Any]:
    if categorical:
        return {"type": "integer", "enum": list(range(low, high + 1))}
    return {"type": "integer", "minimum": low, "maximum": high}


class LinesForm:
    """One point as a row of letters and digits, which models trained on the propose tasks write."""

    def __init__(self, space: Space) -> None:
        """Raises SpaceError where such a text cannot hold the space."""
        lines.question(space, [])
        self.space, self.proposals = space, 1
        self.schema: Schema = Regex(lines.pattern(space))
        self.max_tokens = len(lines.write(space.point(space.low), space)) + 2

    def read(self, value: Any) -> list[Draft]:
        """The one point."""
        return [] if isinstance(value, Unparsed) else [Draft(lines.read(value, self.space))]
