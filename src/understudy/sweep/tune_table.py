"""What a search over settings came to: every trial, the best of them, and its settings to be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.compare.summary import interval
from understudy.run.config import dump
from understudy.run.fields import build, flatten
from understudy.run.files import on_disk, replace_file, write_json
from understudy.sweep.config import label, value_text
from understudy.sweep.summary import text
from understudy.sweep.tune_config import Span, TuneConfig

TABLE, BEST = "tune.json", "best.toml"
PROBLEM, ROW = "problem", "row"
"""Attributes of a trial: why it failed, or its line of the table."""


def setting_of(config: TuneConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a trial's settings, as the role's configuration has them."""
    found: dict[str, Any] = {}
    for key, values in config.space().items():
        chosen = params[key]
        if not isinstance(values, Span):
            chosen = next(value for value in values if value_text(value) == chosen)
        found[key] = chosen
    return found


def write_table(root: Path, config: TuneConfig, study: Any) -> Path:
    """Writes `tune.json`, `tune.txt` and, where there is a best trial, `best.toml`.

    Args:
        root: the search's directory.
        config: the search.
        study: its trials.

    Returns:
        The JSON file.
    """
    trials = study.trials
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    failed = [trial for trial in trials if PROBLEM in trial.user_attrs]
    best = _best(root, config, study.best_trial) if complete else None
    found: dict[str, Any] = {
        "schema": 1,
        "name": config.name,
        "role": config.role,
        "sampler": config.sampler,
        "wanted": config.trials,
        "complete": len(complete),
        "best": best,
        "trials": [trial.user_attrs[ROW] for trial in complete],
        "without_figure": [
            {
                "trial": trial.number,
                "setting": label(setting_of(config, trial.params)),
                "problem": trial.user_attrs[PROBLEM],
            }
            for trial in failed
        ],
    }
    write_json(root / TABLE, found)
    with on_disk(root):
        replace_file((root / TABLE).with_suffix(".txt"), (_text(found) + "\n").encode())
    return root / TABLE


def _best(root: Path, config: TuneConfig, trial: Any) -> dict[str, Any]:
    """The best trial; its settings go to a file for the role's own command."""
    setting, row = setting_of(config, trial.params), trial.user_attrs[ROW]
    whole = build(type(config.base), {**flatten(config.base), **setting})
    with on_disk(root):
        replace_file(root / BEST, dump(whole).encode())
    return {
        "trial": trial.number, "setting": setting, "mean": row["mean"], "unit": row["unit"],
        "config": BEST,
    }  # fmt: skip


def _text(found: Mapping[str, Any]) -> str:
    failed = [
        {"run": f"trial {one['trial']} ({one['setting']})", "problem": one["problem"]}
        for one in found["without_figure"]
    ]
    rows = sorted(found["trials"], key=lambda row: (row["role"], row["env"]))
    ended = f"{found['complete']} of {found['wanted']} trials, {len(failed)} failed"
    blocks = [text({"settings": rows, "failed": failed}), ended]
    if best := found["best"]:
        setting = label(best["setting"])
        blocks[-1] += (
            f"\nbest: trial {best['trial']}, {best['unit']} {interval(best['mean'])}: {setting}\n"
            f"its settings, the best of so many and so better than they will be again: {BEST}"
        )
    return "\n\n".join(blocks)
