import json
import re
from datetime import datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import llguidance
import pytest
import torch
from pydantic import BaseModel, Field
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from understudy.lm import structured
from understudy.lm.base import Choices, LMError, Regex, Sampling
from understudy.lm.bounded import LADDER, OPTIONS, bound, lengths
from understudy.lm.fake import tiny_model
from understudy.lm.grammar import GrammarMasker, Grammars


class Mood(Enum):
    GLAD = "glad"
    QUOTED = 'a "b"\n'


class Item(BaseModel):
    tag: Literal["x", "yy"]
    count: int = Field(ge=-7, lt=7)


class Order(BaseModel):
    age: int = Field(ge=18, le=99)
    mood: Mood
    items: list[Item] = Field(min_length=1, max_length=3)
    grid: list[list[int]] = Field(max_length=2)
    price: float = Field(gt=0, lt=12.5)
    pair: tuple[bool, int]
    note: str = Field(max_length=5)
    more: Item | None


class Open(BaseModel):
    """Nothing here has a bound of its own."""

    text: str
    number: float
    whole: int
    many: list[str]
    rate: float = Field(gt=0, le=1e-5)
    code: str = Field(pattern="^[A-Z]{3}-[0-9]+$")


class Formats(BaseModel):
    when: datetime
    name: UUID


@pytest.fixture(scope="module")
def lm():
    return tiny_model(hidden=16, context=4096)


def grammars(lm):
    return Grammars(lm.tokenizer, lm.model.config.vocab_size, lm.eos_ids)


def drawn(lm, schema, count, *, room=200, temperature=1.0):
    """Texts of answers drawn under the grammar; all end by themselves."""
    made = grammars(lm)
    grammar = made.grammar(schema, room)
    sampling = Sampling(max_tokens=grammar.max_tokens, temperature=temperature, seed=5)
    masker = GrammarMasker([grammar] * count, made.n_vocab)
    (group,) = lm.sample([lm.encode("Go:")], sampling, copies=count, masker=masker)
    assert {c.finish_reason for c in group} == {"stop"}
    assert all(c.ids[-1] in lm.eos_ids for c in group)
    return [lm.decode(c.ids) for c in group]


@pytest.mark.parametrize("schema", [Order, Open, Formats])
def test_random_weights_write_a_thousand_valid_answers_of_a_thousand(lm, schema):
    texts = drawn(lm, schema, 1000)
    values = [structured.parse(text, schema) for text in texts]
    assert [v for v in values if not isinstance(v, schema)] == []
    assert len(set(texts)) > 900
    assert all(" " not in re.sub(r'"(\\.|[^"\\])*"', "", text) for text in texts)  # one line


def test_every_corner_of_the_form_is_reached(lm):
    values = [Order.model_validate_json(text) for text in drawn(lm, Order, 400, temperature=3.0)]
    assert {v.mood for v in values} == set(Mood)
    assert {len(v.items) for v in values} == {1, 2, 3}
    assert {len(v.grid) for v in values} == {0, 1, 2}
    assert {i.count for v in values for i in v.items} == set(range(-7, 7))
    assert {v.more is None for v in values} == {True, False}
    ages = {v.age for v in values}
    assert min(ages) < 22
    assert max(ages) > 95


@pytest.mark.parametrize(
    "schema",
    [
        Regex(r"[a-z]+@[a-z]+\.(com|org)"),
        Regex(r"\d{3}-\d{4}"),
        Regex(r'"(a|b/)*"\\'),
        Regex(".*"),
        Choices(("yes", "no", "yes, but", 'say "no"\n')),
        Choices(("only",)),
    ],
)
def test_patterns_and_choices_hold_a_thousand_times(lm, schema):
    texts = drawn(lm, schema, 1000, temperature=2.0)
    if isinstance(schema, Choices):
        assert set(texts) == set(schema.options)
    else:
        assert all(re.fullmatch(schema.pattern, text) for text in texts)
        assert len(set(texts)) > 100


