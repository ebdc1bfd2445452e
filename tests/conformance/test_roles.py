"""What holds for every command that trains: its settings come back, its runs end, go on, and repeat."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from understudy.cli import COMMANDS, main
from understudy.run.config import load
from understudy.run.metrics import read

RESUMABLE = {name: command for name, command in COMMANDS.items() if command.resumable}
EXTRA = {
    "policy train": ("--env", "word-problems", "--max_tokens", "24", "--eval_problems", "4", "--passk", "0"),
    "teacher train": ("--advice.who", "expert"),
}  # fmt: skip


def run(name: str, folder: Path, *flags: str) -> Path:
    args = [*name.split(), "--debug", *EXTRA.get(name, ()), "--run.progress", "false"]
    assert main([*args, "--run.root", str(folder), *flags]) == 0
    (info,) = folder.rglob("run.json")
    return info.parent


@pytest.fixture(scope="module", params=RESUMABLE)
def made(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("one")
    return request.param, run(request.param, folder)


def test_a_run_says_what_it_was(made, tmp_path):
    name, path = made
    info = json.loads((path / "run.json").read_text())
    assert f"{info['role']} {info['verb']}" == name
    config = RESUMABLE[name].config()
    settings = load(config, ["--config", str(path / "config.toml")])
    assert settings == load(
        config,
        [
            "--debug",
            *EXTRA.get(name, ()),
            "--run.progress",
            "false",
            "--run.root",
            settings.run.root,
        ],
    )


def test_a_run_logs_forwards_and_leaves_a_checkpoint(made):
    _, path = made
    steps = [row["step"] for row in read(path / "metrics.jsonl")]
    assert len(steps) >= 2
    assert all(a < b for a, b in itertools.pairwise(steps))
    assert (path / "checkpoints" / f"{int(steps[-1])}").is_dir()


def test_a_finished_run_can_be_resumed_without_harm(made):
    _, path = made
    kept = [
        f
        for f in path.rglob("*")
        if f.suffix in (".jsonl", ".toml", ".json", ".safetensors") and f.name != "timing.jsonl"
    ]
    before = {f: f.read_bytes() for f in kept}
    assert path / "metrics.jsonl" in before
    assert main(["resume", str(path), "--run.progress", "false"]) == 0
    assert {f: f.read_bytes() for f in before} == before


def test_the_same_seed_twice_is_the_same_run(made, tmp_path):
    name, path = made
    again = run(name, tmp_path / "again")
    assert (again / "metrics.jsonl").read_bytes() == (path / "metrics.jsonl").read_bytes()
    other = run(name, tmp_path / "other", "--seed", "1")
    assert (other / "metrics.jsonl").read_bytes() != (path / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_field(name, capsys):
    config = COMMANDS[name].config()
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    positional = getattr(config, "POSITIONAL", ())
    for field in dataclasses.fields(config):
        assert (field.name if field.name in positional else f"--{field.name}") in shown, field.name
