"""What the command line runs for the policy role: settings in, a finished run directory out."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from understudy.data.jsonl import read_rows, write_rows
from understudy.envs.base import Problem
from understudy.envs.registry import make_grader
from understudy.lm.base import ChoiceLM, LMError, Sampling
from understudy.lm.local import LocalLM
from understudy.lm.open import open_token_lm, opened
from understudy.lm.spec import parse_spec
from understudy.lm.vllm_sampler import VllmSampler
from understudy.roles.policy.config import (
    CompareConfig,
    Compared,
    EvalConfig,
    GradeConfig,
    PolicyConfig,
    PretrainConfig,
)
from understudy.roles.policy.grid import SUPERVISED
from understudy.roles.policy.pretrain import make_corpus, pretrain
from understudy.roles.policy.setup import make_setting, setting_of
from understudy.roles.policy.summary import before_after
from understudy.roles.policy.supervised import warm_start
from understudy.roles.policy.train import Play, as_metrics, evaluate_all, train
from understudy.roles.policy.train_ddp import train_ddp
from understudy.rollout.chat import collect_chat
from understudy.rollout.collect import collect
from understudy.rollout.evaluate import evaluate
from understudy.run.config import ConfigError
from understudy.run.device import device_of
from understudy.run.run import Run
from understudy.types import Episode


def run_train(config: PolicyConfig) -> Path:
    """Trains by RL; returns the run directory.

    Raises:
        Stopped: a signal asked for it; a checkpoint is written.
    """
    setting = setting_of(config)
    device = device_of(config.run.device)
    lm = open_token_lm(config.lm, lora_rank=config.lora_rank or None, device=device)
    lm.compute = config.compute
    teacher = open_token_lm(config.distill, device=device) if config.distill else None
    if teacher is not None and teacher.tokenizer.get_vocab() != lm.tokenizer.get_vocab():
        raise ConfigError(f"distill: {config.distill} has another tokenizer than {config.lm}")
    if teacher is not None:
        teacher.compute = config.compute
    if config.reward.judge:
        # Local models alone give probabilities; opened here once, as an error leaves no run behind.
        if not parse_spec(config.reward.judge).has_weights:
            raise LMError(
                f"reward.judge: {config.reward.judge} gives no probabilities to score with"
            )
        _check_opens(config.reward.judge, device)
    with ExitStack() as stack:
        loop = train if config.workers == 1 else train_ddp
        if config.sampler.engine == "vllm":
            loop = partial(train, play=stack.enter_context(_by_vllm(config, lm)))
        run = stack.enter_context(_open_run("train", config.env, config))
        judge = None
        if config.reward.judge:
            judge = stack.enter_context(
                opened(config.reward.judge, run_folder=run.path, device=device)
            )
        assert judge is None or isinstance(judge, ChoiceLM), "every local model scores choices"
        loop(config, run, lm=lm, setting=setting, judge=judge, teacher=teacher)
        return run.path


@contextmanager
def _by_vllm(config: PolicyConfig, lm: LocalLM) -> Generator[Play]:
    """`collect` with vLLM drawing; before it plays it is given the model's present weights."""
    own = config.sampler
    sampler = VllmSampler(lm, dtype=own.dtype, memory=own.memory, sleep=own.sleep)

    def play(_: LocalLM, *args: Any, **options: Any) -> list[list[Episode]]:
        sampler.sync()
        return collect(sampler, *args, **options)

    try:
        yield play
    finally:
        sampler.close()


def run_pretrain(config: PretrainConfig) -> Path:
    """Makes a model from nothing; returns the run directory, whose `model/` is the model."""
    device_of(config.run.device)
    corpus = make_corpus(config)
    with _open_run("pretrain", "corpus", config) as run:
        pretrain(config, run, corpus)
        return run.path


def run_eval(config: EvalConfig) -> Path:
    """Evaluates any language model on held-out problems; returns the run directory."""
    setting = make_setting(config.env, config.task, config.seed, config.problems)
    device = device_of(config.run.device)
    lm = open_token_lm(config.lm, device=device) if parse_spec(config.lm).has_weights else None
    if lm is None:
        _check_opens(config.lm, device, max_usd=config.max_usd)
    with _open_run("eval", config.env, config) as run, ExitStack() as stack:
        sampling = Sampling(
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            seed=run.seeds.integer("sampling"),
        )
        if lm is not None:
            act = partial(collect, lm, prompt=setting.prompt, sampling=sampling)
        else:
            chat = stack.enter_context(
                opened(config.lm, run_folder=run.path, max_usd=config.max_usd, device=device)
            )
            act = partial(collect_chat, chat, prompt=setting.prompt, sampling=sampling)
        indices = setting.test_indices(config.problems)
        found = evaluate(act, setting.test_env, indices, copies=config.samples)
        run.log(0, found.metrics("test"))
        return run.path


def run_compare(config: CompareConfig) -> Path:
    """Trains with every algorithm and seed on the same budget; returns the table's file."""
    base = config.base
    out = Path(base.run.root) / "policy" / base.env / "compare.json"
    rows: list[dict[str, object]] = []
    for algorithm in config.algorithms:
        for seed in config.seeds:
            rows.append(_compare_one(base, algorithm, seed))
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return out


def play(method: str, config: PolicyConfig) -> Path:
    """One run of a grid; returns its directory."""
    return _supervised(config) if method == SUPERVISED else run_train(config)


def run_grade(config: GradeConfig) -> Path:
    """Writes the rows of a file back with `correct` (true, false, null) and the value read."""
    grade = make_grader(config.env)
    graded: list[dict[str, Any]] = []
    for number, row in read_rows(Path(config.file), required=("question", "answer", "response")):
        problem = Problem(str(number), str(row["question"]), str(row["answer"]))
        verdict = grade(problem, str(row["response"]))
        graded.append({**row, "correct": verdict.correct, "value": verdict.value})
    write_rows(Path(config.out), graded)
    return Path(config.out)


def _check_opens(text: str, device: torch.device, max_usd: float | None = None) -> None:
    """Opens a model and leaves nothing of it, so that an error comes before there is a run."""
    with opened(text, max_usd=max_usd, device=device):
        pass


def _open_run(verb: str, env: str, config: Any) -> Run:
    return Run.create("policy", env, config, config.run, verb=verb)


def _compare_one(base: PolicyConfig, algorithm: Compared, seed: int) -> dict[str, object]:
    """One algorithm with one seed, before and after, in a run directory of its own."""
    run_config = replace(base.run, name=f"{base.run.name or 'compare'}-{algorithm}-s{seed}")
    config = replace(base, seed=seed, run=run_config)
    if algorithm == SUPERVISED:
        path = _supervised(replace(config, warm_start=config.iterations))
    else:
        path = run_train(replace(config, algorithm=algorithm))
    return {"algorithm": algorithm, "seed": seed, "run": str(path), **before_after(path)}


def _supervised(config: PolicyConfig) -> Path:
    """The baseline without RL: as many updates on as many worked answers."""
    setting = setting_of(config)
    device = device_of(config.run.device)
    lm = open_token_lm(config.lm, lora_rank=config.lora_rank or None, device=device)
    with _open_run(SUPERVISED, config.env, config) as run:
        run.restore()  # it has no checkpoints: one that was stopped begins anew
        run.log(0, as_metrics(evaluate_all(config, run, lm, setting, thorough=True)))
        warm_start(
            lm, setting.train, setting.prompt, config, batch_size=config.prompts * config.group
        )
        after = evaluate_all(config, run, lm, setting, thorough=True)
        run.log(config.iterations, as_metrics(after))
        lm.save(run.path / "model")
        return run.path
