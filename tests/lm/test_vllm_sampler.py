"""Sampling by vLLM, against the own sampler, on an engine that is a real small model."""

import math
import sys

import numpy as np
import pytest
import torch

from tests.lm.local_cases import lora, stir, tied_and_biased
from tests.lm.vllm_stand_in import Engine, StandIn
from understudy.lm import vllm_sampler
from understudy.lm.base import LMError, Reaction, Sampling
from understudy.lm.fake import ASCII, tiny_model
from understudy.lm.lora import merged
from understudy.lm.sampler import uniforms
from understudy.lm.vllm_sampler import VllmSampler
from understudy.types import Message

PLACES = 10_000


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.distributed", module)
    return module


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine draws with the very noise of the own sampler, told by the seed it is given."""

    def seed(seed: int, key: int, place: int) -> int:
        return (seed * PLACES + key) * PLACES + place

    def noise(self: Engine, seed: int, length: int) -> np.ndarray:
        rest, place = divmod(seed, PLACES)
        return uniforms(rest // PLACES, [rest % PLACES], place + length)[0, place:]

    monkeypatch.setattr(vllm_sampler, "_seed", seed)
    monkeypatch.setattr(Engine, "noise", noise)


def synced(lm) -> VllmSampler:
    sampler = VllmSampler(lm)
    sampler.sync()
    return sampler


class Calculator:
    """Writes behind some characters, ends some answers, and keeps what it was asked."""

    def __init__(self, last: str, append: str, done_after: int = 100) -> None:
        self.last, self.append, self.done_after = last, append, done_after
        self.asked: dict[int, list[tuple[str, bool]]] = {}

    def __call__(self, row: int, text: str, *, ended: bool) -> Reaction | None:
        calls = self.asked.setdefault(row, [])
        calls.append((text, ended))
        if ended:
            return Reaction("not seen", done=True)
        if len(calls) > self.done_after:
            return Reaction(self.append, done=True)
        return Reaction(self.append) if text.endswith(self.last) else None


CASES = {
    "plain": ({}, {}, None),
    "stop strings": ({"stop": ("a", "xyz", "bb")}, {}, None),
    "triggers": ({}, {"triggers": tuple("aeiou02468")}, Calculator("a", "12")),
    "a reaction's own trigger": ({}, {"triggers": ("a", "b")}, Calculator("a", "ab")),
    "stops and triggers": ({"stop": ("q", "e")}, {"triggers": tuple("abcd")}, Calculator("b", "eq")),
    "triggers of two": ({}, {"triggers": ("ab", "5x", "=", "1")}, Calculator("1", "a")),
    "ends of episodes": ({}, {"triggers": tuple("abcdefgh")}, Calculator("c", "-long-", 2)),
    "nothing to write": ({}, {"triggers": tuple("abc")}, Calculator("", "")),
    "a reaction past the limit": ({"max_tokens": 9}, {"triggers": tuple("abcdefghijk")}, Calculator("", "a long one")),
    "one token": ({"max_tokens": 1}, {"triggers": tuple("abc")}, Calculator("", "x")),
    "no token": ({"max_tokens": 0}, {}, None),
    "greedy": ({"temperature": 0.0}, {"triggers": tuple(ASCII)}, Calculator("", "1", 7)),
    "cold": ({"temperature": 0.5, "top_k": 20, "top_p": 0.8}, {}, None),
    "the context's end": ({"max_tokens": 100}, {"triggers": tuple("aeiou")}, Calculator("", "zz")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_with_the_same_noise_it_is_the_own_sampler(case, vllm, same_noise):
    sampling, options, react = CASES[case]
    lm = tiny_model(1, context=64)
    sampler = synced(lm)
    prompts = [lm.encode(text) for text in ("What is 2 + 3?", "x", "A longer prompt, " * 3)]
    found, asked = [], []
    for who in (lm, sampler):
        calculator = react and Calculator(react.last, react.append, react.done_after)
        found.append(
            who.sample(
                prompts, Sampling(**{"max_tokens": 40, "seed": 4, **sampling}), copies=6,
                react=calculator, row_keys=[5 * i + 2 for i in range(18)], **options,
            )
        )  # fmt: skip
        asked.append(calculator and calculator.asked)
    own, by_vllm = ([c for group in groups for c in group] for groups in found)
    for mine, theirs in zip(own, by_vllm, strict=True):
        assert (theirs.ids, theirs.sampled) == (mine.ids, mine.sampled)
        assert theirs.finish_reason == mine.finish_reason
        assert theirs.logprobs == pytest.approx(mine.logprobs, abs=2e-5)
    assert asked[0] == asked[1]
    forced = sum(not s for c in own for s in c.sampled)
    assert bool(forced) == (react is not None and bool(react.append) and case != "one token")
    if "ends" in case:
        assert {c.finish_reason for c in own} == {"environment", "length"} | {"stop"}
    if "stop" in case:
        assert sum(c.finish_reason == "stop" for c in own) > 4


def test_noise_of_its_own_follows_the_seed_the_key_and_the_place(vllm):
    lm = tiny_model(1)
    sampler, prompt = synced(lm), lm.encode("x")

    def ids(seed, key):
        return sampler.sample([prompt], Sampling(max_tokens=12, seed=seed), row_keys=[key])[0][
            0
        ].ids

    assert ids(0, 1) == ids(0, 1)
    assert len({ids(0, 1), ids(0, 2), ids(1, 1), ids(1, 2)}) == 4
    (both,) = sampler.sample([prompt], Sampling(max_tokens=12), copies=2, row_keys=[9, 1])
    assert both[1].ids == ids(0, 1)
    # A row that is asked for again goes on with noise of its own, not with its first once more.
    seen = set()
    vllm.engines[0].calls.clear()
    vllm.engines[0].noise = lambda seed, length: (seen.add(seed), uniforms(seed, [0], length)[0])[1]
    sampler.sample(
        [prompt], Sampling(max_tokens=60), triggers=tuple("abcdefghijklmnopqrstuvwxyz012"),
        react=Calculator("", "1"),
    )  # fmt: skip
    assert len(seen) == len(vllm.engines[0].calls) > 2


def test_answers_that_are_written_into_follow_the_models_distribution(vllm):
    """The token behind a reaction, over many rows, against the model's own probabilities."""
    lm = tiny_model(3)
    prompt, forced = lm.encode("a"), lm.encode("!")

    def react(row, text, *, ended):
        return Reaction("!")

    (group,) = synced(lm).sample(
        [prompt], Sampling(max_tokens=3, seed=1), copies=4000, triggers=tuple("abcdefgh"),
        react=react,
    )  # fmt: skip
    rows = [c.ids for c in group if len(c.ids) == 3 and c.sampled[1] is False]
    first = max({ids[0] for ids in rows}, key=lambda t: sum(ids[0] == t for ids in rows))
    drawn = [ids[2] for ids in rows if ids[0] == first]
    assert len(drawn) > 300
    counts = torch.bincount(torch.tensor(drawn), minlength=101)
    logits = lm.model(torch.tensor([[*prompt, first, *forced]])).logits[0, -1].detach()
    expected = logits.softmax(-1) * len(drawn)
    likely = expected > 10
    chi = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    degrees = int(likely.sum())
    assert degrees > 5
    assert chi < degrees + 4 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("make", [tiny_model, lora, tied_and_biased])
