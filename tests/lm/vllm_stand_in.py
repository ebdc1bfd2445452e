"""A module `vllm` whose engine is a real small model, so that its log-probabilities are true.

It takes the calls that `VllmSampler` makes and means what vLLM 0.32 means by them: token ids in and
out, a stop token kept, the drawn token's processed log-probability, weights by name.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from understudy.lm.base import Sampling
from understudy.lm.decoder import LlamaDecoder, fold
from understudy.lm.sampler import draw, uniforms


class StandIn(types.ModuleType):
    def __init__(self) -> None:
        super().__init__("vllm")
        self.engines: list[Engine] = []
        self.SamplingParams = types.SimpleNamespace
        self.temper = 1.0
        """The engine draws from the distribution at this temperature times the one asked for."""
        self.stale = False
        """The engine keeps its weights."""

    def LLM(self, **options: Any) -> Engine:
        self.engines.append(Engine(self, options))
        return self.engines[-1]

    def cleanup_dist_env_and_memory(self) -> None:
        """As in `vllm.distributed`."""


class Engine:
    def __init__(self, module: StandIn, options: dict[str, Any]) -> None:
        self.module, self.options, self.calls = module, options, list[str]()
        assert options["load_format"] == "dummy"
        assert options["skip_tokenizer_init"]
        assert options["logprobs_mode"] == "processed_logprobs"
        config = AutoConfig.from_pretrained(options["model"], local_files_only=True)
        assert config.architectures == ["LlamaForCausalLM"]
        self.model: Any = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, options["dtype"])
        )
        self.context = config.max_position_embeddings
        self.asleep = self.cached = self.over = False
        self.llm_engine = types.SimpleNamespace(
            engine_core=types.SimpleNamespace(shutdown=lambda: setattr(self, "over", True))
        )

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> list[None]:
        assert (method, self.asleep) == ("reload_weights", False)
        self.calls.append(method)
        if not self.module.stale:
            weights: Iterable[tuple[str, torch.Tensor]] = kwargs["weights_iterator"]
            self.model.load_state_dict(dict(weights))
        return [None]

    def apply_model(self, function: Any) -> list[Any]:
        return [function(self.model)]

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset_prefix_cache")
        self.cached = False
        return True

    def sleep(self, level: int) -> None:
        assert level == 1
        assert self.options["enable_sleep_mode"]
        self.calls.append("sleep")
        self.asleep = True

    def wake_up(self) -> None:
        self.calls.append("wake_up")
        self.asleep = False

    def generate(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
        assert not self.asleep
        assert not use_tqdm
        assert all(p.ignore_eos and not p.detokenize and p.logprobs == 0 for p in params)
        self.calls.append("generate")
        ids = [p["prompt_token_ids"] for p in prompts]
        assert all(len(i) + p.max_tokens <= self.context for i, p in zip(ids, params, strict=True))
        return [types.SimpleNamespace(outputs=[answer]) for answer in self._answers(ids, params)]

    @torch.no_grad()
    def _answers(self, prompts: list[list[int]], params: list[Any]) -> list[Any]:
        first = params[0]
        sampling = Sampling(
            temperature=first.temperature * self.module.temper, top_p=first.top_p, top_k=first.top_k
        )
        longest = max(p.max_tokens for p in params)
        noise = torch.from_numpy(np.stack([self.noise(p.seed, longest) for p in params]))
        decoder = LlamaDecoder(fold(self.model))
        answers = [
            types.SimpleNamespace(token_ids=[], logprobs=[], finish_reason=None) for _ in params
        ]
        logits = decoder.prefill(prompts, 1, longest)
        for time in range(longest):
            tokens, logprobs = draw(logits, noise[:, time], sampling)
            rows = zip(answers, params, tokens.tolist(), logprobs.tolist(), strict=True)
            for answer, param, token, logprob in rows:
                if answer.finish_reason is None:
                    answer.token_ids.append(token)
                    answer.logprobs.append({token: types.SimpleNamespace(logprob=logprob)})
                    if token in param.stop_token_ids:
                        answer.finish_reason = "stop"
                    elif len(answer.token_ids) == param.max_tokens:
                        answer.finish_reason = "length"
            if all(answer.finish_reason for answer in answers):
                break
            logits = decoder.step(tokens)
        return answers

    def noise(self, seed: int, length: int) -> np.ndarray:
        assert 0 <= seed < 2**63
        return uniforms(seed, [0], length)[0]
