"""Two run directories compared, byte by byte."""

from collections.abc import Sequence
from pathlib import Path

from understudy.run.checkpoint import load

MODELS = ("model/model.safetensors", "model-best/model.safetensors")


def assert_same(whole: Path, other: Path, files: Sequence[str] = MODELS) -> None:
    """Everything that a stop must not change: logs, `files`, episodes, the newest checkpoint."""
    names = ["metrics.jsonl", *files]
    names += [f"episodes/{file.name}" for file in (whole / "episodes").iterdir()]
    for name in names:
        assert (whole / name).read_bytes() == (other / name).read_bytes(), name
    a, b = load(whole / "checkpoints"), load(other / "checkpoints")
    assert a is not None
    assert b is not None
    assert not b.problems
    assert (a.step, a.state) == (b.step, b.state)
    assert a.tensors.keys() == b.tensors.keys()
    for group, tensors in a.tensors.items():
        assert tensors.keys() == b.tensors[group].keys()
        for name, tensor in tensors.items():
            mine = tensor.contiguous().numpy().tobytes()
            assert mine == b.tensors[group][name].contiguous().numpy().tobytes(), (group, name)
