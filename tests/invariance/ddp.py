"""Plain runs and runs in two processes side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from tests.roles.processes import command
from understudy.run.checkpoint import Checkpoint, load

CLOSE = 1e-5


def go_on(run: Path, *flags: str) -> Path:
    """Resumes a run to its end."""
    assert command(["resume", str(run), "--run.progress", "false", *flags]) == 0
    return run


def checkpoint(run: Path) -> Checkpoint:
    found = load(run / "checkpoints")
    assert found is not None
    return found


def apart(a: Checkpoint, b: Checkpoint, group: str) -> float:
    """The largest difference between the weights of two checkpoints of one step."""
    assert a.step == b.step
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensors in a.tensors.items():
        assert tensors.keys() == b.tensors[name].keys()
        assert all(t.shape == b.tensors[name][k].shape for k, t in tensors.items())
    mine, other = a.tensors[group], b.tensors[group]
    return max(float((t.float() - other[k].float()).abs().max()) for k, t in mine.items())


def moved(before: dict[str, torch.Tensor], after: Checkpoint, group: str) -> float:
    """How far the weights went."""
    found = after.tensors[group]
    return max(float((t - found[k]).abs().max()) for k, t in before.items() if k in found)


def cut(run: Path, step: int, name: str) -> Path:
    """A copy of a run as it was when it had written the checkpoint of `step`."""
    other = run.with_name(name)
    shutil.copytree(run, other)
    (other / "checkpoints" / "latest").unlink()
    for folder in (other / "checkpoints").iterdir():
        if folder.is_dir() and int(folder.name) > step:
            shutil.rmtree(folder)
    found = checkpoint(other)
    assert found.step == step
    return other
