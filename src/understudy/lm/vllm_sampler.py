"""Tokens drawn by vLLM in this process, with the weights of a model that is being trained here.

vLLM sees token ids alone. It draws on until a token after which something may happen (an end, the
last character of a stop string or trigger); what it drew is then passed token by token through the
same rules as the own sampler's, what lies behind a reaction is thrown away, and the row is asked
for again with the reaction's text behind it. So completions mean what `LocalLM.sample`'s mean; the
noise and the rounding of log-probabilities are vLLM's own.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.lm.base import Completion, LMError, React, Sampling
from understudy.lm.local import LocalLM
from understudy.lm.sampler import Job, Row, Watch, advance
from understudy.lm.vllm_engine import asking, opening, vllm_or_error
from understudy.types import Message


class VllmSampler:
    """A `TokenLM` and `Codec` that samples by vLLM and is `lm` in everything else.

    The engine starts with weights of no meaning: `sync` gives it the model's, after every change.

    Args:
        lm: The model; LoRA is merged for the engine, the vocabulary is its tokenizer's.
        dtype: The engine's number type, or `auto` for the model's own.
        memory: Share of the GPU's memory the engine takes, for weights and keys and values.
        sleep: Whether the engine lets go of that memory while it is not sampling.
        options: Go to `vllm.LLM`.

    Raises:
        LMError: vLLM is not installed, or cannot run the model.
    """

    def __init__(
        self,
        lm: LocalLM,
        *,
        dtype: str = "auto",
        memory: float = 0.4,
        sleep: bool = False,
        **options: Any,
    ) -> None:
        vllm = vllm_or_error("--sampler.engine vllm")
        self._lm, self._vllm, self._sleep = lm, vllm, sleep
        number = str(next(lm.weights())[1].dtype).removeprefix("torch.")
        with TemporaryDirectory() as folder:
            _config(lm).save_pretrained(folder)
            with opening(vllm):
                self._engine: Any = vllm.LLM(
                    model=folder,
                    skip_tokenizer_init=True,
                    load_format="dummy",
                    trust_remote_code=False,
                    dtype=number if dtype == "auto" else dtype,
                    gpu_memory_utilization=memory,
                    enable_sleep_mode=sleep,
                    enforce_eager=lm.device.type == "cpu",
                    # Of the distribution drawn from: temperature, top-k and top-p applied.
                    logprobs_mode="processed_logprobs",
                    **options,
                )
        self._awake = True

    # --- Codec ---

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._lm.eos_ids

    def encode(self, text: str) -> list[int]:
        """See `LocalLM.encode`."""
        return self._lm.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See `LocalLM.decode`."""
        return self._lm.decode(ids)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """See `LocalLM.prompt_ids`."""
        return self._lm.prompt_ids(messages)

    # --- TokenLM ---

    def logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[Sequence[int]]],
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """The trained model's own, see `LocalLM.logprobs`."""
        return self._lm.logprobs(prompts, completions, temperature=temperature)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        copies: int = 1,
        triggers: tuple[str, ...] = (),
        react: React | None = None,
        row_keys: Sequence[int] | None = None,
    ) -> list[list[Completion]]:
        """`copies` completions [U][G] of each prompt, as `LocalLM.sample` would draw them.

        A row's noise depends on `sampling.seed`, its key and the place in the row. Log-probabilities
        are the engine's; in batches of other sizes it may round differently.

        Raises:
            LMError: a prompt is empty or fills the context, the options make no sense, or the
                engine gives no tokens.
        """
        job = self._lm.job(prompts, sampling, copies, triggers, react, row_keys)
        rows, watch = job.rows(), Watch(job)
        keys = range(len(rows)) if row_keys is None else row_keys
        pauses = watch.pauses()
        going = [row for row in rows if row.limit]
        self._wake()
        while going:
            for row, drawn in zip(going, self._drawn(job, going, keys, pauses), strict=True):
                _take(row, drawn, watch)
            going = [row for row in going if row.finish is None]
        if self._sleep:
            self._engine.sleep(level=1)
            self._awake = False
        return job.completions(rows)

    # --- weights ---

    def sync(self) -> int:
        """Gives the engine the model's present weights; returns how many tensors were read back.

        Those that the engine keeps under their own name and shape are compared, to the last bit of
        the engine's number type. It forgets the keys and values of the weights before.

        Raises:
            LMError: the engine has other weights afterwards, or would go on using old ones.
        """
        self._wake()
        self._engine.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": self._lm.weights()}
        )
        if not self._engine.reset_prefix_cache():
            raise LMError("vLLM did not forget what it had computed with the weights before")
        compared = 0
        for found in self._engine.apply_model(partial(_compared, weights=self._lm.weights)):
            same, other = found
            if other:
                raise LMError(f"vLLM did not take the weights: {other[0]} is another one's")
            compared += same
        if not compared:
            raise LMError("vLLM names all weights differently; it cannot be seen that it took them")
        return compared

    def close(self) -> None:
        """Frees the engine's memory."""
        self._engine.llm_engine.engine_core.shutdown()
        del self._engine
        sys.modules["vllm.distributed"].cleanup_dist_env_and_memory()

    # --- inside ---

    def _wake(self) -> None:
        if not self._awake:
            self._engine.wake_up()
            self._awake = True

    def _drawn(
        self, job: Job, rows: Sequence[Row], keys: Sequence[int], pauses: list[int]
    ) -> Iterator[list[tuple[int, float]]]:
        """What the engine draws next for each row: tokens and log-probabilities, one at least."""
        sampling = job.sampling
        prompts = [
            {"prompt_token_ids": [*job.prompts[row.index // job.copies], *row.ids]} for row in rows
        ]
        with asking(self._vllm):
            params = [
                self._vllm.SamplingParams(
                    max_tokens=row.limit - len(row.ids),
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    top_k=sampling.top_k,
                    seed=_seed(sampling.seed, keys[row.index], len(row.ids)),
                    stop_token_ids=pauses,
                    ignore_eos=True,  # it is among those
                    detokenize=False,
                    logprobs=0,  # the drawn token's alone
                )
                for row in rows
            ]
            outputs = self._engine.generate(prompts, params, use_tqdm=False)
        for row, output in zip(rows, outputs, strict=True):
            answer = output.outputs[0]
            tokens = [int(token) for token in answer.token_ids]
            if not tokens:
                raise LMError(
                    f"row {row.index}: vLLM ended without a token ({answer.finish_reason})"
                )
            found = [held[t].logprob for held, t in zip(answer.logprobs, tokens, strict=True)]
            yield [
                (t, 0.0 if sampling.temperature == 0 else p)
                for t, p in zip(tokens, found, strict=True)
            ]


def _take(row: Row, drawn: Sequence[tuple[int, float]], watch: Watch) -> None:
    """Adds drawn tokens up to one that something follows from, and the text that follows."""
    for token, logprob in drawn:
        advance(row, token, logprob, watch)
        if row.forced or row.finish is not None:
            break
    while row.forced and row.finish is None:
        advance(row, -1, 0.0, watch)  # adds the one that waits


def _seed(seed: int, key: int, place: int) -> int:
    """A seed for one row from one place on; two requests of a row must not share their noise."""
    words = np.random.SeedSequence([seed % 2**64, key % 2**64, place])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _config(lm: LocalLM) -> Any:
    """The model's configuration as vLLM is to read it."""
    causal = lm.model.get_base_model() if lm.has_adapter else lm.model
    config = copy.deepcopy(causal.config)
    config.architectures = [type(causal).__name__]
    # Given twice: where vLLM packs an output layer (CPU), a tied one would keep its first weights.
    config.tie_word_embeddings = False
    return config


def _compared(model: nn.Module, weights: Any) -> tuple[int, list[str]]:
    """How many of the engine's tensors are the given ones, and the names of those that are not."""
    own, same, other = dict(model.named_parameters(remove_duplicate=False)), 0, list[str]()
    for name, weight in weights():
        mine = own.get(name)
        if mine is not None and mine.shape == weight.shape:
            equal = torch.equal(mine.detach(), weight.to(mine))
            same += equal
            other += [] if equal else [name]
    return same, other
