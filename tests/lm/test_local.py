import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, MambaConfig, MambaForCausalLM

from tests.lm import local_cases as cases
from understudy.lm.base import Codec, LMError, Reaction, Sampling, TrainableLM
from understudy.lm.fake import tiny_model
from understudy.lm.local import LocalLM

ALL = cases.OWN + cases.SLOW


@pytest.mark.parametrize("make", ALL)
def test_recorded_logprobs_are_those_of_the_training_forward(make):
    lm = make()
    groups = cases.sampled(lm, Sampling(max_tokens=24, temperature=0.7, seed=3), copies=3)
    scores = lm.logprobs(cases.prompts(lm), cases.tokens(groups), temperature=0.7)
    assert scores.shape[0] == 9
    torch.testing.assert_close(
        scores.detach(), cases.recorded(groups, scores.shape[1]), atol=1e-5, rtol=0
    )
    assert scores.detach().std() > 0.5


@pytest.mark.parametrize("make", ALL)
def test_logprobs_are_those_of_transformers(make):
    lm = make()
    groups = cases.sampled(lm, Sampling(max_tokens=20, seed=1), copies=2)
    scores = lm.logprobs(cases.prompts(lm), cases.tokens(groups), temperature=1.3)
    for row, (u, c) in enumerate((u, c) for u, group in enumerate(groups) for c in group):
        plain = cases.plain_logprobs(lm, cases.prompts(lm)[u], c.ids, 1.3)
        torch.testing.assert_close(scores[row, : len(c.ids)], plain, atol=1e-5, rtol=0)
        assert not scores[row, len(c.ids) :].any()


@pytest.mark.parametrize("make", ALL)
def test_greedy_is_what_transformers_generates(make):
    lm = make()
    groups = cases.sampled(lm, Sampling(max_tokens=24, temperature=0))
    config = GenerationConfig(do_sample=False, max_new_tokens=24, pad_token_id=0)
    for prompt, (completion,) in zip(cases.prompts(lm), groups, strict=True):
        ids = torch.tensor([prompt])
        out = lm.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
        )
        assert completion.ids == tuple(out[0, len(prompt) :].tolist())
        assert set(completion.logprobs) == {0.0}


@pytest.mark.parametrize("make", [*cases.OWN, cases.gpt2])
def test_gradients_are_those_of_transformers(make):
    lm = make()
    plain = copy.deepcopy(lm)
    groups = cases.sampled(lm, Sampling(max_tokens=12, seed=2), copies=2)
    scores = lm.logprobs(cases.prompts(lm), cases.tokens(groups))
    weights = torch.linspace(-1, 2, scores.numel()).view_as(scores)
    (scores * weights).sum().backward()
    rows = ((u, c) for u, group in enumerate(groups) for c in group)
    for row, (u, c) in enumerate(rows):
        own = cases.plain_logprobs(plain, cases.prompts(lm)[u], c.ids)
        (own * weights[row, : len(c.ids)]).sum().backward()
    pairs = list(zip(lm.parameters(), plain.parameters(), strict=True))
    assert pairs
    for ours, theirs in pairs:
        scale = float(theirs.grad.abs().max()) + 1e-3
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5 * scale, rtol=1e-5)


@pytest.mark.parametrize("make", [cases.llama, cases.qwen2, cases.gpt2])
def test_a_batch_gives_what_its_rows_give_alone(make):
    lm = make()
    sampling = Sampling(max_tokens=16, temperature=0.9, top_p=0.9, top_k=20, seed=5)
    keys = list(range(100, 106))
    together = cases.sampled(lm, sampling, copies=2, row_keys=keys)
    for u, prompt in enumerate(cases.prompts(lm)):
        for g in range(2):
            ((alone,),) = lm.sample([prompt], sampling, row_keys=[keys[2 * u + g]])
            assert alone.ids == together[u][g].ids
            assert alone.logprobs == pytest.approx(together[u][g].logprobs, abs=1e-5)
    assert len({c.ids for group in together for c in group}) == 6


def test_ragged_groups_are_scored_in_order():
    lm = cases.llama()
    prompts = cases.prompts(lm)
    groups = [[lm.encode("ab"), lm.encode("c")], [], [lm.encode("defg")]]
    scores = lm.logprobs(prompts, groups)
    assert scores.shape == (3, 4)
    plain = cases.plain_logprobs(lm, prompts[2], tuple(groups[2][0]))
    torch.testing.assert_close(scores[2], plain, atol=1e-5, rtol=0)
    assert not scores[1, 1:].any()
    assert lm.logprobs(prompts, [[], [], []]).shape == (0, 0)


