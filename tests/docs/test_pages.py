"""What a role's page says of options and metrics, and the architecture's picture of the layers."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import api_reference

from tests.docs.pages import ROOT
from understudy import __all__ as public
from understudy.cli import COMMANDS, main
from understudy.run.fields import leaves
from understudy.run.metrics import read

ROLES = ("policy", "teacher", "optimizer", "simulator", "world_model")
LOGGING = {
    "policy": "policy train --algorithm grpo --loss.kl_coef 0.01",
    "teacher": "teacher train --distill.schedule adaptive",
    "optimizer": "optimizer train --proposer hybrid --first lm",
    "simulator": "simulator generate",
    "world_model": "world_model train --env understudy/TMaze-v0 --env_options.cue sentence",
}
"""For each role, the small run that logs most."""
SECTIONS = {
    "a paper": r"arXiv|research code|follows",
    "equations and functions": r"^## (Equation → function|From (a|the) .* to .*|A study|What it may cost)",
    "what was changed": r"What is different here|different|In the original",
    "where options went": r"^## From the original",
    "metrics": r"^## Metrics$",
    "results": r"results\.md|^## (Results|What was seen)|held-out mean over the seeds",
}


def page_of(role: str) -> str:
    return (ROOT / f"docs/roles/{role}.md").read_text()


def section(text: str, title: str) -> str:
    return re.split(rf"^## {title}", text, flags=re.MULTILINE)[1].split("\n## ")[0]


def explained(text: str) -> re.Pattern[str]:
    """The metrics a section names; `hard/…` stands for any below it, a word in capitals for any word."""
    names = re.findall(r"`([\w/…]+)`", text)
    patterns = [re.sub(r"\b[A-Z]+\b|(?<=_)[A-Z]+\b", r"\\w+", n).replace("…", r".+") for n in names]
    return re.compile("|".join(patterns))


@pytest.mark.parametrize("role", ROLES)
def test_every_metric_is_explained(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main([*LOGGING[role].split(), "--debug", "--run.progress", "false"]) == 0
    logged = {name for log in tmp_path.rglob("metrics.jsonl") for row in read(log) for name in row}
    known = explained(section(page_of(role), "Metrics"))
    assert [name for name in sorted(logged - {"step"}) if not known.fullmatch(name)] == []
    assert len(logged) >= 3
    assert not known.fullmatch("nothing_of_the_kind")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("part", SECTIONS)
def test_a_role_page_has_its_parts(role: str, part: str):
    assert re.search(SECTIONS[part], page_of(role), re.MULTILINE)


def options(role: str) -> Iterator[str]:
    table = page_of(role)
    table = table[table.index("## From the original") :]
    yield from (o.rstrip(".") for o in re.findall(r"`[^`]*?--([a-z_.]+)", table))


@pytest.mark.parametrize("role", ROLES)
def test_options_in_a_role_page_exist(role: str):
    settings = [COMMANDS[name].config() for name in COMMANDS if name.split()[0] == role]
    known = {path for cls in settings for path in leaves(cls)} | {"debug", "config", "lm"}
    named = set(options(role))
    assert len(named) >= 5
    assert named <= known, named - known


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_setting_is_documented(name: str):
    for leaf in leaves(COMMANDS[name].config()).values():
        assert leaf.doc, leaf.path


def test_the_layers_of_the_picture_are_those_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in contracts["contracts"] if c["id"] == "layers"]
    enforced = [set(re.findall(r"\w+", layer)) for layer in reversed(layers)]
    page = (ROOT / "docs/architecture.md").read_text()
    (drawn,) = re.findall(r"Data flows one way, `([^`]+)`", page)
    assert [set(re.findall(r"\w+", layer)) for layer in drawn.split("→")] == enforced


def test_rooms_that_are_drawn_are_there():
    page = (ROOT / "docs/architecture.md").read_text()
    tree = section(page, "The rooms").split("```")[1]
    drawn = set(re.findall(r"^  (\w+(?:/|\.py))", tree, re.MULTILINE))
    source = ROOT / "src/understudy"
    there = {f"{p.name}/" if p.is_dir() else p.name for p in source.iterdir() if p.name[0] != "_"}
    assert drawn == there - {"py.typed"}


def test_the_results_say_whose_they_are():
    assert "The bundled model as it is now" in (ROOT / "docs/results.md").read_text()


def test_the_reference_is_of_these_docstrings(capsys: pytest.CaptureFixture[str]):
    assert api_reference.main(["--check"]) == 0
    page = api_reference.PAGE.read_text()
    assert all(f"### `{name}`" in page for name in public)
    assert not re.search(r" at 0x|<lambda|<object", page)


def test_an_old_reference_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(api_reference, "PAGE", tmp_path / "api.md")
    assert api_reference.main(["--check"]) == 1
    assert "python tools/api_reference.py" in capsys.readouterr().err
    assert api_reference.main([]) == 0
    assert api_reference.main(["--check"]) == 0
