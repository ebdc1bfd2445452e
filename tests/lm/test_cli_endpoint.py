"""The command line against a real server that speaks the OpenAI protocol, and its recording."""

import json
from pathlib import Path

from tests.lm.gguf_server import gguf_server
from understudy.cli import main
from understudy.run.metrics import read


def evaluate(lm: str, root: Path, name: str) -> Path:
    words = (
        f"policy eval --lm {lm} --problems 4 --max_tokens 12 --run.root {root} --run.name {name}"
    )
    assert main([*words.split(), "--run.progress", "false"]) == 0
    return root / "policy" / "word-problems" / name


def test_an_evaluation_over_http_and_again_from_its_recording(tmp_path: Path):
    with gguf_server(tmp_path) as url:
        first = evaluate(f"{url}#local", tmp_path, "served")
    ledger = json.loads((first / "lm" / "ledger.json").read_text())
    assert "4" in json.dumps(ledger)
    recording = first / "lm" / "cache.sqlite"
    second = evaluate(f"replay:{recording}", tmp_path, "replayed")  # the server is gone
    assert read(second / "metrics.jsonl") == read(first / "metrics.jsonl")
