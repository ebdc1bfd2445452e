"""Each line that the page about errors quotes is provoked, and is what is printed."""

import fcntl
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.lm.vllm_stand_in import StandIn
from understudy.cli import main
from understudy.roles.policy import train as policy_train
from understudy.run.run import Run

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
ROWS = re.findall(r"^\| (?!command)([^|]+) \| `([^|]+)` \| [^|]{10,} \|$", PAGE, re.MULTILINE)
FILES = {
    "typo.toml": "iteratons = 4\n",
    "train.jsonl": '{"question": "1 + 1?", "answer": "#### 2"}\n',
    "answers.jsonl": "{}\n",
    "people.csv": "who,day\n1,2\n",
    "search.toml": "[optimizer.search]\nbatch = {low = 3, high = 1}\n",
    "study.toml": 'name = "x"\nword = "y"\n',
}
TRAIN = "optimizer train --proposer random --debug --run.progress false --run.name one"
MADE = Path("runs/optimizer/CartPole-v1/one")


def _twice(_: pytest.MonkeyPatch) -> str:
    assert main(TRAIN.split()) == 0
    return TRAIN


def _two_at_once(_: pytest.MonkeyPatch) -> str:
    assert main(TRAIN.split()) == 0
    fcntl.flock(os.open(MADE / ".lock", os.O_RDWR), fcntl.LOCK_EX)
    return f"resume {MADE}"


def _otherwise(_: pytest.MonkeyPatch) -> str:
    assert main(TRAIN.split()) == 0
    return f"resume {MADE} --seed 3"


def _damaged(_: pytest.MonkeyPatch) -> str:
    assert main(TRAIN.split()) == 0
    for file in MADE.glob("checkpoints/*/state.json"):
        file.write_text("{}")
    return f"resume {MADE}"


def _interrupted(monkeypatch: pytest.MonkeyPatch) -> str:
    log = Run.log

    def stop(self: Run, *args: object, **more: object) -> None:
        log(self, *args, **more)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "log", stop)
    return TRAIN


def _half(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(policy_train, "GAP_LIMIT", -1.0)
    return "policy train --debug --iterations 1 --eval_problems 2 --passk 0 --run.progress false"


def _hot(monkeypatch: pytest.MonkeyPatch) -> str:
    module = StandIn()
    module.temper = 2.0
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.distributed", module)
    return _half(monkeypatch) + " --sampler.engine vllm"


def _without_vllm(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "vllm", None)
    return "policy train --sampler.engine vllm"


SCENES: dict[str, Callable[[pytest.MonkeyPatch], str]] = {
    "a name twice": _twice,
    "two at once": _two_at_once,
    "resumed otherwise": _otherwise,
    "no whole checkpoint": _damaged,
    "Ctrl-C": _interrupted,
    "a model that disagrees with itself": _half,
    "vLLM draws otherwise": _hot,
    "vLLM is not there": _without_vllm,
}


def test_the_page_has_rows_for_every_role():
    tables = re.findall(r"^\| (?!command|---)", PAGE, re.MULTILINE)
    assert len(ROWS) == len(tables) >= 30
    assert {first for first, _ in ROWS if first[0] != "`"} == set(SCENES)
    for role in ("policy", "teacher", "optimizer", "simulator", "world_model"):
        assert sum(first.startswith(f"`{role} ") for first, _ in ROWS) >= 3


@pytest.mark.parametrize(("first", "line"), ROWS, ids=[first.strip("`") for first, _ in ROWS])
def test_the_line_is_printed(
    first: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, text in FILES.items():
        Path(name).write_text(text)
    command = first.strip("`") if first[0] == "`" else SCENES[first](monkeypatch)
    capsys.readouterr()
    code = main(shlex.split(command))
    said = capsys.readouterr().err.splitlines()[-1]
    pattern = ".*".join(re.escape(part) for part in f"understudy: {line}".split("…"))
    assert re.fullmatch(pattern, said), said
    assert code == (130 if first == "Ctrl-C" else 2)
