"""What a page says is what the run directory holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report import runs
from tests.report.test_html import Parsed
from understudy.cli import main
from understudy.report.media import MAX_BYTES
from understudy.report.page import MOST_RUNS, render_page, write_report
from understudy.report.read import ComparisonRecord, read_record
from understudy.run.errors import RunError


class Words(Parsed):
    """The text of a page, with a space between elements."""

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def text_of(*paths: Path) -> str:
    """What a reader sees, without markup."""
    page = render_page([read_record(path) for path in paths])
    body = page.partition("<body>")[2].partition('<script type="application')[0]
    return " ".join(Words(body).text.split())


def test_evaluations_failures_and_costs_are_those_of_the_files(tmp_path: Path):
    run = runs.start(tmp_path / "a")
    runs.ledger(run / "lm" / "ledger.json", "gpt")
    text = text_of(run)
    assert "accuracy, held out 25.0 % [15.0 %, 35.0 %] 75.0 % [65.0 %, 85.0 %] 200" in text
    assert "arithmetic, held out 30 200 15.0 % 65.0 %" in text
    assert "calls refused by the model's server 2 10 20.0 %" in text
    assert "gpt 7 3 2 1 1,000 50 2 0.0125" in text
    assert "time, seconds 4 s" in text
    assert "understudy policy train --config" in text


def test_a_search_shows_its_winner_on_episodes_that_no_search_saw(tmp_path: Path):
    run = runs.start(tmp_path / "a", "optimizer")
    rows = [{"step": n, "episodes": 10.0 * n, "best": 5.0 * n, "generation_mean": n} for n in (1, 2)]  # fmt: skip
    runs.metrics(run / "metrics.jsonl", rows)
    held = {"mean": 9.5, "low": 9.0, "high": 10.0, "episodes": 50}
    (run / "result.json").write_text(json.dumps({"held_out": held, "spent": {"episodes": 70}}))
    trials = [{"proposer": name} for name in ("lm", "lm", "lm-near", "random")]
    runs.metrics(run / "trials.jsonl", [{"point": [1], "returns": [1], **row} for row in trials])
    text = text_of(run)
    assert "return of the winner, held out 9.5 [9, 10] 50" in text
    assert "proposals moved away from duplicates 1 3 33.3 %" in text
    assert "search: episodes 70" in text
    assert "from 5 to 10" in render_page([read_record(run)])


def test_samples_are_right_wrong_and_unreadable_in_turn(tmp_path: Path):
    run = runs.start(tmp_path / "a")
    (run / "episodes").mkdir()
    verdicts = [True] * 9 + [False, None]
    rows = [runs.episode(f"question {n}", f"answer {n}", v) for n, v in enumerate(verdicts)]
    rows.append(runs.episode("long", "x" * 10_000, False, finish_reason="length"))
    runs.metrics(run / "episodes" / "000003.jsonl", rows)
    text = text_of(run)
    shown = text.partition("Answers in training, last")[2]
    assert shown.startswith(" 6 shown")
    order = [shown.index(f"question {n}") for n in (0, 9, 10, 1)]
    assert order == sorted(order)
    assert "(6000 more characters)" in shown
    assert "cut off at its length" in shown
    assert "iteration 3 · reward 1" in shown


def test_advice_and_calls_show_what_was_understood(tmp_path: Path):
    run = runs.start(tmp_path / "a", "teacher")
    plan = {"text": "see a key", "raw": "take it", "answers": [["pick up", 0.75], ["wait", 0.25]]}
    runs.metrics(run / "plans.jsonl", [{"model": "m"}, plan, {**plan, "fallback": True}])
    card = {"fallbacks": 3, "asked": 12, "trial": {"passed": False}}
    (run / "teacher.json").write_text(json.dumps(card))
    runs.calls(run / "lm" / "cache.sqlite", [("say a digit", "7")])
    text = text_of(run)
    assert "see a key answer take it understood pick up (75.0 %), wait (25.0 %)" in text
    assert text.count("no usable answer: a fallback") == 1
    assert "advice without a usable answer 3 12 25.0 %" in text
    assert "teacher failed its trial 1 1" in text
    assert "say a digit answer 7 understood 7 m · asked in a form" in text


def compared(root: Path, moved: Path | None = None) -> Path:
    rows: list[dict[str, object]] = []
    for method, right in (("grpo", 0.75), ("rloo", 0.5)):
        for seed in (0, 1, 2):
            run = runs.start(root / f"{method}-{seed}", seed=seed)
            last = right + 0.1 * (seed - 1)
            runs.metrics(run / "metrics.jsonl", [runs.evaluation(0, 0.2), runs.evaluation(5, last)])
            where = run if moved is None else moved / run.name
            rows.append({"algorithm": method, "seed": seed, "run": str(where)})
    (root / "compare.json").write_text(json.dumps(rows))
    return root


def test_a_comparison_is_the_mean_and_the_range_of_its_seeds(tmp_path: Path):
    page = render_page([read_record(compared(tmp_path / "c"))])
    text = text_of(tmp_path / "c")
    assert "grpo accuracy, held out 75.0 % [65.0 %, 85.0 %] 65.0 % 3 65.0 %, 75.0 %, 85.0 %" in text
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    chart = next(c for c in data["charts"].values() if c["share"])
    grpo, rloo = chart["lines"]
    assert (grpo["n"], rloo["n"]) == ("grpo (3 seeds)", "rloo (3 seeds)")
    assert (grpo["y"], grpo["l"], grpo["h"]) == ([0.2, 0.75], [0.2, 0.65], [0.2, 0.85])
    assert rloo["y"] == [0.2, 0.5]


def test_the_runs_of_a_comparison_that_was_moved_are_found_beside_it(tmp_path: Path):
    root = compared(tmp_path / "c", moved=Path("/nowhere"))
    record = read_record(root / "compare.json")
    assert isinstance(record, ComparisonRecord)
    assert len(record.members) == 6
    (root / "grpo-0" / "run.json").unlink()
    assert "not a run directory" in text_of(root)


def test_several_runs_are_drawn_together(tmp_path: Path):
    paths = [runs.start(tmp_path / f"r{n}") for n in range(MOST_RUNS + 2)]
    page = render_page([read_record(path) for path in paths])
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["charts"]["c0"]["lines"]) == len(paths)
    assert page.count('class="run"') == MOST_RUNS
    assert "2 more runs are in the table above only." in page


# ---- what is damaged, missing or too large ------------------------------------------------------


def test_what_cannot_be_read_costs_its_section_and_is_told(tmp_path: Path):
    run = runs.start(tmp_path / "a")
    (run / "fidelity.json").write_text('{"cohort": {"variables": 3}}')
    (run / "teacher.json").write_text("{")
    (run / "lm").mkdir()
    (run / "lm" / "cache.sqlite").write_bytes(b"not a database, but long enough to be one" * 40)
    (run / "episodes").mkdir()
    (run / "episodes" / "000000.jsonl").write_text("nonsense\n")
    text = text_of(run)
    for part in ("Fidelity: a file of the run has another shape", "teacher.json: not JSON", "000000.jsonl:1: not JSON"):  # fmt: skip
        assert part in text
    assert "75.0 % [65.0 %, 85.0 %]" in text
    (run / "metrics.jsonl").write_text("{\nnonsense\n{}\n")
    assert "line 1 is damaged" in text_of(run)


def test_an_odd_file_costs_a_comparison_one_section(tmp_path: Path):
    root = compared(tmp_path / "c")
    (root / "grpo-0" / "result.json").write_text('{"held_out": [1]}')
    (root / "grpo-1" / "lm").mkdir()
    (root / "grpo-1" / "lm" / "ledger.json").write_text('{"done": "many", "usd": 2.5}')
    (root / "grpo-2" / "teacher.json").write_text("[]")
    text = text_of(root)
    assert "Results: a file of the run has another shape" in text
    assert "grpo 1 grpo-1 5 2026-01-02 03:04:05 UTC 0 0 2.5 4" in text
    assert "teacher.json: not a table" in text_of(root / "grpo-2")
    info = json.loads((root / "rloo-0" / "run.json").read_text())
    (root / "rloo-0" / "run.json").write_text(json.dumps({**info, "versions": [1]}))
    assert "run.json: damaged" in text_of(root)


def test_an_empty_run_has_a_page(tmp_path: Path):
    run = runs.start(tmp_path / "a")
    (run / "metrics.jsonl").write_text("")
    (run / "timing.jsonl").unlink()
    assert "nothing logged" in text_of(run)


def test_media_are_embedded_by_what_they_are_and_within_a_size(tmp_path: Path):
    run = runs.start(tmp_path / "a")
    (run / "media").mkdir()
    gif = b"GIF89a" + b"0" * 50
    (run / "media" / "good.gif").write_bytes(gif)
    (run / "media" / "script.png").write_bytes(b"<svg onload=alert(1)>")
    (run / "media" / "large.mp4").write_bytes(b"0000ftyp" + bytes(MAX_BYTES))
    (tmp_path / "secret.gif").write_bytes(gif)
    (run / "media" / "link.gif").symlink_to(tmp_path / "secret.gif")
    page, text = render_page([read_record(run)]), text_of(run)
    assert page.count("src=") == page.count('src="data:image/gif;base64,') == 1
    assert "large.mp4: 8.0 MB, left out of the page" in text
    assert "script.png: not a picture or video" in text
    assert "link.gif" not in text


@pytest.mark.parametrize("kind", ["nothing", "no run", "neither", "list", "out"])
def test_what_is_no_run_is_one_clear_line(tmp_path: Path, kind: str):
    (tmp_path / "empty").mkdir()
    runs.start(tmp_path / "root" / "inner")
    (tmp_path / "compare.json").write_text("[1]")
    paths, out, says = {
        "nothing": ([], "r.html", "at least one run"),
        "no run": (["missing"], "r.html", "no such run"),
        "neither": (["root"], "r.html", "there is one at"),
        "list": (["compare.json"], "r.html", "not a comparison"),
        "out": (["root/inner"], "compare.json/r.html", "compare.json"),
    }[kind]
    with pytest.raises(RunError, match=says):
        write_report([tmp_path / path for path in paths], tmp_path / out)


def test_the_command_writes_into_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = runs.start(tmp_path / "a")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert "<h1>policy · word-problems · a</h1>" in (run / "report.html").read_text()
    assert main(["report", str(run), "--out", str(tmp_path / "x.html"), "--title", "A <b>"]) == 0
    assert "<h1>A &lt;b&gt;</h1>" in (tmp_path / "x.html").read_text()
    assert main(["report"]) == 2
    assert main(["view", str(tmp_path / "missing")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "report needs a run directory" in errors[0]
    assert "no such directory" in errors[1]


def test_a_report_needs_no_torch():
    program = "import sys, understudy.report.page, understudy.report.serve; print('torch' in sys.modules)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"


# ---- runs of the roles --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("policy train", ["accuracy, held out", "Answers in training, last", "arithmetic, held out"]),
        ("teacher train", ["success, held out", "Advice", "advice without a usable answer"]),
        ("optimizer train", ["return of the winner, held out", "search: episodes"]),
        ("simulator run", ["Policies judged off-policy", "Fidelity by simulator", "numberRating", "People still taking part"]),
        ("world_model train", ["return, held out", "parameters, core"]),
    ],
)  # fmt: skip
def test_a_run_of_every_role_is_shown_without_a_problem(
    command: str, parts: list[str], tmp_path: Path
):
    words = [*command.split(), "--debug", "--run.root", str(tmp_path), "--run.progress", "false"]
    assert main(words) == 0
    (run,) = (path.parent for path in tmp_path.rglob("run.json"))
    text = text_of(run)
    assert "Not all could be shown" not in text
    for part in [*parts, "config.toml", "Versions and threads"]:
        assert part in text
    if command == "world_model train":
        assert main(["world_model", "eval", "--agent", str(run), "--debug", "--run.root", str(tmp_path / "e"), "--run.progress", "false"]) == 0  # fmt: skip
        (made,) = (path.parent for path in (tmp_path / "e").rglob("run.json"))
        assert "observation[0] happened dreamt" in text_of(made)
