"""Answers that must have a form: how it is asked for, read, and asked for once more.

Text from a model is data: it is parsed by a bounded parser and never evaluated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from understudy.lm.base import Choices, LMError, Regex, Reply, Request, Unparsed
from understudy.types import Message

if TYPE_CHECKING:
    AnySchema = type[BaseModel] | Regex | Choices

MAX_BYTES = 64 * 1024
"""Longer answers are not read."""

_FENCE = re.compile(r"```[A-Za-z]*\s*\n(.*?)\n?\s*```", re.DOTALL)


def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema, closed: every property is required and no other is allowed.

    Closed schemas are what endpoints accept as strict and what makes a grammar finite. A model
    that says `extra="allow"` stays open.
    """
    return _closed(schema.model_json_schema())


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: {name: _closed(sub) for name, sub in value.items()}
        if key in ("properties", "$defs")
        else value
        if key in ("enum", "const", "examples")
        else _closed(value)
        for key, value in node.items()
        if key != "default"
    }
    if isinstance(result.get("properties"), dict):
        result["required"] = list(result["properties"])
        result.setdefault("additionalProperties", False)
    return result


def refuse_steer(name: str, requests: Sequence[Request]) -> None:
    """For backends that show no probabilities.

    Raises:
        LMError: A request is to be steered.
    """
    if any(request.steer is not None for request in requests):
        raise LMError(f"{name}: only a model in this process can be steered (pocket, hf:…)")


def document(schema: AnySchema | None) -> dict[str, Any] | None:
    """The schema as JSON, for the cache key and the recording."""
    if schema is None:
        return None
    if isinstance(schema, Regex):
        return {"regex": schema.pattern}
    if isinstance(schema, Choices):
        return {"choices": list(schema.options)}
    return {"json": json_schema(schema)}


def describe(schema: AnySchema) -> str:
    """One line that tells a model what form its answer must have."""
    if isinstance(schema, Regex):
        return f"Answer with text that matches the regular expression {schema.pattern} as a whole, and nothing else."
    if isinstance(schema, Choices):
        options = ", ".join(json.dumps(option, ensure_ascii=False) for option in schema.options)
        return f"Answer with exactly one of {options} (without the quotes), and nothing else."
    text = json.dumps(json_schema(schema), separators=(",", ":"), ensure_ascii=False)
    return f"Answer with one JSON object of this JSON schema, and nothing else: {text}"


def response_format(schema: AnySchema) -> dict[str, Any]:
    """The `response_format` of an OpenAI-compatible request.

    The protocol knows JSON only, so a pattern or a choice is asked for as `{"answer": …}`; `unwrap`
    takes it out again.
    """
    if isinstance(schema, Regex):
        form = _wrapped({"type": "string", "pattern": f"^({schema.pattern})$"})
    elif isinstance(schema, Choices):
        form = _wrapped({"type": "string", "enum": list(schema.options)})
    else:
        form = json_schema(schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": form},
    }


def _wrapped(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }


def unwrap(text: str, schema: AnySchema | None) -> str:
    """The string inside `{"answer": …}` where the schema is a pattern or a choice."""
    if not isinstance(schema, (Regex, Choices)) or len(text) > MAX_BYTES:
        return text
    try:
        value = json.loads(_bare(text))
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict) and list(value) == ["answer"] and isinstance(value["answer"], str):
        return value["answer"]
    return text


def parse(text: str, schema: AnySchema) -> Any:
    """Reads an answer: a model instance, a string that matches or was offered, or `Unparsed`.

    Total: whatever the text, the result is a value or an `Unparsed` that says why.

    Raises:
        LMError: The schema's regular expression is itself invalid.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return Unparsed(text[:MAX_BYTES], f"longer than {MAX_BYTES} bytes")
    if isinstance(schema, Regex):
        return _parse_regex(text, schema)
    if isinstance(schema, Choices):
        for candidate in (text, text.strip()):
            if candidate in schema.options:
                return candidate
        return Unparsed(text, "is not one of the choices")
    return _parse_model(text, schema)


def _parse_regex(text: str, schema: Regex) -> str | Unparsed:
    try:
        pattern = re.compile(schema.pattern)
    except re.error as error:
        raise LMError(f"invalid regular expression {schema.pattern!r}: {error}") from None
    for candidate in (text, text.strip()):
        if pattern.fullmatch(candidate):
            return candidate
    return Unparsed(text, f"does not match {schema.pattern}")


def _parse_model(text: str, schema: type[BaseModel]) -> BaseModel | Unparsed:
    bare = _bare(text)
    try:
        # pydantic would take NaN, Infinity and 1e999 as floats; JSON has none of them
        json.loads(bare, parse_constant=_no_constant, parse_float=_finite)
        return schema.model_validate_json(bare)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Unparsed(text, f"{where}: {first['msg']}" if where else first["msg"])
    except RecursionError:
        return Unparsed(text, "nested too deeply")
    except ValueError as error:
        return Unparsed(text, f"not JSON: {error}"[:200])


def _bare(text: str) -> str:
    text = text.strip()
    fenced = _FENCE.fullmatch(text)
    return fenced.group(1).strip() if fenced else text


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is not a finite number")
    return value


def settle(request: Request, reply: Reply) -> Reply:
    """`reply` with its `value` read; an answer that was cut or filtered is never read as one."""
    if request.schema is None:
        return reply
    if reply.finish_reason == "stop":
        return replace(reply, value=parse(reply.text, request.schema))
    return replace(reply, value=Unparsed(reply.text[:MAX_BYTES], f"ended by {reply.finish_reason}"))


def repair(request: Request, reply: Reply) -> Request | None:
    """The second and last question after an answer without the asked-for form, if there is one.

    There is none where the answer was cut or filtered: the same limits would apply again.
    """
    if not isinstance(reply.value, Unparsed) or request.schema is None or not request.repair:
        return None
    if reply.finish_reason != "stop":
        return None
    complaint = f"That answer cannot be read: {reply.value.reason}. {describe(request.schema)}"
    turns = (
        Message("assistant", reply.text[:2000].strip() or "(no answer)"),
        Message("user", complaint),
    )
    return replace(request, messages=(*request.messages, *turns))
