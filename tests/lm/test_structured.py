"""Reading answers is total, exact and bounded."""

import json
from typing import Literal

import jsonschema
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ConfigDict, Field

from understudy.lm import structured
from understudy.lm.base import Choices, LMError, Regex, Reply, Request, Unparsed
from understudy.types import Message


class Inner(BaseModel):
    title: str = "x"
    weights: dict[str, float] = {}


class Plan(BaseModel):
    steps: int = Field(ge=1, le=9)
    speed: float = 1.0
    act: Literal["go", "stop"] = "go"
    inner: list[Inner] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


WHOLE = {"steps": 3, "speed": 0.5, "act": "stop", "inner": [{"title": "t", "weights": {"a": 1.0}}]}


def test_schemas_are_closed_at_every_level():
    schema = structured.json_schema(Plan)
    assert schema["required"] == ["steps", "speed", "act", "inner"]
    assert schema["additionalProperties"] is False
    inner = schema["$defs"]["Inner"]
    assert inner["required"] == ["title", "weights"]  # a property called title is no annotation
    assert inner["additionalProperties"] is False
    assert inner["properties"]["weights"]["additionalProperties"] == {"type": "number"}
    assert "default" not in json.dumps(schema)
    assert schema["properties"]["steps"]["minimum"] == 1
    assert structured.json_schema(Open)["additionalProperties"] is True
    jsonschema.validate(WHOLE, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(WHOLE | {"more": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"steps": 3}, schema)


@pytest.mark.parametrize(
    "frame", ["{}", "  {}\n", "```json\n{}\n```", "```\n{}\n```", "\n```JSON \n{}```\n"]
)
def test_json_is_the_whole_text_or_fenced(frame):
    assert structured.parse(frame.replace("{}", json.dumps(WHOLE)), Plan) == Plan(**WHOLE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("steps: 3", "not JSON"),
        ('Sure! {"steps": 3}', "not JSON"),
        ('{"steps": 3} and so on', "not JSON"),
        ('{"steps": 3', "not JSON"),
        ('{"steps": 10}', "steps: Input should be less than or equal to 9"),
        ("{}", "steps: Field required"),
        ("null", "should be an object"),
        ('{"steps": 3, "speed": NaN}', "NaN is not a JSON number"),
        ('{"steps": 3, "speed": -Infinity}', "Infinity is not a JSON number"),
        ('{"steps": 3, "speed": 1e999}', "not a finite number"),
        ('{"steps": ' + "9" * 5000 + "}", ""),
        ("[" * 30000, "nested too deeply"),
        ('{"inner":' * 5000, ""),
        ('{"steps": 3}' + " " * 70000, "longer than 65536 bytes"),
        ("é" * 40000, "longer than 65536 bytes"),
    ],
)
def test_what_is_not_the_form_says_why(text, reason):
    value = structured.parse(text, Plan)
    assert isinstance(value, Unparsed)
    assert reason in value.reason
    assert len(value.reason) < 300
    assert text.startswith(value.text)


def test_patterns_match_as_a_whole():
    schema = Regex("a|b[0-9]{2}")
    assert structured.parse("b07", schema) == "b07"
    assert structured.parse(" a\n", schema) == "a"
    for text in ("b7", "ab07", "b07 ok", "b07\nb08", ""):
        assert isinstance(structured.parse(text, schema), Unparsed)
    assert structured.parse(" x", Regex(" x")) == " x"  # white space that is meant stays
    with pytest.raises(LMError, match="invalid regular expression"):
        structured.parse("x", Regex("("))


def test_choices_are_exact():
    schema = Choices(("left", "right", " odd "))
    assert structured.parse("left", schema) == "left"
    assert structured.parse("\nright ", schema) == "right"
    assert structured.parse(" odd ", schema) == " odd "
    for text in ("Left", "left or right", "lef", "", '"left"'):
        assert isinstance(structured.parse(text, schema), Unparsed)


def test_unwrapping_takes_only_what_was_wrapped():
    schema = Choices(("left",))
    assert structured.unwrap('{"answer": "left"}', schema) == "left"
    for text in ("left", '{"answer": 1}', '{"answer": "left", "b": 1}', '["answer"]', "{" * 9000):
        assert structured.unwrap(text, schema) == text
    assert structured.unwrap('{"answer": "left"}', Plan) == '{"answer": "left"}'
    assert structured.unwrap('{"answer": "left"}', None) == '{"answer": "left"}'


@given(st.text(max_size=300) | st.from_regex(r'\{"steps": ?.{0,9}\}'))
def test_reading_is_total(text):
    for schema in (Plan, Regex("[a-c]+"), Choices(("a", "b"))):
        value = structured.parse(text, schema)
        assert isinstance(value, (Plan, str, Unparsed))
        assert structured.unwrap(text, schema) is not None


@given(st.builds(Plan, steps=st.integers(1, 9), speed=st.floats(-1e9, 1e9)))
def test_what_fits_is_read_as_it_is(plan):
    assert structured.parse(plan.model_dump_json(), Plan) == plan


def test_descriptions_are_one_line_and_say_it():
    for schema, says in ((Plan, '"maximum":9'), (Regex("a+"), "a+"), (Choices(("é",)), '"é"')):
        line = structured.describe(schema)
        assert says in line
        assert "\n" not in line


def test_only_a_whole_answer_is_repaired():
    request = Request((Message("user", "p"),), schema=Choices(("a",)))
    good = structured.settle(request, Reply("a"))
    assert good.value == "a"
    assert structured.repair(request, good) is None
    cut = structured.settle(request, Reply("a", finish_reason="length"))
    assert isinstance(cut.value, Unparsed)
    assert structured.repair(request, cut) is None
    bad = structured.settle(request, Reply("b" * 5000))
    again = structured.repair(request, bad)
    assert again is not None
    assert again.messages[0] == request.messages[0]
    assert again.messages[1] == Message("assistant", "b" * 2000)
    assert "is not one of the choices" in again.messages[2].content
    free = Request((Message("user", "p"),))
    assert structured.settle(free, Reply("b")).value is None
    assert structured.repair(free, Reply("b")) is None
