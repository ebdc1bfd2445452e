"""Whatever happens to a checkpoint, it is noticed, and the newest whole one is loaded."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from understudy.run import checkpoint as checkpoints
from understudy.run.checkpoint import load, save, verify
from understudy.run.errors import RunError
from understudy.run.files import seal, unseal

FLIPS = 200


def _tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    return {
        "weights": {"w": torch.randn(7, 5, generator=generator), "b": torch.zeros(())},
        "optimizer": {"m": torch.randn(35, generator=generator).to(torch.bfloat16)},
    }


def _state(step: int) -> dict[str, Any]:
    return {"index": step, "loss": 0.1 + 0.2, "rng": 2**127 + step, "none": None, "list": [1, "ü"]}


def _save(folder: Path, *steps: int, **options: Any) -> None:
    for step in steps:
        save(folder, step, _tensors(step), _state(step), **options)


def _assert_is(found: Any, step: int) -> None:
    assert found.step == step
    assert found.state == _state(step)
    expected = _tensors(step)
    assert found.tensors.keys() == expected.keys()
    for group, named in expected.items():
        assert found.tensors[group].keys() == named.keys()
        for name, value in named.items():
            assert found.tensors[group][name].dtype == value.dtype
            assert torch.equal(found.tensors[group][name], value)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_round_trip_and_layout(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    _save(tmp_path, 3)
    _assert_is(found := load(tmp_path), 3)
    assert found is not None
    assert found.problems == ()
    assert _names(tmp_path) == {"3", "latest"}
    assert _names(tmp_path / "3") == {
        "MANIFEST.json", "optimizer.safetensors", "state.json", "weights.safetensors",
    }  # fmt: skip
    assert json.loads((tmp_path / "latest").read_bytes())["step"] == 3
    manifest = json.loads((tmp_path / "3" / "MANIFEST.json").read_bytes())
    assert manifest["libraries"]["torch"]
    assert manifest["schema"] == 1


def test_saving_the_same_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    _save(tmp_path / "a", 1)
    _save(tmp_path / "b", 1)
    for path in (tmp_path / "a" / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "1" / path.name).read_bytes()


def test_views_tied_and_transposed_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    given = {
        "base": base,
        "tied": base,
        "view": base[1],
        "turned": base.T,
        "leaf": base.clone().requires_grad_(),
    }
    save(tmp_path, 0, {"weights": given}, {})
    found = load(tmp_path)
    assert found is not None
    for name, value in given.items():
        assert torch.equal(found.tensors["weights"][name], value.detach())


def test_training_on_loaded_tensors_leaves_the_file_alone(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    found = load(tmp_path)
    assert found is not None
    found.tensors["weights"]["w"].add_(1)
    _assert_is(load(tmp_path), 1)


def test_every_single_flipped_bit_is_noticed_and_not_loaded(tmp_path: Path) -> None:
    good = tmp_path / "good"
    _save(good, 1, 2)
    files = [*(good / "2").iterdir(), good / "latest"]
    rng = random.Random(0)
    for flip in range(FLIPS):
        # Every file gets its share; a manifest is small beside weights.
        path = files[flip % len(files)]
        whole = path.read_bytes()
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        found = load(good)
        assert found is not None
        _assert_is(found, 2 if path.name == "latest" else 1)
        assert len(found.problems) == 1
        assert found.problems[0].startswith(f"{path}: damaged")
        assert verify(good) == list(found.problems)
        path.write_bytes(whole)
    assert verify(good) == []
    _assert_is(load(good), 2)


@pytest.mark.parametrize("name", ["MANIFEST.json", "state.json", "weights.safetensors"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_truncated_files_are_noticed(tmp_path: Path, name: str, share: float) -> None:
    _save(tmp_path, 1, 2)
    path = tmp_path / "2" / name
    os.truncate(path, int(path.stat().st_size * share))
    found = load(tmp_path)
    _assert_is(found, 1)
    assert found is not None
    assert found.problems[0].startswith(f"{path}: ")


def _remove(path: Path) -> None:
    (path / "weights.safetensors").unlink()


def _unmanifest(path: Path) -> None:
    (path / "MANIFEST.json").unlink()


def _future(path: Path) -> None:
    body = unseal((path / "MANIFEST.json").read_bytes())
    assert body is not None
    (path / "MANIFEST.json").write_bytes(seal({**body, "schema": 2}))


def _impostor(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name("1"), path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_remove, "weights.safetensors: missing"),
        (_unmanifest, "MANIFEST.json: missing"),
        (_future, "written in format 2; this version reads 1"),
        (_impostor, "is the checkpoint of step 1, renamed"),
    ],
)
def test_other_damage_is_named(tmp_path: Path, harm: Callable[[Path], None], words: str) -> None:
    _save(tmp_path, 1, 2)
    harm(tmp_path / "2")
    found = load(tmp_path)
    _assert_is(found, 1)
    assert found is not None
    assert words in found.problems[0]


def test_nothing_whole_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    for step in (1, 2):
        (tmp_path / str(step) / "state.json").write_bytes(b"{}")
    with pytest.raises(RunError, match=r"no whole checkpoint: .*2/state.json.*1/state.json"):
        load(tmp_path)


def test_torn_directories_are_ignored_and_cleared(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    shutil.copytree(tmp_path / "1", tmp_path / ".tmp-2")
    (tmp_path / ".tmp-latest").write_bytes(b"{")
    _assert_is(load(tmp_path), 1)
    _save(tmp_path, 2)
    assert _names(tmp_path) == {"1", "2", "latest"}


def test_retention_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2, best=True)
    _save(tmp_path, 3, 4, 5)
    assert _names(tmp_path) == {"2", "4", "5", "latest", "best"}
    _assert_is(load(tmp_path, best=True), 2)
    _save(tmp_path, 6, best=True)
    assert _names(tmp_path) == {"5", "6", "latest", "best"}
    _save(tmp_path, 7, keep=3)
    assert _names(tmp_path) == {"5", "6", "7", "latest", "best"}


def test_a_damaged_checkpoint_does_not_count_as_one_of_those_kept(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    (tmp_path / "2" / "state.json").unlink()
    _save(tmp_path, 3)
    assert _names(tmp_path) == {"1", "3", "latest"}


def test_a_damaged_best_pointer_deletes_nothing(tmp_path: Path) -> None:
    _save(tmp_path, 1, best=True)
    (tmp_path / "best").write_bytes(b"1")
    _save(tmp_path, 2, 3)
    assert {"1", "2", "3"} < _names(tmp_path)
    with pytest.raises(RunError, match="best: damaged"):
        load(tmp_path, best=True)


def test_a_step_saved_again_is_replaced(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    save(tmp_path, 2, {}, {"again": True})
    found = load(tmp_path)
    assert found is not None
    assert found.state == {"again": True}
    assert _names(tmp_path) == {"1", "2", "latest"}


def test_going_back_past_a_damaged_checkpoint(tmp_path: Path) -> None:
    _save(tmp_path, 1, 5)
    with pytest.raises(RunError, match="has step 5, ahead of step 2"):
        _save(tmp_path, 2)
    (tmp_path / "5" / "state.json").unlink()
    _save(tmp_path, 2)
    assert _names(tmp_path) == {"1", "2", "latest"}


class _Failure(OSError):
    pass


def test_a_failure_at_any_instant_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sync, rename and removal of one save is made to fail in turn, without any tidying."""
    count, fail_at = 0, -1
    originals = {(os, "fsync"): os.fsync, (Path, "rename"): Path.rename, (Path, "replace"): Path.replace,
                 (Path, "open"): Path.open, (shutil, "rmtree"): shutil.rmtree}  # fmt: skip

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == fail_at:
                raise _Failure("power cut")
            return original(*args, **kwargs)

        return call

    seen = set[int]()
    for instant in range(1, 200):
        folder = tmp_path / str(instant)
        _save(folder, 1, 2)
        with monkeypatch.context() as patch:
            for (owner, name), original in originals.items():
                patch.setattr(owner, name, wrap(original))
            count, fail_at = 0, instant
            try:
                _save(folder, 3)
            except RunError:
                failed = True
            else:
                failed = False
        found = load(folder)
        assert found is not None
        _assert_is(found, found.step)
        assert found.problems == ()
        seen.add(found.step)
        _save(folder, 4)
        _assert_is(load(folder), 4)
        if not failed:
            break
    assert not failed
    assert seen == {2, 3}
    assert instant > 15


