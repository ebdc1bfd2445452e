"""A language model from nothing, trained on the project's own text tasks: how `pocket` is made.

`understudy policy pretrain --config recipes/pocket.toml` builds the tokenizer from the corpus,
initialises a small Llama and trains it on demonstrations. The corpus is a mixture of tasks; another
role adds its own by one more entry of `mixture`.
"""

from __future__ import annotations

import time

import torch

from understudy.envs.base import Demonstrates
from understudy.envs.registry import make_task
from understudy.lm.build import build_llama, build_tokenizer
from understudy.lm.local import LocalLM
from understudy.roles.policy.config import PretrainConfig
from understudy.roles.policy.supervised import (
    batches,
    learning_rate,
    make_optimizers,
    supervised_step,
)
from understudy.rollout.corpus import Corpus
from understudy.run.checkpoint import pack_optimizer, unpack_optimizer
from understudy.run.device import device_of
from understudy.run.errors import ConfigError
from understudy.run.progress import Progress
from understudy.run.run import Run


def make_corpus(config: PretrainConfig) -> Corpus:
    """The training mixture: the tasks' training splits in their shares.

    Raises:
        ConfigError: a task cannot demonstrate itself.
        EnvError: an unknown task or option.
    """
    tasks = [
        make_task(name, split="train", **config.options.get(name, {})) for name in config.mixture
    ]
    for task in tasks:
        if not isinstance(task, Demonstrates):
            raise ConfigError(f"mixture: {task.name} cannot write worked answers")
    return Corpus(tasks, list(config.mixture.values()), seed=config.seed)


def pretrain(config: PretrainConfig, run: Run, corpus: Corpus) -> LocalLM:
    """Trains a model from random weights and writes it to `run` as a Hugging Face folder."""
    texts = (
        p.question + "\n" + answer
        for p, answer in map(corpus.text, range(config.tokenizer_examples))
    )
    tokenizer = build_tokenizer(texts, config.vocab_size)
    model = build_llama(
        tokenizer,
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        feed_forward=config.feed_forward,
        context=config.context,
        seed=config.seed,
    )
    lm = LocalLM(model, tokenizer, device=device_of(config.run.device))
    optimizers = make_optimizers(model, config.weight_decay)
    first = _restore(run, model, optimizers)
    window: list[float] = []
    model.train()
    rows = batches(
        lambda i: corpus.example(i, lm), first, config.steps, config.batch_size, config.seed
    )
    with Progress(config.steps, "pretraining", start=first, enabled=run.config.progress) as bar:
        for step, batch in enumerate(rows, start=first + 1):
            started = time.monotonic()
            rate = learning_rate(step - 1, config.steps, config.learning_rate, config.warmup)
            loss, norm = supervised_step(
                model, optimizers, batch, pad_id=min(lm.eos_ids), rate=rate
            )
            window = [*window[-19:], loss]
            timing = {"seconds": time.monotonic() - started}
            run.log(step, {"loss": loss, "grad_norm": norm, "learning_rate": rate}, timing=timing)
            bar.update(step, loss=sum(window) / len(window))
            if (
                step % config.run.checkpoint_every == 0
                or step == config.steps
                or run.stop_requested
            ):
                _save(run, step, model, optimizers)
            if run.stop_requested:
                return lm
    model.eval()
    lm.save(run.path / "model")
    return lm


def _save(
    run: Run, step: int, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    packed = [pack_optimizer(optimizer) for optimizer in optimizers]
    tensors = {"model": {name: p.detach() for name, p in model.named_parameters()}}
    tensors |= {f"optimizer{i}": found for i, (found, _) in enumerate(packed)}
    run.checkpoint(step, tensors, {"optimizers": [scalars for _, scalars in packed]})


def _restore(run: Run, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    found = run.restore()
    if found is None:
        return 0
    model.load_state_dict(found.tensors["model"], strict=False)  # tied heads are stored once
    for i, optimizer in enumerate(optimizers):
        unpack_optimizer(optimizer, found.tensors[f"optimizer{i}"], found.state["optimizers"][i])
    return found.step
