"""vLLM in this process as a ChatLM, for a machine with a GPU. It cannot be trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from understudy.lm import structured
from understudy.lm.base import Choices, Regex, Reply, Request
from understudy.lm.bounded import LADDER, bound
from understudy.lm.vllm_engine import asking, opening, vllm_or_error
from understudy.types import Usage

FORMS = {"backend": "guidance", "disable_any_whitespace": True}
"""How vLLM keeps a form: else a small model may write white space between two keys for ever, and the
other backends do not know every schema."""


class VllmChat:
    """A `ChatLM` over `vllm.LLM`; forms are kept by vLLM's structured outputs.

    Args:
        name: A model folder or its name on the hub.
        options: Go to `vllm.LLM`.

    Raises:
        LMError: vLLM is not installed, or cannot run the model.
    """

    def __init__(self, name: str, **options: Any) -> None:
        vllm = vllm_or_error(f"vllm:{name}")
        self._vllm: Any = vllm
        options.setdefault("structured_outputs_config", FORMS)
        with opening(vllm):
            self._lm: Any = vllm.LLM(model=name, trust_remote_code=False, **options)
        self._name = f"vllm:{name}"

    @property
    def name(self) -> str:
        """The string that reaches this model."""
        return self._name

    def chat(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in the order of `requests`."""
        structured.refuse_steer(self.name, requests)
        if not requests:
            return []
        start = time.monotonic()
        with asking(self._vllm):
            outputs = self._lm.chat(
                [[{"role": m.role, "content": m.content} for m in r.messages] for r in requests],
                sampling_params=[self._sampling(request) for request in requests],
                use_tqdm=False,
            )
        share = (time.monotonic() - start) / len(requests)
        return [_reply(r, output, share) for r, output in zip(requests, outputs, strict=True)]

    def _sampling(self, request: Request) -> Any:
        params, sampling = self._vllm.sampling_params, request.sampling
        form = None
        if isinstance(request.schema, Regex):
            form = params.StructuredOutputsParams(regex=request.schema.pattern)
        elif isinstance(request.schema, Choices):
            form = params.StructuredOutputsParams(choice=list(request.schema.options))
        elif request.schema is not None:
            schema, _ = bound(structured.json_schema(request.schema), LADDER[0], 4)
            form = params.StructuredOutputsParams(json=schema)
        return self._vllm.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            stop=list(sampling.stop),
            # distinct for each sample of a question
            seed=(sampling.seed * 1_000_003 + request.sample_index) % 2**63,
            structured_outputs=form,
        )


def _reply(request: Request, output: Any, seconds: float) -> Reply:
    answer = output.outputs[0]
    usage = Usage(
        calls=1,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(answer.token_ids),
        seconds=seconds,
    )
    finish = answer.finish_reason if answer.finish_reason in ("stop", "length") else "error"
    return structured.settle(request, Reply(answer.text, finish_reason=finish, usage=usage))
