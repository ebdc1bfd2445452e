"""`--help` is read in a terminal of 80 columns, by somebody who does not know Python."""

import contextlib
import re

import pytest

from understudy.cli import COMMANDS, main
from understudy.run.fields import leaves

NOISE = re.compile(
    r"<class|<function|Action[A-Z]|Literal\[|Namespace|dict\[|tuple\[|default:? None|\bnull\b"
)
GROUPS = sorted({name.split()[0] for name in COMMANDS if " " in name} - set(COMMANDS))


def helped(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` after these words prints, on 80 columns."""
    capsys.readouterr()
    with contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return capsys.readouterr().out


def entries(text: str) -> dict[str, str]:
    """What is said of each option of a help text."""
    found: dict[str, str] = {}
    name = ""
    for line in text[text.index("options:") :].splitlines()[1:]:
        if option := re.match(r"  (?:-h, )?(--[\w.]+)(?: [\w.]+)?(?:  +(.*))?$", line):
            name = option[1]
            found[name] = option[2] or ""
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


@pytest.mark.parametrize("name", ["", *GROUPS, *COMMANDS])
def test_help_reads_well(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    text = helped(name.split(), capsys)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert NOISE.findall(text) == []
    assert text.startswith("usage: understudy")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_option_is_explained(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    said = entries(helped(name.split(), capsys))
    known = leaves(COMMANDS[name].config())
    assert set(said) == {"--help", "--config", "--debug", *(f"--{path}" for path in known)}
    for option, text in said.items():
        assert len(text.split(" [")[0]) >= 4, (option, text)
        explained = text.split(" [")[0].rstrip(".").split()
        assert [word.lower() for word in explained] != [option.rpartition(".")[2].lstrip("-")]


def test_the_walk_would_notice():
    assert NOISE.search("--x X  (type: <class 'int'>)")
    assert entries("options:\n  --bare BARE\n  --told TOLD  Said.\n") == {
        "--bare": "",
        "--told": "Said.",
    }
