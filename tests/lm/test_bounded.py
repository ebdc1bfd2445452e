"""Random schemas, random answers under their grammars: all valid, none longer than foretold."""

import random
from typing import Any, Literal

import llguidance
import numpy as np
import pytest
from pydantic import BaseModel, Field, create_model

from understudy.lm import structured
from understudy.lm.bounded import LADDER
from understudy.lm.fake import tiny_model
from understudy.lm.grammar import Grammars


@pytest.fixture(scope="module")
def grammars():
    lm = tiny_model(hidden=16)
    return Grammars(lm.tokenizer, lm.model.config.vocab_size, lm.eos_ids), lm


def number(rng: random.Random) -> float:
    return round(rng.uniform(-1, 1) * 10 ** rng.randint(-4, 6), rng.randint(0, 5))


def limits(rng: random.Random, low: float, high: float) -> dict[str, Any]:
    ends = {rng.choice(["ge", "gt"]): low, rng.choice(["le", "lt"]): high}
    return {k: v for k, v in ends.items() if rng.random() < 0.8}


def field(rng: random.Random, depth: int) -> Any:
    kind = rng.choice(["int", "float", "str", "enum", "bool", "list", "model", "maybe"])
    if kind == "int":
        low = rng.randint(-(10 ** rng.randint(0, 7)), 10 ** rng.randint(0, 7))
        return int, Field(**limits(rng, low, low + rng.randint(2, 10 ** rng.randint(1, 6))))
    if kind == "float":
        low = number(rng)
        return float, Field(**limits(rng, low, low + abs(number(rng)) + 0.01))
    if kind == "str":
        least = rng.randint(0, 5)
        return str, Field(min_length=least, max_length=least + rng.randint(0, 9))
    if kind == "enum":
        return Literal["a", 'b"c', 3, True, None], Field()
    if kind == "bool" or depth == 0:
        return bool, Field()
    if kind == "list":
        least = rng.randint(0, 2)
        inner, _ = field(rng, depth - 1)
        return list[inner], Field(min_length=least, max_length=least + rng.randint(0, 2))
    inner = model(rng, depth - 1)
    return (inner, Field()) if kind == "model" else (inner | None, Field())


def model(rng: random.Random, depth: int = 2) -> type[BaseModel]:
    fields = {f"f{i}": field(rng, depth) for i in range(rng.randint(1, 4))}
    return create_model("Made", **fields)


def walk(matcher: llguidance.LLMatcher, rng: random.Random, end: int) -> list[int]:
    """Tokens of a random answer, the end included; strings and digits are not cut short."""
    ids: list[int] = []
    while not ids or ids[-1] != end:
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
        allowed = bits.nonzero()[0].tolist()
        if len(allowed) > 1 and end in allowed:
            allowed.remove(end)
        ids.append(rng.choice(allowed))
        assert matcher.consume_token(ids[-1]), matcher.get_error()
    return ids


@pytest.mark.parametrize("seed", range(60))
def test_random_answers_to_random_schemas(grammars, seed):
    made, lm = grammars
    rng = random.Random(seed)
    schema = model(rng)
    grammar = made.grammar(schema, rng.choice([50, 500]))
    for _ in range(8):
        ids = walk(grammar.matcher.deep_copy(), rng, *lm.eos_ids)
        text = lm.decode(ids)
        value = structured.parse(text, schema)
        assert isinstance(value, schema), (text, value)
        assert len(ids) <= grammar.max_tokens


def test_the_ladder_goes_down():
    assert sorted(LADDER, key=lambda caps: (-caps.string, -caps.array)) == list(LADDER)
