"""What a model was asked and what it answered, with what was understood of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.jsonl import DataError, read_rows
from understudy.report.html import Element, Node, cut, el
from understudy.report.numbers import is_number, number, percent
from understudy.report.read import RunRecord

MOST = 12
"""Samples of a kind."""
MOST_READ = 400
"""Rows of a file among which samples are chosen."""
MOST_CHARACTERS = 4000
"""Of a prompt or an answer; the rest is left out and counted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and its answer."""

    prompt: str
    answer: str
    parsed: str
    """What was understood."""
    verdict: str = ""
    """right, wrong, unreadable, or nothing."""
    notes: Sequence[str] = ()


def samples(run: RunRecord, problems: list[str]) -> Element | None:
    """The sections of a run's samples; None where it kept none."""
    sources: dict[str, Callable[[Path], list[Sample]]] = {
        "Answers in training, first": _first_episodes,
        "Answers in training, last": _last_episodes,
        "Advice": _plans,
        "Reasons given for proposals": _reasons,
        "Calls": _calls,
    }
    found: list[Node] = []
    for title, read in sources.items():
        try:
            found.append(_section(title, read(run.path)))
        except (DataError, sqlite3.Error, UnicodeDecodeError) as error:
            problems.append(f"{title}: {error}")
    return el("div", found) if any(found) else None


def _section(title: str, found: list[Sample]) -> Node:
    if not found:
        return None
    return el(
        "details",
        el("summary", title, " ", el("small", f"{len(found)} shown")),
        [_show(sample) for sample in found],
        open=True,
        class_="samples",
    )


def _show(sample: Sample) -> Element:
    verdict = sample.verdict and el("span", sample.verdict, class_=f"tag {sample.verdict}")
    return el(
        "article",
        el("dl",
           el("div", el("dt", "prompt"), el("dd", _text(sample.prompt))),
           el("div", el("dt", "answer"), el("dd", _text(sample.answer))),
           el("div", el("dt", "understood"),
              el("dd", verdict or None, " " if verdict else None,
                 el("bdi", cut(sample.parsed, MOST_CHARACTERS)) if sample.parsed else "no answer found"))),
        el("p", " · ".join(map(cut, sample.notes)), class_="notes") if sample.notes else None,
        class_="sample",
    )  # fmt: skip


def _text(text: str) -> Element:
    return el("pre", el("bdi", cut(text, MOST_CHARACTERS))) if text else el("small", "empty")


# ---- where they come from -----------------------------------------------------------------------


def _head(path: Path) -> Iterator[dict[str, Any]]:
    """The first rows of a JSONL file, if there is one."""
    if path.is_file():
        for count, (_, row) in enumerate(read_rows(path)):
            if count == MOST_READ:
                return
            yield row


def _first_episodes(run: Path) -> list[Sample]:
    files = sorted((run / "episodes").glob("*.jsonl"))
    return _episodes(files[0]) if len(files) > 1 else []


def _last_episodes(run: Path) -> list[Sample]:
    files = sorted((run / "episodes").glob("*.jsonl"))
    return _episodes(files[-1]) if files else []


