"""What comparisons, curves and videos show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.chaos.server import chaos_server
from tests.roles.optimizer.scripted import TOKENS, Scripted
from understudy.cli import main
from understudy.report.curves import draw
from understudy.roles.optimizer import video
from understudy.roles.optimizer.summary import area, curves, describe_comparison
from understudy.run.errors import RunError


def test_the_area_is_the_mean_of_the_best_so_far() -> None:
    # 10 evaluations at 1 (the first generation's own), 30 more at 1 until the second ends, then 5.
    assert area([10, 40], [1.0, 5.0], until=50) == pytest.approx((39 * 1 + 11 * 5) / 50)
    assert area([10, 200], [-3.0, 5.0]) == -3.0
    assert area([2], [7.0], until=100) == 7.0


def test_a_comparison_shows_what_the_model_cost_and_draws_the_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    with chaos_server(respond=Scripted()) as server:
        flags = [
            "--env", "CartPole-v1", "--proposers", '["lm", "random"]', "--seeds", "[0, 1]",
            "--base.lm", f"{server.url}#m", "--base.env_options", '{"max_episode_steps": 30}',
            "--base.budget.episodes", "90", "--base.held_out", "10", "--base.run.root", str(tmp_path),
            "--base.run.progress", "false",
        ]  # fmt: skip
        assert main(["optimizer", "compare", *flags]) == 0
        calls = len(server.bodies)
    out = capsys.readouterr().out
    file = tmp_path / "optimizer" / "CartPole-v1" / "compare.json"
    rows = json.loads(file.read_text())["runs"]
    head, lm, random = (
        next(line.split() for line in out.splitlines() if line.startswith(name))
        for name in ("proposer", "lm ", "random ")
    )
    # "quartiles" is two words wide in the rows.
    column = {name: i + (i > head.index("quartiles")) for i, name in enumerate(head)}
    assert float(lm[column["calls"]]) == pytest.approx(calls / 2, abs=0.5)
    assert float(lm[column["tokens"]]) == calls / 2 * TOKENS["total_tokens"]
    assert random[column["calls"]] == random[column["tokens"]] == "0"
    areas = [area(row["trials"], row["best"]) for row in rows[:2]]
    assert float(lm[column["area"]]) == pytest.approx(np.mean(areas), rel=1e-3)
    with Image.open(file.with_suffix(".png")) as picture:
        assert picture.size[0] > 500
    drawn, _, options = curves(file)
    assert list(drawn) == ["lm", "random"]
    assert [len(seeds) for seeds in drawn.values()] == [2, 2]
    assert drawn["lm"][0] == list(zip(rows[0]["episodes"], rows[0]["best"], strict=True))
    held = [(row["spent"]["episodes"], row["held_out"]["mean"]) for row in rows]
    assert options["points"] == {"lm": held[:2], "random": held[2:]}
    assert describe_comparison(file) in out


def test_bands_are_of_the_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Median and middle half of returns of any sign; mean and range where that is asked for."""
    axes_module = pytest.importorskip("matplotlib.axes")
    shown: dict[str, Any] = {}

    def plot(self: Any, x: Any, y: Any, **kwargs: Any) -> Any:
        shown["line"] = y
        return original(self, x, y, **kwargs)

    def fill(self: Any, x: Any, low: Any, high: Any, **_: Any) -> None:
        shown["band"] = low, high

    original = axes_module.Axes.plot
    monkeypatch.setattr(axes_module.Axes, "plot", plot)
    monkeypatch.setattr(axes_module.Axes, "fill_between", fill)
    seeds = [[(0.0, v), (10.0, v)] for v in (-100.0, -50.0, -40.0, -30.0, 200.0)]
    draw(
        {"a": seeds}, tmp_path / "a.png", ylabel="r", band="quartiles", points={"a": [(10.0, 1.0)]}
    )
    assert shown["line"][0] == -40.0
    assert (shown["band"][0][0], shown["band"][1][0]) == (-50.0, -30.0)
    draw({"a": seeds}, tmp_path / "a.png", ylabel="r")
    assert shown["line"][0] == pytest.approx(-4.0)
    assert (shown["band"][0][0], shown["band"][1][0]) == (-100.0, 200.0)


def trained(folder: Path, env: str, *flags: str) -> Path:
    where = ["--run.root", str(folder), "--run.name", "one", "--run.progress", "false"]
    small = ["--budget.episodes", "40", "--held_out", "4", "--proposer", "random"]
    assert main(["optimizer", "train", "--env", env, *small, *flags, *where]) == 0
    return folder / "optimizer" / env.replace("/", "-") / "one"


def test_a_video_shows_the_first_evaluated_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pygame")
    path = trained(tmp_path, "CartPole-v1", "--env_options", '{"max_episode_steps": 30}')
    frames: list[int] = []
    inner = video.write_gif

    def counted(given: Any, out: Path, *, frame_ms: int) -> Path:
        listed = list(given)
        frames.append(len(listed))
        return inner(listed, out, frame_ms=frame_ms)

    monkeypatch.setattr(video, "write_gif", counted)
    assert main(["optimizer", "eval", str(path), "--episodes", "1", "--video", "true"]) == 0
    out = capsys.readouterr().out
    assert str(path / "best_policy.gif") in out
    returned = float(out.split("CartPole-v1  ")[1].split()[0])
    # One reward of 1 a step: as many frames as the episode has steps, and the first.
    assert frames == [returned + 1]
    with Image.open(path / "best_policy.gif") as gif:
        assert gif.format == "GIF"


def test_an_environment_without_pictures_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained(tmp_path, "understudy/Nim-v0")
    assert main(["optimizer", "eval", str(path), "--video", "true"]) == 2
    assert capsys.readouterr().err == "understudy: video: understudy/Nim-v0 draws no pictures\n"


def test_a_video_needs_frames_in_bytes(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        video.write_gif(
            [np.zeros((4, 4, 3), np.uint8)], tmp_path / "nowhere" / "a.gif", frame_ms=10
        )