def test_forced_tokens_are_scored_like_any_other():
    lm = cases.llama()

    def react(row, text, *, ended):
        return None if ended else Reaction(append=f"<{row}>")

    sampling = Sampling(max_tokens=40, temperature=1.2, seed=4)
    groups = cases.sampled(lm, sampling, copies=2, triggers=tuple("abcdef"), react=react)
    scores = lm.logprobs(cases.prompts(lm), cases.tokens(groups), temperature=1.2).detach()
    rows = [c for group in groups for c in group]
    assert sum(not s for c in rows for s in c.sampled) > 10
    for row, c in enumerate(rows):
        for t, drawn in enumerate(c.sampled):
            expected = scores[row, t].item() if drawn else 0.0
            assert c.logprobs[t] == pytest.approx(expected, abs=1e-5)


def test_completions_end_where_the_context_ends():
    lm = tiny_model(context=20)
    (one,), (two,) = lm.sample([[5] * 19, [6] * 15], Sampling(max_tokens=50, top_k=1))
    assert (len(one.ids), len(two.ids)) == (1, 5)
    with pytest.raises(LMError, match="prompt 0 has 20 tokens; the model's context is 20"):
        lm.sample([[5] * 20], Sampling())


def test_reference_stays_and_has_no_gradient():
    lm = cases.llama()
    reference = lm.reference()
    prompts, groups = cases.prompts(lm)[:1], [[lm.encode("so it is")]]
    before = lm.logprobs(prompts, groups).detach()
    cases.stir(lm)
    assert not torch.allclose(lm.logprobs(prompts, groups), before, atol=1e-2)
    after = reference.logprobs(prompts, groups)
    assert torch.equal(after, before)
    assert not after.requires_grad
    assert not list(reference.parameters())


def test_save_and_load(tmp_path):
    lm = cases.llama()
    lm.save(tmp_path / "model")
    again = LocalLM.load(tmp_path / "model")
    prompts, groups = cases.prompts(lm)[:1], [[lm.encode("so it is")]]
    assert torch.equal(again.logprobs(prompts, groups), lm.logprobs(prompts, groups))
    assert again.encode("a<|end|>\n") == lm.encode("a<|end|>\n")
    assert again.eos_ids == lm.eos_ids
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert theirs.config.vocab_size == len(lm.tokenizer)
    assert not list((tmp_path / "model").glob("*.bin"))


def test_it_meets_the_protocols():
    lm = cases.llama()
    assert isinstance(lm, TrainableLM)
    assert isinstance(lm, Codec)
    assert lm.slow_because is None
    assert "depends on the length" in (cases.dynamic_rope().slow_because or "")
    assert "GPT2LMHeadModel" in (cases.gpt2().slow_because or "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lm: lm.sample([[]], Sampling()), "prompt 0 is empty"),
        (lambda lm: lm.sample([[5]], Sampling(top_p=0)), "top_p"),
        (lambda lm: lm.sample([[5]], Sampling(temperature=-1)), "temperature"),
        (lambda lm: lm.sample([[5]], Sampling(stop=("",))), "empty string"),
        (lambda lm: lm.sample([[5]], Sampling(), copies=2, row_keys=[1]), "1 row keys for 2 rows"),
        (lambda lm: lm.logprobs([[5]], []), "1 prompts but completions of 0"),
        (lambda lm: lm.logprobs([[5]], [[[6]]], temperature=0), "temperature must be positive"),
        (lambda lm: lm.save_adapter("nowhere"), "no LoRA adapter"),
        (lambda lm: LocalLM.load("./no/such/folder"), r"no model folder ./no/such/folder"),
        (lambda lm: LocalLM.load("x", adapter="a", lora_rank=2), "not both"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(LMError, match=message) as caught:
        call(tiny_model())
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_one_clear_line(tmp_path):
    with pytest.raises(LMError, match="cannot load model") as caught:
        LocalLM.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_diverged_weights_are_an_error():
    lm = cases.llama()
    with torch.no_grad():
        next(lm.parameters()).fill_(torch.nan)
    with pytest.raises(LMError, match="no finite logit"):
        cases.sampled(lm, Sampling(max_tokens=2))


def test_a_model_without_a_key_value_cache_cannot_be_sampled():
    tokenizer = cases.char_tokenizer()
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=8, state_size=4, num_hidden_layers=1, eos_token_id=4
    )
    lm = LocalLM(MambaForCausalLM(config), tokenizer)
    with pytest.raises(LMError, match="MambaForCausalLM keeps no key-value cache"):
        lm.sample([[5]], Sampling())
