"""Checkpoints: `<step>/` with safetensors, `state.json` and a manifest that seals every byte.

A checkpoint is written under a temporary name, synced file by file, and renamed, so a name that is
a number always was whole. Safetensors alone loads a flipped bit without a word; here every file's
SHA-256 stands in `MANIFEST.json`, which carries its own, and the loader falls back to the newest
checkpoint that is whole.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from understudy.run.errors import RunError
from understudy.run.files import (
    on_disk,
    replace_file,
    require_space,
    seal,
    sha256,
    sync,
    to_json,
    unseal,
    write_synced,
)

SCHEMA = 1
MANIFEST, STATE = "MANIFEST.json", "state.json"
GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint, verified byte by byte."""

    step: int
    tensors: dict[str, dict[str, torch.Tensor]]
    """By group, as they were given to `save`, on the CPU."""
    state: dict[str, Any]
    problems: tuple[str, ...] = ()
    """What was found damaged on the way to this checkpoint, one line each."""


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensors],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
    best: bool = False,
) -> Path:
    """Writes `folder/<step>/`, verifies it, then deletes what is no longer kept.

    Args:
        folder: the run's `checkpoints/`; one process writes it at a time.
        step: greater than that of every whole checkpoint (an equal one is replaced).
        tensors: groups of tensors; each group is one safetensors file.
        state: JSON that reads back equal (lists, not tuples; string keys; no NaN).
        keep: the newest whole checkpoints that stay, at least 2.
        best: this one stays until another is the best.

    Raises:
        RunError: no space, cannot be written, or the folder is ahead of `step`.
    """
    if step < 0 or keep < 2:
        raise ValueError(f"step must be ≥ 0 and keep ≥ 2, not {step} and {keep}")
    text = to_json(state)
    with on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        ahead = [other for other in _steps(folder) if other > step]
        for other in ahead:
            if not _damage(folder / str(other)):
                raise RunError(f"{folder}: has step {other}, ahead of step {step} now saved")
        _clear(folder)
        size = len(text) + sum(t.nbytes for group in tensors.values() for t in group.values())
        require_space(folder, size + size // 4 + (1 << 20))
        _write(folder, step, tensors, text)
        target = folder / str(step)
        if damage := _damage(target):
            raise RunError(f"{target}: damaged while it was written: {damage[0]}")
        pointer = seal({"step": step})
        replace_file(folder / "latest", pointer)
        if best:
            replace_file(folder / "best", pointer)
        for other in ahead:
            shutil.rmtree(folder / str(other))
        _retire(folder, keep)
        _clear(folder)
    return target


def load(folder: Path, *, best: bool = False) -> Checkpoint | None:
    """The newest whole checkpoint (or the best); None if nothing was ever saved.

    Raises:
        RunError: there are checkpoints and none is whole.
    """
    problems: list[str] = []
    with on_disk(folder):
        steps = list(_steps(folder))
        pointed = _pointed(folder / ("best" if best else "latest"), problems)
        if best:
            steps = [] if pointed is None else [pointed]
        for step in steps:
            path = folder / str(step)
            problems += (damage := _damage(path))
            if not damage:
                manifest = _manifest(path)
                groups = [name for name in manifest["files"] if name != STATE]
                tensors = {Path(name).stem: load_file(path / name) for name in groups}
                return Checkpoint(step, tensors, _json(path / STATE), tuple(problems))
    if steps:
        raise RunError(f"{folder}: no whole checkpoint: {'; '.join(problems)}")
    return None


def verify(folder: Path) -> list[str]:
    """What is damaged in a run's `checkpoints/`, one line each; reads every byte."""
    problems: list[str] = []
    with on_disk(folder):
        for name in ("latest", "best"):
            _pointed(folder / name, problems)
        for step in _steps(folder):
            problems += _damage(folder / str(step))
    return problems


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Any]:
    """An optimizer's state as tensors and JSON; `unpack_optimizer` restores it to the bit."""
    packed = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for kind, table in (
        ("state", packed["state"]),
        ("group", dict(enumerate(packed["param_groups"]))),
    ):
        for index, entries in table.items():
            for name, value in entries.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{kind}.{index}.{name}"] = value
                else:
                    plain = list(value) if isinstance(value, tuple) else value
                    values.setdefault(f"{kind}.{index}", {})[name] = plain
    return tensors, values


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, values: Any) -> None:
    """Restores what `pack_optimizer` took, into an optimizer built the same way.

    Raises:
        RunError: the optimizer has other parameter groups than the one that was packed.
    """
    now = optimizer.state_dict()["param_groups"]
    packed: dict[str, dict[str, Any]] = {name: dict(entries) for name, entries in values.items()}
    for path, tensor in tensors.items():
        kind, index, name = path.split(".", 2)
        packed.setdefault(f"{kind}.{index}", {})[name] = tensor
    groups = [packed.get(f"group.{index}", {}) for index in range(len(now))]
    sizes = [len(group.get("params", ())) for group in groups]
    wanted = [len(group["params"]) for group in now]
    if sizes != wanted or f"group.{len(now)}" in packed:
        raise RunError(f"the checkpoint's optimizer has groups of {sizes} parameters, not {wanted}")
    for group, other in zip(groups, now, strict=True):
        for name, value in other.items():
            if isinstance(value, tuple):
                group[name] = tuple(group[name])
    state = {int(key[6:]): entries for key, entries in packed.items() if key.startswith("state.")}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def threads() -> int:
    """Threads torch computes with; another number sums in another order and gives other bits."""
    return torch.get_num_threads()


