"""The five roles, as a grid sees them: how a cell is played and how its run is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from understudy.envs.study.load import load as load_study
from understudy.roles.optimizer import commands as optimizer, summary as optimizer_summary
from understudy.roles.policy import commands as policy, summary as policy_summary
from understudy.roles.simulator import commands as simulator, summary as simulator_summary
from understudy.roles.teacher import commands as teacher, summary as teacher_summary
from understudy.roles.world_model import commands as world_model, summary as world_model_summary
from understudy.run.cell import Cell
from understudy.run.outcome import Summary
from understudy.run.run import folder

PLAY: Mapping[str, Callable[[str, Any], Path]] = {
    "policy": policy.play,
    "teacher": teacher.play,
    "optimizer": optimizer.play,
    "world_model": world_model.play,
    "simulator": simulator.play,
}
SUMMARIES: Mapping[str, Summary] = {
    "policy": policy_summary,
    "teacher": teacher_summary,
    "optimizer": optimizer_summary,
    "world_model": world_model_summary,
    "simulator": simulator_summary,
}


def place(root: Path, cell: Cell) -> Path:
    """The directory of a cell's run; a study's runs are under its name, not under its file's."""
    env = load_study(cell.env).name if cell.role == "simulator" else cell.env
    return folder(root, cell.role, env) / cell.name