def test_everything_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of syncs and renames, which no kill can show: only a power cut would."""
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").resolve().name))
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        events.append(("rename", target.name))
        return rename(path, target)

    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    _save(folder, 7)
    renamed = events.index(("rename", "7"))
    files = {"weights.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"}
    assert {name for _, name in events[: renamed - 1]} == files
    assert events[renamed - 1 : renamed + 2] == [
        ("sync", ".tmp-7"), ("rename", "7"), ("sync", "checkpoints"),
    ]  # fmt: skip
    assert events[renamed + 2 :] == [("sync", ".tmp-latest"), ("sync", "checkpoints")]


def test_sigkill_at_random_instants(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "c"), "10"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    step, torn = map(int, done.stdout.split())
    assert step > 5
    assert torn >= 1


@pytest.mark.parametrize(
    "state", [{"a": (1, 2)}, {1: "a"}, {"a": float("nan")}, {"a": torch.zeros(1)}, {"a": {2: 3}}]
)
def test_state_that_json_would_change_is_refused(tmp_path: Path, state: Any) -> None:
    with pytest.raises(TypeError):
        save(tmp_path, 1, {}, state)
    assert load(tmp_path) is None


@pytest.mark.parametrize("group", ["", "../x", "A", "a/b", "state.json"])
def test_names_of_groups(tmp_path: Path, group: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        save(tmp_path, 1, {group: {}}, {})


def test_no_space_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunError, match=rf"^{tmp_path}: 5 MB needed, 1 MB free$"):
        save(tmp_path, 1, {"weights": {"w": torch.zeros(800_000)}}, {})
    assert _names(tmp_path) == set()


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "checkpoints", Path("/proc/checkpoints")):
        with pytest.raises(RunError, match=f"^{place}: ") as caught:
            _save(place, 1)
        assert "\n" not in str(caught.value)


def test_a_full_disk_while_writing_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "weights.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(RunError, match=r"^weights.safetensors: No space left on device$"):
            _save(tmp_path, 2)
    _assert_is(load(tmp_path), 1)
    _save(tmp_path, 2)
    _assert_is(load(tmp_path), 2)
