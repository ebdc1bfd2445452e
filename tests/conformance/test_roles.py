"""What holds for every command that trains, and the check itself against commands that break it."""

import dataclasses
from pathlib import Path

import pytest

from understudy.cli import COMMANDS, main
from understudy.conformance import check_role
from understudy.run.errors import RunError

EXTRA = {
    "policy train": ("--max_tokens", "24", "--eval_problems", "4", "--passk", "0"),
    "teacher train": ("--advice.who", "expert"),
}


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.resumable])
def test_every_training_command_keeps_its_promises(name: str, tmp_path: Path):
    check_role(name, *EXTRA.get(name, ()), folder=tmp_path)


def test_what_is_not_kept_is_named(tmp_path: Path):
    sound = COMMANDS["teacher train"]

    def forgetful(config):
        made = sound.run(config)
        if config.run.resume:
            (made / "metrics.jsonl").write_text("")
        return made

    broken = {"teacher train": dataclasses.replace(sound, run=forgetful)}
    flags = EXTRA["teacher train"]
    with pytest.raises(RunError, match="resuming it when it is done changes it"):
        check_role("teacher train", *flags, commands=broken, folder=tmp_path)
    with pytest.raises(RunError, match="no command that trains"):
        check_role("policy grade")


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