def test_the_end_is_allowed_exactly_where_the_grammar_accepts(lm):
    made = grammars(lm)
    masker = GrammarMasker([made.grammar(Choices(("no", "nob")), 10), None], made.n_vocab)
    (end,) = lm.eos_ids

    def allowed():
        mask = masker.mask([0, 1])
        assert mask.shape == (2, made.n_vocab)
        assert mask[1].all()
        return set(mask[0].nonzero().flatten().tolist())

    n, o, b = lm.encode("nob")
    assert allowed() == {n}
    masker.accept(0, n)
    assert allowed() == {o}
    masker.accept(0, o)
    assert allowed() == {b, end}
    masker.accept(0, b)
    assert allowed() == {end}
    with pytest.raises(LMError, match="breaks the grammar"):
        masker.accept(0, o)


def test_rows_follow_their_own_grammars(lm):
    made = grammars(lm)
    forms = [Choices(("aa",)), Regex("b{4}"), Order, Choices(("cc",))]
    rows = [made.grammar(form, 200) for form in forms]
    most = max(g.max_tokens for g in rows)
    groups = lm.sample(
        [lm.encode("Go:")] * 4,
        Sampling(max_tokens=most),
        masker=GrammarMasker(rows, made.n_vocab),
    )
    texts = [lm.decode(c.ids) for (c,) in groups]
    assert (texts[0], texts[3]) == ("aa", "cc")
    assert texts[1] == "bbbb"
    assert isinstance(structured.parse(texts[2], Order), Order)


def test_the_mask_is_that_of_single_bits(lm):
    made = grammars(lm)
    grammar = made.grammar(Order, 200)
    matcher = grammar.matcher.deep_copy()
    masker = GrammarMasker([grammar], made.n_vocab)
    for token in lm.encode('{"age":4'):
        bits = matcher.compute_bitmask()
        slow = [bool(bits[i // 8] >> (i % 8) & 1) for i in range(made.n_vocab)]
        assert masker.mask([0])[0].tolist() == slow
        assert matcher.consume_token(token)
        masker.accept(0, token)


@pytest.mark.parametrize("room", [80, 150, 400, 5000])
def test_answers_fit_the_room_or_the_budget_that_is_given(lm, room):
    grammar = grammars(lm).grammar(Open, room)
    (tight,) = {grammars(lm).grammar(Open, r).max_tokens for r in (1, 2)}
    assert grammar.max_tokens <= max(room, tight)
    longest = max(len(lm.encode(t)) + 1 for t in drawn(lm, Open, 60, room=room, temperature=9.0))
    assert 20 < longest <= grammar.max_tokens


def test_a_bound_of_the_schema_is_never_tightened(lm):
    class Long(BaseModel):
        text: str = Field(min_length=90, max_length=100)

    texts = drawn(lm, Long, 20, room=10)
    assert all(90 <= len(json.loads(text)["text"]) <= 100 for text in texts)


@pytest.mark.parametrize(
    ("node", "widest", "width"),
    [
        ({"type": "integer", "minimum": -5, "maximum": 120}, "120", 3),
        ({"type": "integer", "exclusiveMinimum": -100, "exclusiveMaximum": 3}, "-99", 3),
        ({"type": "number", "minimum": -2, "maximum": 1, "multipleOf": 0.25}, "-1.75", 6),
        ({"type": "string", "maxLength": 3}, '"\\n\\n\\n"', 8),
        ({"enum": ["é", 'a"']}, '"a\\""', 5),
        ({"type": "boolean"}, "false", 5),
        ({"type": "null"}, "null", 4),
        ({"type": "array", "items": {"const": 7}, "maxItems": 3}, "[7,7,7]", 8),
    ],
)
def test_the_longest_answer_is_known(lm, node, widest, width):
    form, most = bound(node, LADDER[0], 1)
    assert most == width
    text = llguidance.LLMatcher.grammar_from_json_schema(form, overrides=OPTIONS)
    matcher = llguidance.LLMatcher(grammars(lm)._ll, text)
    assert matcher.consume_tokens(lm.encode(widest))
    assert matcher.is_accepting()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a{3}$", (3, 3)),
        ("^(yes|no|maybe)$", (2, 5)),
        ("^[a-z]+$", (1, None)),
        ("^x*$", (0, None)),
        (r"^\d{3}-[A-Z]{2,4}$", (6, 8)),
    ],
)
def test_lengths_of_patterns(pattern, expected):
    assert lengths(pattern) == expected


class Recursive(BaseModel):
    inside: "Recursive | None"


class HasSet(BaseModel):
    marks: set[int]


class HasDict(BaseModel):
    scores: dict[str, int]


class HasAny(BaseModel):
    thing: Any


class HasHuge(BaseModel):
    n: int = Field(ge=0, le=2**60)


class Empty(BaseModel):
    n: int = Field(ge=5, le=3)


class Narrow(BaseModel):
    x: float = Field(gt=1.5, lt=1.5)


class TooShort(BaseModel):
    text: str = Field(pattern="^(a|b)$", min_length=2)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (Recursive, "inside: Recursive contains itself"),
        (HasSet, "uniqueItems"),
        (HasDict, "scores: its keys are open; use a list of pairs"),
        (HasAny, "thing: it has no single type"),
        (HasHuge, "n: an integer beyond"),
        (Empty, "n: no value is within its bounds"),
        (Narrow, "x: no value is within its bounds"),
        (TooShort, "Unsatisfiable|empty"),
        (Regex("(?=a)b"), "look-around"),
        (Regex("(a"), "unclosed group"),
        (Regex(r"(a)\1"), "backreferences"),
        (Choices(()), "at least one option"),
    ],
)
def test_an_unsupported_schema_is_one_clear_line(lm, schema, message):
    with pytest.raises(LMError, match=message) as error:
        grammars(lm).grammar(schema, 100)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_vocabulary_that_cannot_spell_the_answer_is_an_error():
    lm = tiny_model(characters="abc", hidden=16)
    with pytest.raises(LMError, match="no token can go on"):
        drawn(lm, Choices(("xyz",)), 1)