def _episodes(file: Path) -> list[Sample]:
    """Of one iteration: right, wrong and unreadable ones in turn."""
    by_kind: dict[str, list[Sample]] = {}
    prompts: set[tuple[str, str]] = set()
    for row in _head(file):
        sample = _episode(row.get("episode"), file.stem)
        if sample is not None and (sample.prompt, sample.answer) not in prompts:
            prompts.add((sample.prompt, sample.answer))
            by_kind.setdefault(sample.verdict, []).append(sample)
    turns = max((len(kind) for kind in by_kind.values()), default=0)
    mixed = [kind[i] for i in range(turns) for kind in by_kind.values() if i < len(kind)]
    return mixed[: MOST // 2]


def _episode(row: Any, file: str) -> Sample | None:
    if not isinstance(row, dict):
        return None
    info: dict[str, Any] = row.get("info") or {}
    observations, actions = row.get("observations") or [""], row.get("actions") or []
    correct = info.get("correct")
    verdict = "unreadable" if correct is None else "right" if correct else "wrong"
    notes = [f"iteration {file.lstrip('0') or '0'}"]
    rewards = [reward for reward in row.get("rewards") or [] if is_number(reward)]
    notes.append(f"reward {number(float(sum(rewards)))}")
    notes += [str(info[key]) for key in ("reason", "problem_id") if info.get(key)]
    notes += ["cut off at its length"] if info.get("finish_reason") == "length" else []
    return Sample(
        str(info.get("question") or observations[0]),
        str(info.get("text") or "\n".join(map(str, actions))),
        "" if info.get("value") is None else str(info["value"]),
        verdict,
        notes,
    )


def _plans(run: Path) -> list[Sample]:
    """Of a teacher's book of answers."""
    found: list[Sample] = []
    for row in _head(run / "plans.jsonl"):
        if "text" in row and len(found) < MOST:
            notes = ["no usable answer: a fallback"] if row.get("fallback") else []
            raw = str(row.get("raw") or "")
            parsed = _weighted(row.get("answers"))
            found.append(Sample(str(row["text"]), raw or parsed, parsed, "", notes))
    return found


def _reasons(run: Path) -> list[Sample]:
    """Of an optimizer's trials: the parameters proposed, and why."""
    found = [row for row in _head(run / "trials.jsonl") if row.get("reason")]
    return [
        Sample(
            f"generation {row.get('generation')}",
            str(row["reason"]),
            ", ".join(map(str, row.get("point") or [])),
            "",
            [str(row.get("proposer", ""))],
        )
        for row in found[:MOST]
    ]


def _calls(run: Path) -> list[Sample]:
    """Of the recording of a language model's calls."""
    path = run / "lm" / "cache.sqlite"
    if not path.is_file():
        return []
    # Read-only: a run that is being written is not disturbed.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)) as db:
        rows = db.execute(
            "SELECT request, reply, model FROM answers ORDER BY rowid LIMIT ?", (MOST,)
        ).fetchall()
    found: list[Sample] = []
    for request, reply, model in rows:
        try:
            found.append(_call(json.loads(request), json.loads(reply), str(model)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: a call that cannot be read ({error})") from error
    return found


def _call(request: Mapping[str, Any], reply: Mapping[str, Any], model: str) -> Sample:
    prompt = "\n\n".join(
        content if role == "user" else f"[{role}] {content}"
        for role, content in request["messages"]
    )
    answer, parsed = str(reply.get("text", "")), ""
    choices = request.get("score")
    if isinstance(choices, list):
        scores = json.loads(answer)
        parsed = _weighted(_shares(choices, scores))
        answer = "scored the choices"
    notes = [model]
    form = request.get("schema")
    if isinstance(form, dict):
        notes.append(f"asked in a form: {cut(json.dumps(form, ensure_ascii=False), 160)}")
        parsed = parsed or answer
    if reply.get("finish_reason") == "length":
        notes.append("cut off at its length")
    return Sample(prompt, answer, parsed, "", notes)


def _shares(choices: Sequence[Any], logs: Sequence[float]) -> list[tuple[str, float]]:
    """Choices by probability, from log-probabilities."""
    most = max(logs)
    weights = [2.718281828459045 ** (value - most) for value in logs]
    pairs = [(str(c), w / sum(weights)) for c, w in zip(choices, weights, strict=True)]
    return sorted(pairs, key=lambda pair: -pair[1])


def _weighted(answers: Any) -> str:
    pairs = [
        (str(name), float(weight))
        for name, weight in (answers if isinstance(answers, list) else [])
        if is_number(weight)
    ]
    return ", ".join(f"{name} ({percent(weight)})" for name, weight in pairs[:4])