# ---- writing ------------------------------------------------------------------------------------


def _write(folder: Path, step: int, tensors: Mapping[str, Tensors], state: bytes) -> None:
    """Writes a whole checkpoint and gives it its name."""
    temporary = folder / f".tmp-{step}"
    temporary.mkdir()
    for group, named in tensors.items():
        if not GROUP.fullmatch(group) or f"{group}.json" == STATE:
            raise ValueError(f"not a name for a group of tensors: {group!r}")
        path = temporary / f"{group}.safetensors"
        try:
            save_file(_separate(named), path)
        except SafetensorError as error:
            raise RunError(f"{path}: {error}") from error
        sync(path)
    write_synced(temporary / STATE, state)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(temporary.iterdir())
    }
    libraries = {name: importlib.metadata.version(name) for name in ("torch", "safetensors")}
    manifest = {"schema": SCHEMA, "step": step, "files": files, "libraries": libraries}
    write_synced(temporary / MANIFEST, seal(manifest))
    sync(temporary)
    target = folder / str(step)
    if target.exists():
        # No system call swaps two directories everywhere; a kill between these two lines costs this
        # step, and the checkpoint before it is loaded.
        target.rename(folder / f".tmp-old-{step}")
    temporary.rename(target)
    sync(folder)


def _separate(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Contiguous CPU copies that share no memory, which is what safetensors can hold."""
    separate: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        separate[name] = tensor
    return separate


def _clear(folder: Path) -> None:
    """Removes what was set aside or, by a killed process, left half-written."""
    for path in folder.glob(".tmp-*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _retire(folder: Path, keep: int) -> None:
    """Deletes all but the newest `keep` and the best.

    The newest was just verified byte by byte; the others count as whole if their manifest and
    sizes are, which costs no reading of gigabytes at every save.
    """
    best = _pointed(folder / "best", damaged := list[str]())
    whole = [step for step in _steps(folder) if not _damage(folder / str(step), contents=False)]
    if len(whole) < keep or damaged:
        return
    for step in list(_steps(folder)):
        if step not in whole[:keep] and step != best:
            shutil.rmtree(folder / str(step))
    sync(folder)


# ---- reading ------------------------------------------------------------------------------------


def _steps(folder: Path) -> Iterator[int]:
    """Steps that have a checkpoint, newest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    yield from sorted(
        (int(n) for n in names if re.fullmatch(r"0|[1-9][0-9]{0,17}", n)), reverse=True
    )


def _pointed(path: Path, problems: list[str]) -> int | None:
    """The step a pointer file names; None if there is no file, -1 (no step) if it is damaged."""
    if not path.exists():
        return None
    body = unseal(path.read_bytes()) if path.is_file() else None
    if body is None:
        problems.append(f"{path}: damaged")
        return -1
    return body["step"]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


def _manifest(path: Path) -> dict[str, Any]:
    body = unseal((path / MANIFEST).read_bytes())
    if body is None:
        raise RunError(f"{path / MANIFEST}: changed while it was read")
    return body


def _damage(path: Path, *, contents: bool = True) -> list[str]:
    """What is wrong with one checkpoint; empty if every byte is as it was written."""
    if not (path / MANIFEST).is_file():
        return [f"{path / MANIFEST}: missing"]
    body = unseal((path / MANIFEST).read_bytes())
    if body is None:
        return [f"{path / MANIFEST}: damaged"]
    if body["schema"] != SCHEMA:
        return [f"{path}: written in format {body['schema']}; this version reads {SCHEMA}"]
    if str(body["step"]) != path.name:
        return [f"{path}: is the checkpoint of step {body['step']}, renamed"]
    problems: list[str] = []
    for name, entry in body["files"].items():
        file = path / name
        if not file.is_file():
            problems.append(f"{file}: missing")
        elif file.stat().st_size != entry["bytes"]:
            problems.append(f"{file}: {file.stat().st_size} bytes instead of {entry['bytes']}")
        elif contents and sha256(file) != entry["sha256"]:
            problems.append(f"{file}: damaged")
    return problems