def test_a_model_without_an_end_is_refused(lm):
    with pytest.raises(LMError, match="end token"):
        Grammars(lm.tokenizer, 100, frozenset())


def byte_tokenizer():
    """Byte-level BPE with merges, as Llama 3 or Qwen have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(['{"age":18,"note":"the older","items":[]}'] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@pytest.mark.parametrize("schema", [Order, Open, Regex("é+[^a]"), Regex("[à-ž]{9}")])
def test_byte_level_tokens_keep_the_form_too(schema):
    tokenizer = byte_tokenizer()
    size = len(tokenizer) + 5  # more logits than tokens, as padded models have
    made = Grammars(tokenizer, size, frozenset({tokenizer.eos_token_id}))
    grammar = made.grammar(schema, 300)
    count, generator = 100, torch.Generator().manual_seed(0)
    masker = GrammarMasker([grammar] * count, size)
    rows, texts = {r: list[int]() for r in range(count)}, []
    for _ in range(grammar.max_tokens):
        going = sorted(rows)
        mask = masker.mask(going)
        assert mask.any(1).all()
        assert not mask[:, len(tokenizer) :].any()
        noise = torch.rand(mask.shape, generator=generator).masked_fill(~mask, -1)
        for row, token in zip(going, noise.argmax(1).tolist(), strict=True):
            masker.accept(row, token)
            rows[row].append(token)
            if token == tokenizer.eos_token_id:
                texts.append(tokenizer.decode(rows.pop(row)[:-1]))
        if not rows:
            break
    assert not rows
    bad = [t for t in texts if isinstance(structured.parse(t, schema), structured.Unparsed)]
    assert bad == []
