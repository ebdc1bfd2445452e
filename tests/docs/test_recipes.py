"""Every recipe is run by the command its own head names, at the sizes of `--debug`."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, words_of
from understudy.api import flags
from understudy.cli import COMMANDS, main
from understudy.run.config import load
from understudy.run.fields import debug_values, flatten
from understudy.run.metrics import read

RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
LESS = {
    "grid": {
        "seeds": [0],
        "teacher": {"envs": ["SimpleDoorKey"]},
        "optimizer": {"envs": ["CartPole-v1"]},
    },
    "compare": {"algorithms": ["grpo"], "base": {"eval_problems": 2, "passk": 0}},
    "propose": {"warm_start": 0, "eval_problems": 2},  # a worked answer is half a second's search
    "pocket": {"tokenizer_examples": 10, "batch_size": 1, "steps": 2},
    "spread": {
        "methods": ["ppo+teacher"],
        "base": {"steps": 128, "minibatch": 96, "advice": {"trial": 0}},
    },
    "teacher": {"methods": ["ppo"], "ppo_steps": 256},
    "world_model": {"cores": ["gru"]},
    "evidence": {"seeds": [0], "world_model": {"cores": ["pocket+lora", "pocket+frozen"]}},
}
"""What else is made smaller where a recipe makes many runs or large ones."""


def command_of(path: Path) -> str:
    """The command in a recipe's head, with the recipe's place in this checkout."""
    name = rf"recipes/{re.escape(path.name)}"
    (command,) = re.findall(rf"understudy [a-z_ ]+(?:--config )?{name}", path.read_text())
    return command.replace(f"recipes/{path.name}", str(path))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    name, args = words_of(command_of(path))
    kind = COMMANDS[name].config()
    smaller = [*flags(debug_values(kind)), *flags(LESS.get(path.stem, {}))]
    recipe, run = load(kind, args), load(kind, [*args, *smaller])
    assert flatten(run) != flatten(recipe)
    assert main([*name.split(), *args, *smaller]) == 0
    logs = list(tmp_path.rglob("metrics.jsonl"))
    assert logs
    assert all(read(log)[-1]["step"] >= 2 for log in logs)