def test_log_probabilities_are_those_of_the_synced_weights(make, vllm):
    lm = make()
    sampler, prompt = VllmSampler(lm), lm.encode("What?")
    sampling = Sampling(max_tokens=20, temperature=0.7)

    def gap():
        (group,) = sampler.sample([prompt], sampling, copies=4)
        recorded = torch.tensor([c.logprobs + (0.0,) * (20 - len(c.ids)) for c in group])
        with torch.no_grad():
            mine = lm.logprobs([prompt], [[c.ids for c in group]], temperature=0.7)
        return float((mine - recorded[:, : mine.shape[1]]).abs().max()), [c.ids for c in group]

    assert gap()[0] > 0.1  # weights of no meaning
    assert sampler.sync() > 5
    before, ids = gap()
    assert before < 1e-4
    stir(lm)
    assert gap()[0] > 0.01
    sampler.sync()
    after, others = gap()
    assert after < 1e-4
    assert others != ids


def test_weights_are_a_plain_models_by_name():
    lm = lora()
    plain = {n.replace(".base_layer", "") for n, _ in lm.model.get_base_model().named_parameters()}
    found = dict(lm.weights())
    assert found.keys() == {n for n in plain if "lora_" not in n}
    off = dict(merged(lm.model.get_base_model(), adapter=False))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(found[name], off[name])
    assert torch.equal(
        off[name], lm.model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    )


