"""Whatever is wrong on the command line: one line that says what, exit code 2, nothing left behind."""

import fcntl
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.roles import little
from understudy.cli import main

TRAIN = "policy train --env gsm8k --task.path train.jsonl --task.eval_path test.jsonl --lm hf:./model --debug "
TEACH = "teacher train --debug "
SEARCH = "optimizer train --debug "
EVAL = "policy eval --env gsm8k --task.path train.jsonl --task.eval_path test.jsonl --debug "
FILES = {
    "bad.toml": "iterations = = 3",
    "key.toml": "iterations = 3\niteratons = 4",
    "type.toml": "iterations = 3\n[loss]\nkl_coef = 'much'",
    "range.toml": "temperature = -1.0",
    "table.toml": "loss = 3",
    "combination.toml": "group = 1",
    "group.toml": "group = 1",
    "twice.toml": "seed = 1\nseed = 2",
    "mark.toml": "\ufeffseed = 1",
    "list.jsonl": "[1, 2]\n",
    "torn.jsonl": '{"question": "1+1?", "answer": "#### 2"}\n{"question": "1+',
    "unmarked.jsonl": '{"question": "1+1?", "answer": "two"}\n',
    "nothing.jsonl": "\n\n",
    "number.jsonl": '{"question": 3, "answer": "#### 3"}\n',
    "unboxed.jsonl": '{"problem": "1+1?", "solution": "2"}\n',
    "answers.jsonl": '{"question": "1+1?", "answer": "#### 2", "response": "#### 2"}\n',
    "no-response.jsonl": '{"question": "1+1?", "answer": "#### 2"}\n',
    "empty.txt": "",
    "deep.jsonl": "[" * 100_000,
    "surrogate.jsonl": '{"question": "1+1?", "answer": "#### 2", "response": "\\ud800"}\n',
}
# The command line (quoted as in a shell), and what the error says.
BAD = {
    # commands
    "polcy train": "did you mean 'policy train'?",
    "policy trian": "did you mean 'policy train'?",
    "policy 3": "unknown command 'policy 3'",
    "xyzzy": "unknown command 'xyzzy'",
    "''": "unknown command ''",
    "-x": "unknown command",
    "resume": "resume needs a run directory",
    "resume --debug": "resume needs a run directory",
    "resume nowhere": "nowhere: not a run directory",
    "resume train.jsonl": "train.jsonl: not a run directory",
    "resume model": "model: not a run directory",
    "resume damaged": "damaged/run.json: damaged",
    "resume newer": "written in format 99; this version reads 1",
    "resume evaluation": "a run of `policy eval` cannot be resumed",
    "ls nowhere": "nowhere: no such directory",
    "ls a b": "unexpected argument 'b'",
    "env list now": "unexpected argument 'now'",
    # flags and their values
    "policy train --learning_rte 1": "unknown flag '--learning_rte'; did you mean '--learning_rate'?",
    "policy train --kl_coef 1": "unknown flag '--kl_coef'; did you mean '--loss.kl_coef'?",
    "policy train --loss.kl.coef 1": "unknown flag '--loss.kl.coef'",
    "policy train iterations=3": "unexpected argument 'iterations=3'; a value needs its --flag",
    "policy train --iterations": "--iterations needs a value",
    "policy train --iterations three": "--iterations must be an integer ≥ 1, not 'three'",
    "policy train --iterations 2.5": "--iterations must be an integer ≥ 1, not '2.5'",
    "policy train --iterations 0": "--iterations must be an integer ≥ 1, not '0'",
    "policy train --iterations ''": "--iterations must be an integer ≥ 1, not ''",
    "policy train --seed -1": "--seed must be an integer ≥ 0, not '-1'",
    "policy train --learning_rate nan": "--learning_rate must be a number > 0, not 'nan'",
    "policy train --learning_rate inf": "--learning_rate must be a number > 0, not 'inf'",
    "policy train --final_rate 1.5": "--final_rate must be a number ≥ 0 and ≤ 1, not '1.5'",
    "policy train --algorithm ppo": "--algorithm must be one of 'reinforce', 'rloo', 'grpo', not 'ppo'",
    "policy train --loss.aggregate mean": "--loss.aggregate must be one of",
    "policy train --keep_episodes=perhaps": "--keep_episodes must be true or false, not 'perhaps'",
    "policy train --run.keep 1": "--run.keep must be an integer ≥ 2, not '1'",
    "policy train --run.name ../up": "run.name must be letters",
    "policy compare --algorithms ppo": "--algorithms must be",
    "policy compare --seeds x": "--seeds must be",
    "policy eval --max_usd -1": "--max_usd must be",
    "policy pretrain --mixture 3": "--mixture must be a table",
    # combinations
    "policy train --group 1": "group: rloo compares answers of a group",
    "policy train --epochs 2": "epochs: rloo is on-policy",
    "policy train --algorithm grpo --task.mode stepwise": "algorithm: stepwise episodes have credit per step",
    "policy train --prompts 3 --minibatches 2": "minibatches: prompts must divide",
    TRAIN + "--sampler.engine vlm": "sampler.engine",
    TRAIN + "--sampler.engine vllm --workers 2": "sampler.engine: vllm draws answers in this process",
    TRAIN + "--sampler.engine vllm": "--sampler.engine vllm needs vLLM, on Linux",
    TRAIN + "--sampler.truncate 0.5": "sampler.truncate: where both agree the weight is 1",
    TRAIN + "--sampler.memory 0": "sampler.memory: the engine needs some",
    "policy train --shard true": "shard: weights are divided among workers",
    "world_model train --workers 17": "workers: 17 processes cannot share 16 sequences",
    "policy train --temperature 0": "temperature: training samples",
    "policy train --shard true --workers 2 --compute.packed true": "compute: divided weights (shard)",
    "policy train --compute.precision float16": "--compute.precision must be one of 'float32', 'bfloat16'",
    "policy train --run.device gpu": "run.device must be cpu, cuda, cuda:N or auto, not 'gpu'",
    "teacher train --run.device cuda:x": "run.device must be cpu, cuda, cuda:N or auto",
    "world_model train --run.device cuda --workers 2": "workers: processes add up gradients on the CPU",
    "policy train --run.device auto --workers 2": "workers: processes add up gradients on the CPU",
    "policy train --task.path train.jsonl": "task.eval_path: a training file and a held-out file go together",
    "policy train --reward.judge pocket": "reward.judge: a judge and its dimensions go together",
    "policy eval --samples 4": "temperature: several samples",
    "policy pretrain --heads 5": "heads: hidden must divide by heads",
    "policy pretrain --vocab_size 10": "vocab_size: 256 bytes",
    "policy compare --base.group 1": "group: rloo compares",
    # configuration files
    "policy train --config nowhere.toml": "nowhere.toml: no such file",
    "policy train --config ranje.toml": "did you mean 'range.toml'?",
    "policy train --config .": ".: no such file",
    "policy train --config bad.toml": "bad.toml: not valid TOML",
    "policy train --config key.toml": "unknown key 'iteratons'; did you mean 'iterations'? (line 2)",
    "policy train --config type.toml": "'loss.kl_coef' must be a number ≥ 0, not 'much' (line 3)",
    "policy train --config range.toml": "'temperature' must be a number ≥ 0, not -1.0 (line 1)",
    "policy train --config table.toml": "'loss' must be a table [loss]",
    "policy train --config combination.toml": "combination.toml: group: rloo compares",
    "policy train --config twice.toml": "twice.toml: not valid TOML",
    "policy train --config mark.toml": "mark.toml: starts with a byte order mark",
    "policy train --config binary": "binary: not UTF-8 (line 1)",
    "policy train --config key.toml --config bad.toml": "--config is given twice",
    # language models
    TRAIN + "--lm pockt": "no language model 'pockt': did you mean pocket?",
    TRAIN + "--lm hf": "nothing after 'hf'",
    TRAIN + "--lm hf:": "nothing after 'hf'",
    TRAIN + "--lm ''": "--lm '': empty",
    TRAIN + "--lm hf:./nowhere": "no model folder ./nowhere",
    TRAIN + "--lm hf:./hollow": "cannot load model ./hollow",
    TRAIN + "--lm hf:./broken": "cannot load model ./broken",
    TRAIN + "--lm hf:./torn": "cannot load model ./torn",
    TRAIN + "--lm hf:./model+adapter=nowhere": "no LoRA adapter in nowhere",
    TRAIN + "--lm hf:./model+adapter=./broken-adapter": "broken-adapter",
    TRAIN + "--lm openai:gpt-5-mini": "training needs weights, and openai:gpt-5-mini gives none",
    TRAIN + "--distill pockt": "no language model 'pockt': did you mean pocket?",
    TRAIN + "--distill hf:./nowhere": "no model folder ./nowhere",
    TRAIN + "--distill hf:./other": "has another tokenizer than hf:./model",
    TRAIN + "--reward.judge pockt --reward.dimensions.a {step}": "no language model 'pockt': did you mean pocket?",
    TRAIN + "--reward.judge hf:./nowhere --reward.dimensions.a {step}": "no model folder ./nowhere",
    TRAIN + "--reward.judge openai:gpt-5-mini --reward.dimensions.a {step}": "gives no probabilities",
    TRAIN + "--reward.judge http://127.0.0.1:1/v1#m --reward.dimensions.a {step}": "gives no probabilities",
    EVAL + "--lm openai:gpt-5-mini": "needs an API key: set the environment variable OPENAI_API_KEY",
    EVAL + "--lm http://127.0.0.1:1/v1": "no #MODEL at the end",
    EVAL + "--lm 'http://a b/v1#m'": "no host or a bad port",
    EVAL + "--lm hf:./nowhere": "no model folder ./nowhere",
    EVAL + "--lm replay:nowhere.sqlite": "nowhere.sqlite: no such recording",
    EVAL + "--lm replay:empty.txt": "empty.txt",
    EVAL + "--lm replay:train.jsonl": "train.jsonl",
    EVAL + "--lm vllm:some/model": "vllm:some/model needs vLLM",
    "policy compare --base.lm pockt": "no language model 'pockt': did you mean pocket?",
    "lm check pockt": "no language model 'pockt': did you mean pocket?",
    "lm check hf:./nowhere": "no model folder ./nowhere",
    "lm check openai:gpt-5-mini": "needs an API key",
    # environments and data
    "policy train --env wrd-problems --lm hf:./model": "unknown environment 'wrd-problems'; did you mean",
    "policy eval --env nothing --lm hf:./model": "unknown environment 'nothing'",
    "env check nothing": "unknown environment 'nothing'",
    "env check gsm8k": "hub:openai/gsm8k: install understudy[hub], or give a JSONL file",
    "env check gsm8k --path nowhere.jsonl": "nowhere.jsonl: no such file",
    "env check word-problems --path train.jsonl": "word-problems: unknown option 'path'",
    "env check reasoning-gym/chain_sum": "install understudy[tasks]",
    "policy train --lm hf:./model --task.options.lvels '[1,2]'": "unknown option 'lvels'; did you mean 'levels'?",
    "policy train --lm hf:./model --task.options.levels '[3,1]'": "levels must satisfy 1 <= low <= high <= 12",
    "policy train --lm hf:./model --task.options.levels 3": "word-problems",
    "policy train --lm hf:./model --task.options.levels '[1]'": "word-problems",
    "policy train --lm hf:./model --task.options.levels '[1,2,3]'": "word-problems",
    "policy train --lm hf:./model --task.options.size many": "word-problems",
    "policy train --lm hf:./model --task.options.size 0": "word-problems",
    "policy train --lm hf:./model --task.options.seed -1": "word-problems",
    "policy train --lm hf:./model --task.options.split test": "task.options: unknown option 'split'",
    "policy train --lm hf:./model --env countdown --task.options.numbers 9": "numbers must be 2 to 6",
    "policy train --lm hf:./model --env countdown --task.options.largest 0": "countdown",
    "policy pretrain --debug --mixture '{\"nothing\": 1.0}'": "unknown environment 'nothing'",
    "policy pretrain --debug --mixture '{}'": "mixture",
    "policy pretrain --debug --mixture '{\"word-problems\": -1.0}'": "mixture",
    "policy pretrain --debug --options '{\"word-problems\": {\"lvels\": 1}}'": "unknown option 'lvels'",
    "policy pretrain --debug --mixture.gsm8k 1 --options '{\"gsm8k\": {\"path\": \"train.jsonl\"}}'":
        "mixture: gsm8k cannot write worked answers",
    "policy pretrain --debug --options '{\"word-problems\": {\"split\": \"test\"}}'": "unknown option 'split'",
    "policy pretrain --debug --options '{\"countdown\": {\"size\": 9}}'": "options",
    TRAIN + "--task.path nowhere.jsonl": "nowhere.jsonl: no such file",
    TRAIN + "--task.path model": "model: no such file",
    TRAIN + "--task.path list.jsonl": "list.jsonl:1: a row needs the texts question and answer",
    TRAIN + "--task.path torn.jsonl": "torn.jsonl:2: not JSON",
    TRAIN + "--task.path deep.jsonl": "deep.jsonl:1: not JSON",
    TRAIN + "--task.path number.jsonl": "number.jsonl:1: a row needs the texts",
    TRAIN + "--task.path unmarked.jsonl": "unmarked.jsonl:1: the answer does not end in '#### NUMBER'",
    TRAIN + "--task.path nothing.jsonl": "nothing.jsonl: no problems in it",
    TRAIN + "--task.path binary": "binary:1: not JSON",
    TRAIN + "--task.path test.jsonl": "is also test.jsonl:1 of the held-out split",
    TRAIN + "--task.shots 99": "task.shots: gsm8k has 24 training problems, fewer than 99",
    TRAIN + "--task.options.colour red": "gsm8k: unknown option 'colour'",
    "env check math --path unboxed.jsonl": "unboxed.jsonl:1: the solution has no \\boxed{} answer",
    # grading
    "policy grade": "file: grade needs a FILE",
    "policy grade answers.jsonl": "file: grade needs a FILE to read and --out FILE to write",
    "policy grade nowhere.jsonl --out o": "nowhere.jsonl: no such file",
    "policy grade . --out o": ".: no such file",
    "policy grade list.jsonl --out o": "list.jsonl:1: not a JSON object",
    "policy grade torn.jsonl --out o": "torn.jsonl:1: no 'response'",
    "policy grade no-response.jsonl --out o": "no-response.jsonl:1: no 'response'",
    "policy grade deep.jsonl --out o": "deep.jsonl:1: not JSON",
    "policy grade binary --out o": "binary: not UTF-8 text",
    "policy grade surrogate.jsonl --out o": "o: cannot write (surrogates not allowed)",
    "policy grade answers.jsonl --out nowhere/o": "nowhere/o: cannot write",
    "policy grade answers.jsonl --out model": "model: cannot write",
    "policy grade answers.jsonl --env gsm9k --out o": "no grader for 'gsm9k'; did you mean 'gsm8k'?",
    "policy grade answers.jsonl --env countdown --out o": "no grader for 'countdown'",
    # searches
    SEARCH + "--proposer lm --lm pokcet": "no language model 'pokcet': did you mean pocket?",
    SEARCH + "--proposer lm --lm hf:./nowhere": "nowhere",
    SEARCH + "--proposer lm --lm replay:nowhere": "nowhere: no such recording",
    SEARCH + "--proposer lm --ask.style json": "pocket is too small for json; use lines",
    SEARCH + "--proposer lm --ask.mode spoken": "ask.mode",
    SEARCH + "--proposer lm --ask.proposals 0": "ask.proposals",
    SEARCH + "--proposer lm --ask.history_tokens 9": "9 are too few for trials of 5 parameters",
    SEARCH + "--proposer lm --ask.style lines --ask.temperature 0": "several answers need a temperature",
    SEARCH + "--proposer lm --env Blackjack-v1": "a question about 704 parameters needs more than",
    SEARCH + "--proposer lm --env CartPol-v1": "did you mean CartPole-v1?",
    SEARCH + "--proposer cma --first lm": "only --proposer hybrid begins with another",
    SEARCH + "--budget.calls -1": "budget.calls",
    "optimizer eval nowhere --video true": "nowhere: no such file",
    "simulator generate --debug --study low-mod": "did you mean 'low-mood'",
    "simulator generate --debug --study bad.toml": "bad.toml",
    "simulator generate --debug --lm pockt": "pockt",
    "simulator generate --debug --source.profile nowhere.json": "nowhere.json: no such file",
    "simulator generate --debug --source.profile list.jsonl": "list.jsonl",
    "simulator generate --debug --source.data empty.txt": "empty.txt",
    "simulator generate --debug --source.data a.csv --source.profile b.json": "not both",
    "simulator generate --debug --source.epsilon 1 --source.hidden_below 3": "not both",
    "simulator generate --debug --source.truth responsiv": "responsive",
    "simulator generate --debug --ask.temperature 0": "ask.temperature",
    "simulator profile": "needs a CSV file",
    "simulator profile nowhere.csv": "nowhere.csv",
    "simulator assess": "needs a CSV file",
    "simulator assess empty.txt": "no reference to compare with",
    "simulator assess empty.txt --data empty.txt": "empty.txt",
    "simulator learn": "needs CSV files",
    "simulator learn nowhere.csv": "nowhere.csv",
    "simulator learn nowhere.csv --how.target_rate 1e-5": "moves the target network",
    "simulator learn nowhere.csv --how.method dqn": "ddqn",
    "simulator evaluate": "--data",
    "simulator evaluate nowhere.safetensors --data nowhere.csv": "nowhere.csv",
    "simulator run --debug --make.source.profile p.json": "not only a profile",
    "simulator run --debug --make.source.people 4": "at least 8",
    "world_model train --debug --core gruu": "gru",
    "world_model train --debug --env CartPole-v11": "CartPole",
    "world_model train --debug --size cpu-tin": "cpu-tiny",
    # teachers
    TEACH + "--env SimpleDorKey": "no environment 'SimpleDorKey'; did you mean 'SimpleDoorKey'?",
    TEACH + "--env mpe/simple_spred": "unknown MPE task 'simple_spred', did you mean 'simple_spread'?",
    TEACH + "--env MiniGrid-DorKey-5x5-v0": "the nearest are MiniGrid-DoorKey-5x5-v0",
    TEACH + "--env CartPole-v1": "no environment 'CartPole-v1'",
    TEACH + "--env ''": "no environment ''",
    TEACH + "--options.size 3": "options: SimpleDoorKey has none",
    TEACH + "--env mpe/simple_spread --options.M 3": "simple_spread: unknown option 'M'",
    TEACH + "--env mpe/simple_spread --options.N 0": "N is 0; it must be at least 1",
    TEACH + "--env mpe/simple_spread --options.N many": "simple_spread cannot be made with {'N': 'many'}",
    TEACH + "--env mpe/simple_spread --options.num_envs 3": "simple_spread: unknown option 'num_envs'",
    TEACH + "--env mpe/simple_spread --options.max_cycles many": "max_cycles is 'many'; it must be at least 1",
    TEACH + "--env MiniGrid-DoorKey-5x5-v0 --options.num_envs 3": "cannot be made with {'num_envs': 3}",
    TEACH + "--env MiniGrid-DoorKey-5x5-v0 --options.size many": "cannot be made with {'size': 'many'}",
    TEACH + "--env MiniGrid-DoorKey-5x5-v0 --options.agent_view_size 4": "agent_view_size is an odd number",
    TEACH + "--env MiniGrid-Dynamic-Obstacles-5x5-v0": "has 3 actions; a student needs",
    TEACH + "--env minigrid-DoorKey-5x5-v0": "no environment 'minigrid-DoorKey-5x5-v0'",
    TEACH + "--advice.who recorded": "advice.plans: recorded plans and a file of them go together",
    TEACH + "--advice.plans plans.jsonl": "advice.plans: recorded plans and a file of them go together",
    TEACH + "--advice.who recorded --advice.plans nowhere.jsonl": "nowhere.jsonl: No such file",
    TEACH + "--advice.who recorded --advice.plans model": "model: Is a directory",
    TEACH + "--advice.who recorded --advice.plans train.jsonl": "train.jsonl:1: not a book of answers",
    TEACH + "--advice.who recorded --advice.plans binary": "binary: not a book of answers",
    TEACH + "--advice.who recorded --advice.plans deep.jsonl": "deep.jsonl:1: not a book of answers",
    TEACH + "--advice.who experts": "--advice.who must be one of",
    TEACH + "--advice.samples 3": "advice.temperature: several samples need a temperature",
    TEACH + "--advice.noise 1.5": "--advice.noise must be",
    TEACH + "--method cloning --distill.weight 0": "distill.weight: cloning learns from nothing else",
    TEACH + "--student.recurrent true --minibatch 100": "minibatch: with a memory it must divide envs × horizon",
    TEACH + "--distill.loss js": "--distill.loss must be one of",
    TEACH + "--lm pockt": "no language model 'pockt': did you mean pocket?",
    TEACH + "--lm hf:./nowhere": "no model folder ./nowhere",
    TEACH + "--lm openai:gpt-5-mini": "needs an API key",
    TEACH + "--config group.toml": "group.toml: unknown key 'group'",
    "teacher eval --base.lm hf:./nowhere": "no model folder ./nowhere",
    "teacher eval --who student": "student: --who student and --student RUN go together",
    "teacher eval --student model": "student: --who student and --student RUN go together",
    "teacher eval --who student --student nowhere": "nowhere is not a run directory",
    "teacher eval --who student --student model": "model is not a run directory",
    "teacher eval --who student --student hollow-run": "hollow-run: holds no student",
    "teacher eval --who student --student policy-run": "policy-run/config.toml: unknown key 'iterations'",
    "teacher eval --base.env SimpleDorKey": "did you mean 'SimpleDoorKey'?",
    "teacher compare --methods ppo,sac": "--methods must be",
    "teacher compare --base.advice.samples 3": "advice.temperature: several samples",
    "teacher compare --base.lm pockt": "no language model 'pockt': did you mean pocket?",
    "teacher compare --base.env SimpleDorKey": "did you mean 'SimpleDoorKey'?",
    # places
    TRAIN + "--run.root train.jsonl": "train.jsonl/policy/gsm8k: Not a directory",
    TRAIN + "--run.logger wandb": "--run.logger wandb needs wandb",
    TRAIN + "--run.resume nowhere": "nowhere: not a run directory",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with models and files, good and bad."""
    folder = tmp_path_factory.mktemp("bad")
    little.problems(folder)
    little.model(steps=0).save(folder / "model")
    for name in ("broken", "torn"):
        little.model(steps=0).save(folder / name)
    (folder / "broken" / "config.json").write_text('{"model_type": "no such"}')
    weights = folder / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (folder / "hollow").mkdir()
    (folder / "broken-adapter").mkdir()
    (folder / "broken-adapter" / "adapter_config.json").write_text("{")
    little.tiny_model(0, characters="abc").save(folder / "other")
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, text in {"hollow-run": "", "policy-run": "iterations = 3"}.items():
        (folder / name).mkdir()
        (folder / name / "config.toml").write_text(text)
    for name, text in {"damaged": "{}", "newer": '{"schema": 99}', "evaluation": _INFO}.items():
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    return folder


_INFO = """{"role": "policy", "verb": "eval", "env": "e", "name": "n", "seed": 0, "command": [],
"created": "", "threads": 1, "git": null, "versions": {}, "schema": 1}"""


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in that directory, without network, keys and optional packages."""

    def connect(*_: object) -> None:
        raise AssertionError("a bad input must not reach the network")

    monkeypatch.chdir(place)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("datasets", "reasoning_gym", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    return place


def said(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    capsys.readouterr()
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("understudy: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 600
    return captured.err


@pytest.mark.parametrize(("line", "words"), BAD.items())
def test_bad_input(line: str, words: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(inside.rglob("*"))
    assert words in said(shlex.split(line), capsys)
    assert sorted(inside.rglob("*")) == before


def test_the_table_is_large() -> None:
    assert len(BAD) >= 60


def _existing(folder: Path) -> str:
    (folder / "runs" / "policy" / "gsm8k" / "taken").mkdir(parents=True)
    return TRAIN + "--run.name taken"


def _locked(folder: Path) -> str:
    assert main([*shlex.split(TRAIN), "--run.name", "held", "--run.progress", "false"]) == 0
    run = folder / "runs" / "policy" / "gsm8k" / "held"
    lock = os.open(run / ".lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return f"resume {run}"


def _changed(folder: Path) -> str:
    assert main([*shlex.split(TRAIN), "--run.name", "changed", "--run.progress", "false"]) == 0
    return "resume runs/policy/gsm8k/changed --learning_rate 1"


def _too_long(_: Path) -> str:
    return TRAIN + f"--run.progress false --task.system {'a' * 200}"


def _without_checkpoints(folder: Path) -> str:
    assert main([*shlex.split(TRAIN), "--run.name", "torn", "--run.progress", "false"]) == 0
    for file in folder.glob("runs/policy/gsm8k/torn/checkpoints/*/model.safetensors"):
        file.write_bytes(b"")
    return "resume runs/policy/gsm8k/torn"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_existing, "taken: exists; choose another --run.name"),
        (_locked, "is writing this run"),
        (_changed, "was started with learning_rate = 0.0003, not 1.0"),
        (_too_long, "tokens; the model's context is 96"),
        (_without_checkpoints, "no whole checkpoint"),
    ],
)
def test_bad_runs(
    prepare: Callable[[Path], str], words: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = shlex.split(prepare(inside))
    assert words in said(args, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inside / "closed").mkdir(mode=0o500)
    assert "Permission denied" in said(shlex.split(TRAIN + "--run.root closed"), capsys)


def test_a_process_ends_the_same_way(place: Path) -> None:
    for line in ("policy train --iterations 0", TRAIN + "--lm hf:./nowhere"):
        done = subprocess.run(
            [sys.executable, "-m", "understudy.cli", *shlex.split(line)],
            cwd=place,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("understudy: ")
        assert done.stderr.count("\n") == 1
