"""Every language model that runs here keeps every promise; one that breaks any is found out."""

from dataclasses import replace

import pytest
import torch

from tests.lm import local_cases as cases
from understudy.lm.base import Completion, LMError, Unparsed
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.check import check_lm
from understudy.lm.fake import tiny_model
from understudy.lm.ledger import Ledger
from understudy.lm.replay import CachedChoiceLM


def cached():
    cache = Cache(None)
    return CachedChoiceLM(LocalChat(tiny_model(), "tiny"), cache, Ledger(cache))


def other_architecture():
    lm = cases.gpt2()
    assert lm.slow_because is not None
    return LocalChat(lm, "tiny", max_rows=3)


GOOD = {
    "chat": lambda: LocalChat(tiny_model(), "tiny"),
    "another architecture, in small batches": other_architecture,
    "cached chat": cached,
    "tokens": tiny_model,
    "tokens under LoRA": lambda: tiny_model(lora_rank=2),
    "a reference": lambda: tiny_model(lora_rank=2).reference(),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_every_model_keeps_every_promise(make):
    report = check_lm(make())
    assert report.problems == ()
    assert report.ok
    assert len(report.checked) >= 4


def test_a_chat_over_tokens_is_checked_as_both():
    report = check_lm(LocalChat(tiny_model(), "tiny"), forms=2)
    assert len(report.checked) == 12
    assert len(check_lm(tiny_model()).checked) == 4


class Broken(LocalChat):
    """A local chat whose replies go through `spoil`."""

    def __init__(self, spoil):
        super().__init__(tiny_model(), "broken")
        self._spoil = spoil

    def chat(self, requests):
        return self._spoil(super().chat, list(requests))


def swapped(chat, requests):
    return chat(requests)[::-1]


def one_too_few(chat, requests):
    return chat(requests)[1:]


def restless(chat, requests):
    texts = chat(requests)
    return [
        replace(r, text=r.text + str(q.sample_index)) for q, r in zip(requests, texts, strict=True)
    ]


def tied_to_the_batch(chat, requests):
    return [replace(r, text=f"{len(requests)}{r.text}") for r in chat(requests)]


def unstoppable(chat, requests):
    return chat([replace(q, sampling=replace(q.sampling, stop=())) for q in requests])


def stop_kept(chat, requests):
    replies = zip(requests, chat(requests), strict=True)
    return [replace(r, text=r.text + "".join(q.sampling.stop)) for q, r in replies]


def endless(chat, requests):
    return chat([replace(q, sampling=replace(q.sampling, max_tokens=40)) for q in requests])


def seedless(chat, requests):
    return chat([replace(q, sampling=replace(q.sampling, seed=0)) for q in requests])


def frozen(chat, requests):
    return chat([replace(q, sampling=replace(q.sampling, temperature=0.0)) for q in requests])


def formless(chat, requests):
    replies = zip(requests, chat(requests), strict=True)
    return [
        replace(r, value=Unparsed(r.text, "no")) if q.schema and q.sample_index == 5 else r
        for q, r in replies
    ]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (swapped, "replies come in the order of requests: asked for ['alpha'"),
        (one_too_few, "3 replies to 4 requests"),
        (restless, "greedy answers repeat"),
        (tied_to_the_batch, "a batch is answered as its requests alone"),
        (unstoppable, "a stop string ends the answer"),
        (stop_kept, "a stop string ends the answer"),
        (endless, "max_tokens ends the answer: "),
        (seedless, "another seed changes nothing"),
        (frozen, "sampling follows the seed: eight samples are all"),
        (formless, "answers have the asked-for form: 1 of 8"),
    ],
)
def test_a_broken_chat_is_found_out(spoil, found):
    report = check_lm(Broken(spoil))
    assert not report.ok
    assert any(found in problem for problem in report.problems)
    assert all("\n" not in problem for problem in report.problems)


class Scores(LocalChat):
    def __init__(self, spoil):
        super().__init__(tiny_model(), "broken")
        self._spoil = spoil

    def score_choices(self, request, options):
        return self._spoil(super().score_choices(request, options))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda scores: [s + 0.1 for s in scores], "probabilities sum to 1.1"),
        (sorted, "another order of options"),
    ],
)
def test_broken_scores_are_found_out(spoil, found):
    (problem,) = check_lm(Scores(spoil)).problems
    assert found in problem


class Tokens:
    """A token model whose samples or scores are spoiled."""

    def __init__(self, *, completion=None, scores=None, keyless=False, copies_alike=False):
        self._lm = tiny_model()
        self._completion = completion or (lambda c: c)
        self._scores = scores or (lambda s: s)
        self._keyless, self._alike = keyless, copies_alike

    @property
    def eos_ids(self):
        return self._lm.eos_ids

    def encode(self, text):
        return self._lm.encode(text)

    def decode(self, ids):
        return self._lm.decode(ids)

    def prompt_ids(self, messages):
        return self._lm.prompt_ids(messages)

    def sample(self, prompts, sampling, *, copies=1, triggers=(), react=None, row_keys=None):
        keys = None if self._keyless else row_keys
        if self._alike:
            keys = [0] * (len(prompts) * copies)
        groups = self._lm.sample(prompts, sampling, copies=copies, row_keys=keys)
        return [[self._completion(c) for c in group] for group in groups]

    def logprobs(self, prompts, completions, *, temperature=1.0):
        return self._scores(self._lm.logprobs(prompts, completions, temperature=temperature))


def longer(c):
    return Completion(c.ids * 3, c.logprobs * 3, c.sampled * 3, c.finish_reason)


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        ({"scores": lambda s: s + 3e-5}, "rescored ones: "),
        ({"scores": lambda s: -s}, "rescored ones: "),
        ({"scores": lambda s: torch.roll(s, 1, dims=1)}, "rescored ones: "),
        ({"keyless": True}, "a row's noise depends on its key alone"),
        ({"copies_alike": True}, "they are all alike"),
        ({"completion": longer}, "tokens where 3 were allowed"),
        (
            {"completion": lambda c: replace(c, logprobs=c.logprobs[1:])},
            "differ in number",
        ),
    ],
)
def test_a_broken_token_model_is_found_out(faults, found):
    assert check_lm(Tokens()).ok
    problems = check_lm(Tokens(**faults)).problems
    assert any(found in problem for problem in problems)


def test_an_error_of_the_model_is_a_problem_not_a_crash():
    def refuse(chat, requests):
        raise LMError("out of order")

    report = check_lm(Broken(refuse))
    assert sum("out of order" in problem for problem in report.problems) == 7


def test_what_is_no_model_is_refused():
    with pytest.raises(LMError, match="int is neither a ChatLM"):
        check_lm(3)
