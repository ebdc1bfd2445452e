"""A person behind an OpenAI-compatible server, and a study of a few days for tests of whole runs."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.server import completion

TOKENS = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def short_study(folder: Path, days: int) -> Path:
    """The shipped study, of a few days."""
    shipped = resources.files("understudy.envs.study").joinpath("low_mood.toml")
    text = shipped.read_text(encoding="utf-8")
    assert "\ndays = 30\n" in text
    file = folder / f"days-{days}.toml"
    file.write_text(text.replace("\ndays = 30\n", f"\ndays = {days}\n"), encoding="utf-8")
    return file


def person(body: dict[str, Any]) -> object:
    """`respond` of a chaos server: some possible answer, which depends on the request alone."""
    return completion(json.dumps(answer(body)), usage=TOKENS)


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Ratings and messages within the schema that was asked for; now and then someone leaves."""
    asked = json.dumps([body["messages"], body.get("seed")]).encode()
    rng = np.random.default_rng(list(hashlib.sha256(asked).digest()))
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    ratings, read = fields["ratings"], fields["read"]
    count = int(rng.integers(0, min(ratings["maxItems"], 3) + 1))
    low, high = ratings["items"]["minimum"], ratings["items"]["maximum"]
    said: dict[str, Any] = {
        "ratings": rng.integers(low, high + 1, count).tolist(),
        "read": int(rng.integers(read["minimum"], read["maximum"] + 1)),
    }
    if "leaves" in fields:
        said["leaves"] = bool(rng.random() < 0.1)
    return said
