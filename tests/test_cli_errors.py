"""The command line: light to start, and every error of the user's in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.toy import COMMANDS as TOY
from understudy import __version__, cli
from understudy.cli import COMMANDS, main


def _main(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(args, TOY)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


LIGHT = [
    ["--help"],
    ["--version"],
    ["policy"],
    ["policy", "--help"],
    *([*n.split(), "--help"] for n in COMMANDS),
]


def test_starting_up_imports_nothing_heavy() -> None:
    """One process for all, as each command's imports add to those before."""
    code = f"""
import sys
from understudy.cli import main
for args in {LIGHT!r}:
    try:
        assert main(args) == 0
    except SystemExit as end:
        assert end.code == 0
    heavy = {{"torch", "transformers", "openai", "peft", "gymnasium", "tensorboard"}} & set(sys.modules)
    assert not heavy, (args, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (f"understudy {__version__}", "resume RUN", *COMMANDS, "--run.root ROOT"):
        assert words in done.stdout


def test_every_command_has_a_summary_and_a_configuration_that_parses() -> None:
    for name, command in COMMANDS.items():
        assert command.summary.endswith("."), name
        assert command.config().__doc__, name


BAD_COMMANDS = {
    "polcy train": "unknown command 'polcy train'; did you mean 'policy train'?",
    "policy trian": "unknown command 'policy trian'; did you mean 'policy train'?",
    "policy --lm x": "unknown command 'policy'; did you mean 'policy",
    "xyzzy": "unknown command 'xyzzy'; understudy --help lists the commands",
    "--vers": "unknown command ''",
    "resume": "resume needs a run directory: understudy resume RUN; `ls` lists runs",
    "resume --debug": "resume needs a run directory",
    "resume /nowhere": "/nowhere: not a run directory (it has no run.json)",
    "ls /nowhere": "/nowhere: no such directory",
    "ls a b": "unexpected argument 'b'",
    "policy train --learning_rte 1": "unknown flag '--learning_rte'; did you mean '--learning_rate'?",
    "policy train --group 1": "group: rloo compares answers of a group",
    "policy train --config nowhere.toml": "nowhere.toml: no such file",
    "policy grade --env gsm8k": "file: grade needs a FILE to read and --out FILE to write",
    "env check wrd-problems": "unknown environment 'wrd-problems'; did you mean 'word-problems'?",
}


@pytest.mark.parametrize(("args", "expected"), BAD_COMMANDS.items())
def test_bad_commands(args: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"understudy: {expected}")
    assert captured.err.count("\n") == 1


def _exists(root: Path) -> list[str]:
    main(["toy", "train", "--debug", "--run.root", str(root), "--run.name", "x"], TOY)
    return ["toy", "train", "--debug", "--run.root", str(root), "--run.name", "x"]


def _under_a_file(root: Path) -> list[str]:
    (root / "file").write_text("")
    return ["toy", "train", "--run.root", str(root / "file")]


def _bad_toml(root: Path) -> list[str]:
    (root / "x.toml").write_text("steps = 1\nsteps = 2")
    return ["toy", "train", "--config", str(root / "x.toml")]


def _other_role(root: Path) -> list[str]:
    (root / "run.json").write_text(json.dumps({
        "role": "poet", "verb": "train", "env": "e", "name": "n", "seed": 0, "command": [], "created": "",
        "threads": 1, "git": None, "versions": {}, "schema": 1,
    }))  # fmt: skip
    return ["resume", str(root)]


def _no_checkpoint_whole(root: Path) -> list[str]:
    _exists(root)
    path = root / "toy" / "toy" / "x"
    for file in path.glob("checkpoints/*/state.json"):
        file.write_text("{}")
    return ["resume", str(path)]


def _another_configuration(root: Path) -> list[str]:
    _exists(root)
    return ["resume", str(root / "toy" / "toy" / "x"), "--clip", "0.5"]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_exists, "toy/toy/x: exists; choose another --run.name"),
        (_under_a_file, "file/toy/toy: Not a directory"),
        (_bad_toml, "not valid TOML: Cannot overwrite a value (at line 2, column 10)"),
        (_other_role, "a run of `poet train` cannot be resumed"),
        (_no_checkpoint_whole, "no whole checkpoint: "),
        (_another_configuration, "was started with clip = 0.2, not 0.5"),
    ],
)
def test_bad_places(
    prepare: Callable[[Path], list[str]],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = prepare(tmp_path)
    capsys.readouterr()
    code, out, err = _main(args, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("understudy: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_run_its_list_and_its_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _main(
        ["toy", "train", "--debug", "--run.root", str(tmp_path), "--run.name", "x"], capsys
    )
    path = tmp_path / "toy" / "toy" / "x"
    assert (code, out, err) == (0, f"{path}\n", "")
    code, out, err = _main(["resume", str(path), "--steps", "4"], capsys)
    assert (code, out, err) == (0, f"{path}\n", "")
    assert len((path / "metrics.jsonl").read_text().splitlines()) == 4
    assert main(["ls", str(tmp_path)]) == 0
    listed = capsys.readouterr().out.split()
    assert listed[0] == str(path)
    assert " ".join(listed[2:]) == "train step 4 checkpoint 4"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["toy", "break"], TOY)


def test_env_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "list"]) == 0
    assert "word-problems" in capsys.readouterr().out.split()
    assert main(["env", "check", "word-problems", "--problems", "5"]) == 0
    assert "keeps all rules" in capsys.readouterr().out


def test_an_interrupt_before_a_run_has_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "dispatch", interrupt)
    assert main([]) == 130
    assert capsys.readouterr().err == "understudy: interrupted\n"


def test_output_whose_reader_went_away() -> None:
    command = (
        f"{sys.executable} -c 'from understudy.cli import main; raise SystemExit(main([]))' | true"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
