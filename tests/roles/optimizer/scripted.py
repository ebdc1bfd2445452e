"""An optimizer behind an OpenAI-compatible server: it reads the record in the prompt and climbs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.chaos.server import completion

Answer = dict[str, Any]
Twist = Callable[[int, Answer], Any]
"""From the number of the call and a good answer to what is said instead; a str is said as it is."""
ROW = re.compile(r"^(-?\d+(?: -?\d+)*) = (\S+) \(n=(\d+)\)$", re.MULTILINE)
TOKENS = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def rows(body: dict[str, Any]) -> list[tuple[tuple[int, ...], float, int]]:
    """The record that a request shows."""
    text = body["messages"][-1]["content"].split("Best so far:")[0]
    return [(tuple(map(int, p.split())), float(m), int(n)) for p, m, n in ROW.findall(text)]


def fields(body: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], int]:
    """What the asked-for schema says of a point's numbers, and how many points it wants."""
    schema = body["response_format"]["json_schema"]["schema"]
    proposals = schema["properties"]["proposals"]
    point = schema["$defs"][proposals["items"]["$ref"].rsplit("/", 1)[1]]
    assert proposals["minItems"] == proposals["maxItems"]
    return point["properties"], proposals["maxItems"]


class Scripted:
    """`respond` of a chaos server; what it says depends on the request alone, unless twisted."""

    def __init__(self, twist: Twist | None = None) -> None:
        self.twist, self.calls = twist, 0

    def __call__(self, body: dict[str, Any]) -> object:
        self.calls += 1
        good = self.good(body)
        said = good if self.twist is None else self.twist(self.calls, good)
        return completion(said if isinstance(said, str) else json.dumps(said), usage=TOKENS)

    def good(self, body: dict[str, Any]) -> Answer:
        asked = json.dumps([body["messages"], body.get("seed")]).encode()
        rng = np.random.default_rng(list(hashlib.sha256(asked).digest()))
        known, (names, k) = rows(body), fields(body)
        best = max(known, key=lambda row: row[1])[0] if known else None
        points = [
            # Every other point is near the best, the others are anywhere about the middle.
            {
                name: self._number(spec, i, best if point % 2 else None, rng)
                for i, (name, spec) in enumerate(names.items())
            }
            for point in range(k)
        ]
        return {"reason": f"near the best of {len(known)}", "proposals": points}

    def _number(self, spec: dict[str, Any], i: int, best: Any, rng: np.random.Generator) -> int:
        if "enum" in spec:
            options = spec["enum"]
            stay = best is not None and rng.random() < 0.8
            return int(best[i] if stay else options[rng.integers(len(options))])
        low, high = spec["minimum"], spec["maximum"]
        if best is None:
            return int(np.clip(rng.normal((low + high) / 2, (high - low) / 6), low, high))
        return int(np.clip(best[i] + rng.normal(0, (high - low) / 10), low, high))