def test_an_engine_that_keeps_its_weights_is_noticed(vllm):
    lm = tiny_model()
    sampler = synced(lm)
    vllm.stale = True
    sampler.sync()  # the same weights
    with torch.no_grad():
        lm.model.model.layers[1].mlp.down_proj.weight[0, 0] += 1e-3
    with pytest.raises(LMError, match=r"did not take the weights: model.layers.1.mlp.down_proj"):
        sampler.sync()


def test_an_engine_that_remembers_is_noticed(vllm):
    sampler = VllmSampler(tiny_model())
    vllm.engines[0].reset_prefix_cache = lambda: False
    with pytest.raises(LMError, match="did not forget"):
        sampler.sync()


def test_it_sleeps_between_samples_and_wakes_for_weights(vllm):
    lm = tiny_model()
    sampler = VllmSampler(lm, sleep=True, memory=0.3, dtype="float32")
    engine = vllm.engines[0]
    for _ in range(2):
        sampler.sync()
        sampler.sample([lm.encode("x")], Sampling(max_tokens=3))
    once = ["reload_weights", "reset_prefix_cache", "generate", "sleep"]
    assert engine.calls == [*once, "wake_up", *once]
    assert engine.options["gpu_memory_utilization"] == 0.3
    assert engine.options["dtype"] == "float32"
    sampler.close()
    assert engine.over


def test_what_the_own_model_refuses_it_refuses(vllm):
    lm = tiny_model(context=16)
    sampler = synced(lm)
    with pytest.raises(LMError, match="prompt 0 is empty"):
        sampler.sample([[]], Sampling())
    with pytest.raises(LMError, match="the model's context is 16"):
        sampler.sample([[7] * 16], Sampling())
    with pytest.raises(LMError, match="temperature must not be negative"):
        sampler.sample([[7]], Sampling(temperature=-1))
    with pytest.raises(LMError, match="1 row keys for 2 rows"):
        sampler.sample([[7]], Sampling(), copies=2, row_keys=[0])
    assert sampler.sample([], Sampling()) == []
    vllm.engines[0]._answers = lambda ids, params: [type(
        "Answer", (), {"token_ids": [], "logprobs": [], "finish_reason": "abort"})()]  # fmt: skip
    with pytest.raises(LMError, match=r"row 0: vLLM ended without a token \(abort\)"):
        sampler.sample([[7]], Sampling())


def test_what_vllm_refuses_is_one_line(vllm):
    def refuse(**options):
        raise ValueError("temperature must be in [0, 2],\ngot 4.0")

    sampler = synced(tiny_model())
    vllm.SamplingParams = refuse
    with pytest.raises(LMError, match=r"vLLM refuses to sample: temperature .*, got 4.0$"):
        sampler.sample([[7]], Sampling(temperature=4.0))


def test_it_is_the_models_codec(vllm):
    lm = tiny_model()
    sampler = VllmSampler(lm)
    assert sampler.decode(sampler.encode("abc")) == "abc"
    assert sampler.eos_ids == lm.eos_ids
    messages = [Message("user", "hello")]
    assert sampler.prompt_ids(messages) == lm.prompt_ids(messages)
    ids = [[7, 8], [9]]
    assert torch.equal(sampler.logprobs([[5]], [ids]), lm.logprobs([[5]], [ids]))


def test_without_vllm_one_line_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(LMError, match=r'pip install "understudy\[vllm\]"'):
        VllmSampler(tiny_model())


def test_a_model_that_vllm_cannot_run_is_one_line(vllm):
    def refuse(**options):
        raise ValueError("Model architectures ['X']\n are not supported")

    vllm.LLM = refuse
    with pytest.raises(
        LMError, match=r"vLLM cannot run the model: Model architectures \['X'\] are"
    ):
        VllmSampler(tiny_model())
