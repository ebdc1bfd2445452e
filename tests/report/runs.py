"""Run directories written by hand, with any text in any place."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

from understudy.run.info import RunInfo, to_bytes

PLAIN = ("plain",)


def metrics(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def start(path: Path, role: str = "policy", **fields: Any) -> Path:
    """A directory with run.json, config.toml and three evaluations."""
    path.mkdir(parents=True)
    values: dict[str, Any] = {
        "role": role, "verb": "train", "env": "word-problems", "name": path.name, "seed": 0,
        "command": ["understudy", role, "train"], "created": "2026-01-02T03:04:05+00:00",
        "threads": 1, "git": "abc", "versions": {"python": "3.11.7"},
    }  # fmt: skip
    (path / "run.json").write_bytes(to_bytes(RunInfo(**{**values, **fields})))
    (path / "config.toml").write_text('env = "word-problems"\n')
    metrics(
        path / "metrics.jsonl",
        [evaluation(step, right) for step, right in ((0, 0.25), (10, 0.5), (20, 0.75))],
    )
    metrics(path / "timing.jsonl", [{"step": 10, "seconds": 1.5}, {"step": 20, "seconds": 2.5}])
    return path


def evaluation(step: int, right: float) -> dict[str, float]:
    return {
        "step": step, "reward": right, "test/answers": 200.0, "test/accuracy": right,
        "test/accuracy_low": right - 0.1, "test/accuracy_high": right + 0.1,
        "test/share_format": 0.05, "test/share_arithmetic": 0.9 - right, "unreadable": 0.5 - right / 2,
    }  # fmt: skip


def episode(question: str, text: str, correct: bool | None = True, **info: Any) -> dict[str, Any]:
    return {
        "iteration": 0,
        "episode": {
            "env": "word-problems", "observations": [question, question], "actions": [text],
            "rewards": [1.0], "terminated": True, "truncated": False, "tokens": None,
            "info": {"question": question, "text": text, "correct": correct, "value": text, **info},
        },
    }  # fmt: skip


def calls(path: Path, pairs: Sequence[tuple[str, str]], model: str = "m") -> None:
    """A recording of calls, as `lm/cache.sqlite` is."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TABLE answers (key TEXT PRIMARY KEY, model TEXT, request TEXT, reply TEXT, checksum TEXT)"
        )
        for number, (prompt, answer) in enumerate(pairs):
            request = {"messages": [["user", prompt]], "schema": {"regex": prompt}}
            reply = {"text": answer, "finish_reason": "stop"}
            row = (str(number), model, json.dumps(request), json.dumps(reply), "")
            db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
        db.commit()


def ledger(path: Path, model: str = "m") -> None:
    path.parent.mkdir(exist_ok=True)
    books = {
        "done": 7, "refused": 2, "unknown": 1, "cached": 3, "prompt_tokens": 1000,
        "completion_tokens": 50, "seconds": 2.0, "usd": 0.0125, "priced": True,
    }  # fmt: skip
    path.write_text(json.dumps({**books, "models": {model: books}}))


def everywhere(root: Path, texts: Sequence[str], runs: int = 5) -> list[Path]:
    """Runs that hold `texts` wherever a run can hold text; every text is an answer of a model."""
    endless = cycle(texts)

    def some(n: int) -> list[str]:
        return [next(endless) for _ in range(n)]

    made: list[Path] = []
    share = -(-len(texts) // runs)
    for number in range(runs):
        a, b, c, d, e, f, g = some(7)
        path = start(
            root / f"run{number}", ("policy", "teacher", "optimizer", "world_model", a)[number % 5],
            env=b, name=c, verb=d, created=e, git=f, command=["understudy", *some(3)],
            versions={g: some(1)[0]},
        )  # fmt: skip
        (path / "config.toml").write_text("\n".join(some(5)), encoding="utf-8")
        names = some(6)
        rows = [
            {**evaluation(step, step / 40), **{name: float(step) for name in names if name}}
            | {f"{names[0]}/share_{names[1]}": 0.5, f"{names[2]}_low": 0.0, f"{names[2]}_high": 50.0}
            for step in (0, 10, 20)
        ]  # fmt: skip
        metrics(path / "metrics.jsonl", rows)
        metrics(path / "timing.jsonl", [{"step": 10, some(1)[0] or "t": 1.0}])
        mine = texts[number * share : (number + 1) * share]
        calls(path / "lm" / "cache.sqlite", [(some(1)[0], text) for text in mine], some(1)[0])
        ledger(path / "lm" / "ledger.json", some(1)[0])
        (path / "episodes").mkdir()
        for file in ("000000", "000001"):
            rows = [
                episode(*some(2), correct, reason=some(1)[0])
                for correct in (True, False, None)
                for _ in (1, 2)
            ]
            metrics(path / "episodes" / f"{file}.jsonl", rows)
        plans = [
            {"text": t, "raw": r, "answers": [[w, 1.0]]} for t, r, w in [some(3) for _ in "12"]
        ]
        metrics(path / "plans.jsonl", plans)
        metrics(path / "trials.jsonl", [{"generation": some(1)[0], "proposer": some(1)[0],
                                         "reason": some(1)[0], "point": some(2)}])  # fmt: skip
        (path / "parameters.json").write_text(json.dumps({some(1)[0]: 5}))
        (path / "verdict.json").write_text(json.dumps(_verdict(*some(4))))
        (path / "truth.json").write_text(json.dumps({some(1)[0]: [1.0, 0.1]}))
        made.append(path)
    return made


def _verdict(primary: str, name: str, reason: str, summary: str) -> dict[str, Any]:
    value = {"value": 1.0, "low": 0.5, "high": 1.5, "effective": 20.0}
    policy = {"name": name, "values": {primary: value}, "reasons": [reason], "supported": False}
    return {
        "primary": primary, "policies": [policy], "summary": summary, "people": 5, "decisions": 9,
    }  # fmt: skip
